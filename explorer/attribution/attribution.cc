#include "explorer/attribution/attribution.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/baseline.h"
#include "explorer/attribution/cause_map.h"
#include "explorer/attribution/effects.h"
#include "explorer/attribution/layer_split.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

absl::Status RunParts(const RunSetting& setting, const Plan& plan,
                      Attribution& result) {
  Baseline baseline(setting, plan);
  absl::Status status = RunBaseline(setting, baseline);
  result.plan = OutcomeOfPlan(setting, baseline).effect;
  if (!status.ok()) return status;
  const AttributionOptions& options = setting.options;
  if (options.layers) status = SplitLayers(setting, baseline, result.layers);
  if (!status.ok()) return status;
  if (options.causes) status = MapCauses(setting, baseline, result);
  if (!status.ok()) return status;
  if (options.repairs) status = MapRepairs(setting, baseline, result);
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

std::vector<Cell> CellsOf(const ModelConfig& config) {
  std::vector<Cell> cells = {{0, Op::kEmbed}};
  const auto num_layers = static_cast<size_t>(config.num_hidden_layers);
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      const bool is_head_norm = op == Op::kQNorm || op == Op::kKNorm;
      if (!IsPerLayer(op) || (is_head_norm && !config.qk_norm)) continue;
      cells.push_back({layer, op});
    }
  }
  cells.push_back({0, Op::kFinalNorm});
  cells.push_back({0, Op::kLmHead});
  return cells;
}

absl::StatusOr<Attribution> Attribute(const Weights& weights, const Plan& plan,
                                      const AttributionOptions& options,
                                      Parallel& parallel) {
  if (plan.num_layers() != weights.layers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plan of ", plan.num_layers(), " layers for a model of ",
                     weights.layers.size()));
  }
  AttributionOptions for_runs = options;
  for_runs.memory -= std::min(
      options.memory, BytesOfBaseline(weights.config, options.tokens.size()));
  Attribution result;
  const absl::Status status =
      RunParts({weights, for_runs, parallel}, plan, result);
  if (absl::IsCancelled(status)) {
    result.stopped_in = std::string(status.message());
  } else if (!status.ok()) {
    return status;
  }
  return result;
}

}  // namespace ulpscope
