#include "model/decoder/generate.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"

namespace ulpscope {

absl::StatusOr<std::vector<int32_t>> GenerateGreedily(
    const Weights& weights, const Plan& plan,
    const std::vector<int32_t>& prompt, size_t count, Parallel& parallel,
    const std::function<bool()>& stop) {
  Decoder decoder(weights, plan, prompt.size() + count, parallel);
  decoder.set_stop(stop);
  std::vector<int32_t> next = prompt;
  std::vector<int32_t> generated;
  while (generated.size() < count) {
    const absl::Status status = decoder.Forward(next, Logits::kLast);
    if (absl::IsCancelled(status)) break;
    if (!status.ok()) return status;
    const double* logits = decoder.logits().data;
    const double* end = logits + decoder.logits().cols;
    if (std::any_of(logits, end, [](double x) { return std::isnan(x); })) {
      return absl::InternalError(absl::StrCat("the logits after position ",
                                              decoder.position() - 1,
                                              " are not numbers"));
    }
    next = {static_cast<int32_t>(std::max_element(logits, end) - logits)};
    generated.push_back(next[0]);
  }
  return generated;
}

}  // namespace ulpscope
