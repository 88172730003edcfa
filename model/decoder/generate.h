#ifndef MODEL_DECODER_GENERATE_H_
#define MODEL_DECODER_GENERATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

struct Generated {
  // Why there are no more tokens: there are `count`, the last one is an
  // eos_token_id of the config, or `stop` said so.
  enum class End { kCount, kEosToken, kStopped };
  std::vector<int32_t> tokens;
  End end = End::kCount;
};

// At most `count` tokens after the prompt, each the likeliest (the first of
// equal ones) under the plan. Positions beyond the config's
// max_position_embeddings are computed like others. An error if a logit is NaN,
// or the prompt is empty or not in the vocabulary. `stop`, if it is not null,
// is asked on the way, and `on_token` sees each as it comes.
absl::StatusOr<Generated> GenerateGreedily(
    const Weights& weights, const Plan& plan,
    const std::vector<int32_t>& prompt, size_t count, Parallel& parallel,
    const std::function<bool()>& stop = nullptr,
    const std::function<void(int32_t)>& on_token = nullptr);

}  // namespace ulpscope

#endif  // MODEL_DECODER_GENERATE_H_
