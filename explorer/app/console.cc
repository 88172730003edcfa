#include "explorer/app/console.h"

#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/app/app_monitor.h"
#include "explorer/report/report_files.h"
#include "explorer/results/text_sink.h"

namespace ulpscope {
namespace {

// Names in it may be a file's, whose control characters a terminal would obey.
std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    const bool obeyed = absl::ascii_iscntrl(static_cast<unsigned char>(c)) &&
                        c != '\n' && c != '\t';
    if (obeyed) {
      absl::StrAppend(&printable, "\\x", absl::Hex(c, absl::kZeroPad2));
    } else {
      printable.push_back(c);
    }
  }
  return printable;
}

int PrintAll(absl::FunctionRef<void(TextSink)> write) {
  bool written = true;
  write([&written](absl::string_view text) {
    written = written &&
              std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  });
  if (written && std::fflush(stdout) == 0) return kDone;
  return Fail(absl::UnavailableError("stdout: cannot write"), kFailed);
}

}  // namespace

int Fail(const absl::Status& status, ExitCode code) {
  absl::FPrintF(stderr, "explorer: %s\n", Printable(status.message()));
  return code;
}

void Warn(absl::string_view text) {
  absl::FPrintF(stderr, "explorer: warning: %s\n", Printable(text));
}

int Print(absl::string_view text) {
  return PrintAll([text](TextSink sink) { sink(text); });
}

int PrintReport(const Report& report, OutputFormat format) {
  return PrintAll(
      [&](TextSink sink) { WritePrintedReport(report, format, sink); });
}

int WriteReport(const std::string& folder, const Report& report,
                OutputFormat format) {
  int written = kDone;
  if (!folder.empty()) {
    const std::vector<ReportFile> files = ReportFiles(report, format);
    const absl::Status status = WriteReportFiles(folder, files);
    if (!status.ok()) {
      written = Fail(status, kFailed);
    } else {
      absl::FPrintF(
          stderr, "wrote %s/%s\n", folder,
          absl::StrJoin(files, ", ", [](auto* text, const auto& file) {
            text->append(file.name);
          }));
    }
  }
  const int printed = PrintReport(report, format);
  return written != kDone ? written : printed;
}

absl::Status WithinMemory(const AppMonitor& monitor,
                          absl::FunctionRef<absl::Status()> compute) {
  try {
    return compute();
  } catch (const std::bad_alloc&) {
    const std::string tasks = monitor.Tasks();
    return absl::ResourceExhaustedError(absl::StrCat(
        "out of memory", tasks.empty() ? "" : " in ", tasks,
        ": fewer --tokens, fewer plans or a smaller --memory need less"));
  }
}

}  // namespace ulpscope
