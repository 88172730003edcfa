#include "model/generate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/parallel.h"
#include "model/decoder.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

absl::StatusOr<std::vector<int32_t>> GenerateGreedily(
    const Weights& weights, const Plan& plan,
    const std::vector<int32_t>& prompt, size_t count, Parallel& parallel) {
  Decoder decoder(weights, plan, prompt.size() + count, parallel);
  std::vector<int32_t> next = prompt;
  std::vector<int32_t> generated;
  while (generated.size() < count) {
    const absl::Status status = decoder.Forward(next, Logits::kLast);
    if (!status.ok()) return status;
    const double* logits = decoder.logits().data;
    const double* likeliest =
        std::max_element(logits, logits + decoder.logits().cols);
    next = {static_cast<int32_t>(likeliest - logits)};
    generated.push_back(next[0]);
  }
  return generated;
}

}  // namespace ulpscope
