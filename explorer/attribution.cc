#include "explorer/attribution.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "explorer/cause_map.h"
#include "explorer/effects.h"
#include "explorer/layer_split.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "model/config.h"
#include "model/lockstep.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

absl::Status RunParts(const RunSetting& setting, const Plan& plan,
                      Attribution& result) {
  const auto oracle = RunOracle(setting);
  if (!oracle.ok()) return oracle.status();

  std::vector<StreamState> states;
  const auto keep = [&states](absl::Span<const size_t>, size_t,
                              Matrix<const double> stream,
                              Matrix<const double> carry) {
    StreamState state = {Copied(stream), Copied(carry)};
    const auto is_zero = [](double x) { return x == 0; };
    if (std::all_of(state.carry.begin(), state.carry.end(), is_zero)) {
      state.carry = std::vector<double>();
    }
    states.push_back(std::move(state));
  };
  std::vector<Outcome> outcomes;
  absl::Status status =
      MeasureOutcomes(setting, *oracle, "plan", {plan}, keep, outcomes);
  result.plan = std::move(outcomes[0].effect);
  if (!status.ok()) return status;

  status = SplitLayers(setting, *oracle, plan, states, result.layers);
  if (!status.ok()) return status;
  status = MapCauses(setting, *oracle, plan, states.back().stream, result);
  if (!status.ok()) return status;
  return MapRepairs(setting, *oracle, plan, result);
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
  Attribution result;
  const absl::Status status =
      RunParts({weights, options, parallel}, plan, result);
  if (absl::IsCancelled(status)) {
    result.stopped_in = std::string(status.message());
  } else if (!status.ok()) {
    return status;
  }
  return result;
}

}  // namespace ulpscope
