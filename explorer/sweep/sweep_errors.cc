#include "explorer/sweep/sweep_errors.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/sweep/shard.h"

namespace ulpscope {
namespace {

// Of one window at once. Its reference is run for each such chunk anew, which
// is a part of 64 of the work, or a few: the oracle computes in f64.
constexpr size_t kPlansAtOnce = 64;

// Shows the chunks' progress as that of one task.
class ChunkMonitor : public Monitor {
 public:
  ChunkMonitor(Monitor& whole, size_t total) : whole_(whole), total_(total) {}

  bool stopped() override { return whole_.stopped(); }
  void OnProgress(absl::string_view task, size_t done, size_t total,
                  absl::string_view what) override {
    // The whole's end is not a chunk's to tell.
    if (done == total) return;
    const double part = static_cast<double>(done) / static_cast<double>(total);
    const double units =
        static_cast<double>(done_) + part * static_cast<double>(size_);
    whole_.OnProgress(
        task,
        std::min(static_cast<size_t>(units * kParts), total_ * kParts - 1),
        total_ * kParts, what);
  }

  void Begin(size_t done, size_t size) {
    done_ = done;
    size_ = size;
  }

 private:
  static constexpr size_t kParts = 1000;  // of a unit

  Monitor& whole_;
  const size_t total_;
  size_t done_ = 0, size_ = 0;
};

}  // namespace

absl::Status MeasureRange(const Run& run, const SweepErrors& errors,
                          const UnitRange& range) {
  ChunkMonitor monitor(run.monitor, range.size());
  const Run chunked = {run.weights, run.memory, monitor, run.parallel,
                       run.kept};
  const auto queries = absl::MakeConstSpan(errors.queries);
  for (size_t begin = range.begin; begin < range.end;) {
    size_t end = begin;
    while (end < range.end && end - begin < kPlansAtOnce &&
           queries[end].window == queries[begin].window) {
      ++end;
    }
    monitor.Begin(begin - range.begin, end - begin);
    const auto measured = MeasureErrors(chunked, errors.plans, errors.windows,
                                        queries.subspan(begin, end - begin));
    if (!measured.ok()) return measured.status();
    if (!absl::c_all_of(*measured, [](const TraceMetrics& metrics) {
          return metrics.complete();
        })) {
      return absl::CancelledError(absl::StrCat("while measuring errors, after ",
                                               begin - range.begin, " of ",
                                               range.size()));
    }
    begin = end;
  }
  run.monitor.OnProgress("errors", 1, 1, "");
  return absl::OkStatus();
}

}  // namespace ulpscope
