#include "explorer/app/console.h"

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/report/report_files.h"
#include "explorer/report/schema.h"
#include "model/files/output_file.h"

namespace ulpscope {

int Fail(const absl::Status& status, ExitCode code) {
  absl::FPrintF(stderr, "explorer: %s\n", status.message());
  return code;
}

void Warn(absl::string_view text) {
  absl::FPrintF(stderr, "explorer: warning: %s\n", text);
}

int Print(absl::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    return Fail(absl::UnavailableError("stdout: cannot write"), kFailed);
  }
  return kDone;
}

namespace {

int WriteReport(const std::string& folder, const std::string& text,
                const std::vector<ReportFile>& files) {
  int written = kDone;
  if (!folder.empty()) {
    std::vector<std::string> names;
    for (const ReportFile& file : files) {
      const absl::Status status =
          WriteFile(absl::StrCat(folder, "/", file.name), file.text);
      if (!status.ok()) written = Fail(status, kFailed);
      names.push_back(file.name);
    }
    if (written == kDone) {
      absl::FPrintF(stderr, "wrote %s/%s\n", folder,
                    absl::StrJoin(names, ", "));
    }
  }
  const int printed = Print(text);
  return written != kDone ? written : printed;
}

}  // namespace

int WriteReport(const std::string& folder, const std::string& text,
                const std::string& json, const std::string& csv) {
  return WriteReport(
      folder, text,
      std::vector<ReportFile>{
          {"report.md", text}, {"results.json", json}, {"results.csv", csv}});
}

int WriteReport(const std::string& folder, const std::string& text,
                const Results& results) {
  return WriteReport(folder, text, ReportFiles(text, results));
}

}  // namespace ulpscope
