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

absl::StatusOr<Generated> GenerateGreedily(
    const Weights& weights, const Plan& plan,
    const std::vector<int32_t>& prompt, size_t count, Parallel& parallel,
    const std::function<bool()>& stop,
    const std::function<void(int32_t)>& on_token) {
  Decoder decoder(weights, plan, prompt.size() + count, parallel);
  decoder.set_stop(stop);
  std::vector<int32_t> next = prompt;
  const std::vector<int64_t>& eos = weights.config.eos_token_ids;
  Generated generated;
  while (generated.tokens.size() < count) {
    const absl::Status status = decoder.Forward(next, Logits::kLast);
    if (absl::IsCancelled(status)) {
      generated.end = Generated::End::kStopped;
      break;
    }
    if (!status.ok()) return status;
    const double* logits = decoder.logits().data;
    const double* end = logits + decoder.logits().cols;
    if (std::any_of(logits, end, [](double x) { return std::isnan(x); })) {
      return absl::InternalError(absl::StrCat("the logits after position ",
                                              decoder.position() - 1,
                                              " are not numbers"));
    }
    next = {static_cast<int32_t>(std::max_element(logits, end) - logits)};
    generated.tokens.push_back(next[0]);
    if (on_token) on_token(next[0]);
    if (std::find(eos.begin(), eos.end(), next[0]) != eos.end()) {
      generated.end = Generated::End::kEosToken;
      break;
    }
  }
  return generated;
}

}  // namespace ulpscope
