#include "explorer/app/console.h"

#include <cstdio>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
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

int WriteReport(const std::string& folder, const std::string& text,
                const std::string& json, const std::string& csv) {
  int written = kDone;
  if (!folder.empty()) {
    for (const auto& [name, content] : {std::make_pair("report.md", &text),
                                        std::make_pair("results.json", &json),
                                        std::make_pair("results.csv", &csv)}) {
      const absl::Status status =
          WriteFile(absl::StrCat(folder, "/", name), *content);
      if (!status.ok()) written = Fail(status, kFailed);
    }
    if (written == kDone) {
      absl::FPrintF(stderr, "wrote %s/report.md, results.json, results.csv\n",
                    folder);
    }
  }
  const int printed = Print(text);
  return written != kDone ? written : printed;
}

}  // namespace ulpscope
