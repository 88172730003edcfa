#ifndef EXPLORER_REPORT_REPORT_FILES_H_
#define EXPLORER_REPORT_REPORT_FILES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// A field of a CSV file (RFC 4180): with a comma, quote or line break it is
// quoted.
std::string CsvField(absl::string_view text);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_FILES_H_
