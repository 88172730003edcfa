#include "explorer/attribution/attribution.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/cause_map.h"
#include "explorer/attribution/layer_split.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

absl::Status RunParts(const Run& run, const Plan& plan,
                      absl::Span<const int32_t> tokens,
                      const AttributionParts& parts, Attribution& result) {
  Baseline baseline(run, plan, tokens);
  absl::Status status = RunBaseline(run, baseline);
  result.plan = OutcomeOfPlan(run, baseline).effect;
  if (!status.ok()) return status;
  if (parts.layers) status = SplitLayers(run, baseline, result.layers);
  if (!status.ok()) return status;
  if (parts.causes) status = MapCauses(run, baseline, result);
  if (!status.ok()) return status;
  if (parts.repairs) status = MapRepairs(run, baseline, result);
  return status;
}

// Of the oracle's and the plan's run, which are kept: the stream before and
// after each layer, carries, and logits.
size_t BytesOfBaseline(const ModelConfig& config, size_t positions) {
  const size_t per_position =
      2 * static_cast<size_t>(config.num_hidden_layers + 1) *
          static_cast<size_t>(config.hidden_size) +
      static_cast<size_t>(config.vocab_size);
  return 2 * positions * per_position * sizeof(double);
}

}  // namespace

absl::StatusOr<Attribution> Attribute(const Run& run, const Plan& plan,
                                      absl::Span<const int32_t> tokens,
                                      const AttributionParts& parts) {
  if (plan.num_layers() != run.weights.layers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plan of ", plan.num_layers(), " layers for a model of ",
                     run.weights.layers.size()));
  }
  Attribution result;
  const absl::Status status =
      RunParts(run.Without(BytesOfBaseline(run.weights.config, tokens.size())),
               plan, tokens, parts, result);
  if (absl::IsCancelled(status)) {
    result.stopped_in = std::string(status.message());
  } else if (!status.ok()) {
    return status;
  }
  return result;
}

}  // namespace ulpscope
