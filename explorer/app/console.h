#ifndef EXPLORER_APP_CONSOLE_H_
#define EXPLORER_APP_CONSOLE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/report/schema.h"

namespace ulpscope {

// Beside these, 128 + the signal that stopped the program.
enum ExitCode { kDone = 0, kFailed = 1, kBadUsage = 2 };

// What the program says, and the exit codes that follow from it.

// The error to stderr; returns the code.
int Fail(const absl::Status& status, ExitCode code);

void Warn(absl::string_view text);

// To stdout, which may be a full disk.
int Print(absl::string_view text);

// Prints a report, and writes it to report.md, results.json and results.csv in
// the folder, unless that is empty. The files are first: printing fails where
// the reader is gone.
int WriteReport(const std::string& folder, const std::string& text,
                const std::string& json, const std::string& csv);

// The same, with the files that ReportFiles makes of the results.
int WriteReport(const std::string& folder, const std::string& text,
                const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_APP_CONSOLE_H_
