#include "explorer/sweep/greedy.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/decoder/generate.h"

namespace ulpscope {

absl::StatusOr<GreedyRuns> RunGreedily(const Run& run, const Plan& reference,
                                       absl::Span<const Plan> plans,
                                       const std::vector<int32_t>& prompt,
                                       size_t count) {
  const auto stopped = [] {
    return absl::CancelledError("while text was generated");
  };
  run.monitor.OnProgress("generating", 0, 1, "");
  auto generated = [&] {
    const Parallel::Awake awake(run.parallel);
    return GenerateGreedily(run.weights, reference, prompt, count, run.parallel,
                            StopOf(run.monitor));
  }();
  if (!generated.ok()) return generated.status();
  if (generated->end == Generated::End::kStopped) return stopped();
  run.monitor.OnProgress("generating", 1, 1, "");
  GreedyRuns runs;
  runs.tokens = std::move(generated->tokens);
  // The last token is chosen, and not run.
  Window window = {"greedy", 0, prompt, prompt.size() - 1, 0};
  window.tokens.insert(window.tokens.end(), runs.tokens.begin(),
                       runs.tokens.end() - 1);
  window.end_scored = window.tokens.size();
  std::vector<Plan> all(plans.begin(), plans.end());
  all.push_back(reference);
  std::vector<ErrorQuery> queries;
  for (size_t p = 0; p < plans.size(); ++p) {
    queries.push_back({p, plans.size(), 0});
  }
  const auto errors = MeasureErrors(run, all, {window}, queries);
  if (!errors.ok()) return errors.status();
  for (const TraceMetrics& metrics : *errors) {
    if (!metrics.complete()) return stopped();
    const TokenErrors& tokens = *metrics.tokens;
    GreedyDivergence& divergence = runs.plans.emplace_back();
    for (size_t p = window.first_scored; p < window.end_scored; ++p) {
      if (!tokens.flips(p)) continue;
      divergence.token = p - window.first_scored + 1;
      // NaN is no token: its margin says so.
      divergence.chosen =
          std::isnan(tokens.top[p]) ? -1 : static_cast<int32_t>(tokens.top[p]);
      divergence.margin = tokens.flip_margin[p];
      break;
    }
  }
  return runs;
}

}  // namespace ulpscope
