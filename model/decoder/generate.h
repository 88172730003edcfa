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

// The `count` tokens after the prompt, each the likeliest (the first of equal
// ones) under the plan. Does not stop at an end-of-sequence token. An error if
// a logit is NaN, or the prompt is empty or not in the vocabulary. Fewer
// tokens, or none, if `stop` is not null and says true on the way.
absl::StatusOr<std::vector<int32_t>> GenerateGreedily(
    const Weights& weights, const Plan& plan,
    const std::vector<int32_t>& prompt, size_t count, Parallel& parallel,
    const std::function<bool()>& stop = nullptr);

}  // namespace ulpscope

#endif  // MODEL_DECODER_GENERATE_H_
