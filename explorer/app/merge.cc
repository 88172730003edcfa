#include "explorer/app/merge.h"

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/app/app_monitor.h"
#include "explorer/app/build_commit.h"
#include "explorer/app/console.h"
#include "explorer/app/interrupt.h"
#include "explorer/app/settings.h"
#include "explorer/report/merge_results.h"
#include "explorer/report/report_files.h"
#include "explorer/results/schema.h"
#include "explorer/store/merge.h"
#include "model/files/output_file.h"

namespace ulpscope {

int RunMerge(const Settings& settings, AppMonitor& monitor) {
  if (!settings.out.empty()) {
    const absl::Status status = MakeFolder(settings.out);
    if (!status.ok()) return Fail(status, kFailed);
  }
  CatchInterrupts();
  const auto merge =
      MergeStores(settings.merge, settings.store,
                  absl::StrCat("ulpscope ", kBuildCommit), monitor);
  monitor.Clear();
  if (absl::IsCancelled(merge.status())) {
    absl::FPrintF(stderr, "explorer: stopped by %s %s\n", InterruptName(),
                  merge.status().message());
    return InterruptExitCode();
  }
  if (!merge.ok()) return Fail(merge.status(), kFailed);
  for (const MergedSource& source : merge->sources) {
    for (const std::string& what : source.skipped) {
      Warn(absl::StrCat(what, "; it is skipped"));
    }
  }
  const Results results = MergeResults(settings.store, *merge);
  const int reported = WriteReport(
      settings.out, {MergeReport(results), results}, settings.format);
  if (merge->conflicts.empty()) return reported;
  Warn(absl::StrCat("a strategy fixes the bits, but ", merge->conflicts.size(),
                    " records differ from others of the same measurement; all "
                    "are kept"));
  return reported != kDone ? reported : kGateFailed;
}

}  // namespace ulpscope
