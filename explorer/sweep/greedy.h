#ifndef EXPLORER_SWEEP_GREEDY_H_
#define EXPLORER_SWEEP_GREEDY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Where a plan, generating greedily, first leaves what the reference generates.
// What comes behind that is another text, and says nothing more.
struct GreedyDivergence {
  // Which generated token, from 1; none if all are the same.
  std::optional<size_t> token;
  int32_t chosen = 0;  // by the plan, there
  // By how many nats the reference finds that token less likely than its own.
  double margin = 0;
};

struct GreedyRuns {
  std::vector<int32_t> tokens;  // that the reference generates
  std::vector<GreedyDivergence> plans;
};

// At most `count` tokens after the prompt, fewer where a text ends. A plan that
// is run over the reference's text agrees with it up to its first other choice,
// so all plans are run at once, over one text. Cancelled if stopped, and the
// errors of GenerateGreedily and MeasureErrors.
absl::StatusOr<GreedyRuns> RunGreedily(const Run& run, const Plan& reference,
                                       absl::Span<const Plan> plans,
                                       const std::vector<int32_t>& prompt,
                                       size_t count);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_GREEDY_H_
