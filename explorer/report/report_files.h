#ifndef EXPLORER_REPORT_REPORT_FILES_H_
#define EXPLORER_REPORT_REPORT_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// A field of a CSV file (RFC 4180): with a comma, quote or line break it is
// quoted.
std::string CsvField(absl::string_view text);

// Creates the folder if it is missing.
absl::Status MakeFolder(const std::string& path);

// Leaves no file that was not written in full.
absl::Status WriteFile(const std::string& path, absl::string_view text);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_FILES_H_
