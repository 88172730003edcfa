#ifndef EXPLORER_APP_CONSOLE_H_
#define EXPLORER_APP_CONSOLE_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/app/app_monitor.h"
#include "explorer/report/report_files.h"

namespace ulpscope {

// Beside these, 128 + the signal that stopped the program.
enum ExitCode {
  kDone = 0,
  kFailed = 1,
  kBadUsage = 2,
  kGateFailed = 3,
  kNothingComparable = 4
};

// What the program says, and the exit codes that follow from it.

// The error to stderr; returns the code.
int Fail(const absl::Status& status, ExitCode code);

void Warn(absl::string_view text);

// To stdout, which may be a full disk.
int Print(absl::string_view text);
int PrintReport(const Report& report, OutputFormat format);

// Writes the files of the report to the folder, unless that is empty, and
// prints it. In this order: printing fails where the reader is gone.
int WriteReport(const std::string& folder, const Report& report,
                OutputFormat format);

// What `compute` returns, or ResourceExhausted if there was not enough memory
// for one of the monitor's tasks.
absl::Status WithinMemory(const AppMonitor& monitor,
                          absl::FunctionRef<absl::Status()> compute);

}  // namespace ulpscope

#endif  // EXPLORER_APP_CONSOLE_H_
