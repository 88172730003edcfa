#include "explorer/report/tune_results.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/results/schema.h"
#include "explorer/tuning/tune.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

std::string Shape(size_t m, size_t n, size_t k) {
  return absl::StrFormat("%dx%dx%d", m, n, k);
}

Fields<TunedMatMul> TuningFields() {
  using T = TunedMatMul;
  const auto n = Unit::kNone;
  const auto s = Unit::kSeconds;
  return {
      {"strategy", "Strategy", n, "Of the MatMul.",
       [](const T& t) { return t.matmul.key.strategy.name(); }},
      {"weights", "Weights", n, "The type that they are stored in.",
       [](const T& t) { return DTypeName(t.matmul.key.weights); }},
      {"shape", "m x n x k", n, "Of the first MatMul that it is of.",
       [](const T& t) { return Shape(t.matmul.m, t.matmul.n, t.matmul.k); }},
      {"shape_class", "Shape class", n, "Shapes that share the tuning.",
       [](const T& t) {
         const ShapeClass& shape = t.matmul.key.shape;
         return Shape(shape.m, shape.n, shape.k);
       }},
      {"ops", "Ops", n, "That compute it.",
       [](const T& t) { return t.matmul.ops; }},
      {"default_seconds", "Default (s)", s, "Median without a tuning.",
       [](const T& t) { return t.result.default_seconds; }},
      {"best_seconds", "Best (s)", s, "Median of what was chosen.",
       [](const T& t) { return t.result.best_seconds; }},
      {"worst_seconds", "Worst (s)", s, "Median of the slowest one tried.",
       [](const T& t) { return t.result.worst_seconds; }},
      {"default_by_best", "Default/best", Unit::kRatio, "What tuning gains.",
       [](const T& t) {
         return t.result.default_seconds / t.result.best_seconds;
       }},
      {"worst_by_best", "Worst/best", Unit::kRatio, "What it can cost.",
       [](const T& t) {
         return t.result.worst_seconds / t.result.best_seconds;
       }},
      {"tried", "Tried", n, "Tunings that were timed.",
       [](const T& t) { return t.result.candidates; }},
      {"complete", "All", n,
       "Whether all parameters were tried before the time was over.",
       [](const T& t) { return t.result.complete; }},
      {"wrong", "Wrong", n,
       "Tunings outside of the strategy's error bound, which do not count.",
       [](const T& t) { return t.result.wrong; }},
      {"chosen", "Chosen", n, "The tuning.",
       [](const T& t) { return TuningText(t.result.best); }}};
}

}  // namespace

Results TuneResults(const RunInfo& info,
                    const std::vector<TunedMatMul>& tuned) {
  return {"tune",
          {ContextTable(info, ""),
           MakeTable("tunings", "Every MatMul that was tuned.", TuningFields(),
                     tuned)}};
}

std::string TuneReport(const RunInfo& info, const Results& results) {
  return ReportHead("ulpscope: tuned kernels", info, ".", "") + "\n" +
         Markdown(results.tables[1],
                  {"strategy", "weights", "shape", "shape_class", "ops",
                   "default_seconds", "best_seconds", "worst_seconds",
                   "default_by_best", "worst_by_best", "tried", "complete",
                   "wrong", "chosen"}) +
         "\nAll: `*` where all parameters were tried before the share of "
         "--timing_seconds was over. Wrong: tunings outside of the strategy's "
         "error bound, which do not count.\n" +
         ReportTail(info);
}

}  // namespace ulpscope
