#include "explorer/attribution/cause_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A change that changes nothing.
Effect NoError(size_t num_layers) {
  Effect effect;
  effect.layers.assign(num_layers + 1, 0);
  effect.complete = true;
  return effect;
}

// Error vectors of the final hidden state against the plan's.
class FinalErrors {
 public:
  explicit FinalErrors(const Baseline& baseline)
      : oracle_(baseline.State(baseline.oracle, baseline.num_layers())),
        plan_error_(Difference(
            baseline.State(baseline.run, baseline.num_layers()), oracle_)),
        plan_squares_(Dot(plan_error_, plan_error_)),
        sum_(plan_error_.size(), 0) {}

  // Adds `count` equal errors to the sum, and returns one's share and cosine.
  std::pair<double, double> Add(Matrix<const double> value, size_t count) {
    const std::vector<double> error = Difference(value, oracle_);
    for (size_t i = 0; i < error.size(); ++i) {
      sum_[i] += static_cast<double>(count) * error[i];
    }
    return {RatioOrZero(Dot(error, plan_error_), plan_squares_), Cosine(error)};
  }

  // Figures of the sum so far.
  void Finish(Attribution& result) const {
    const double plan_norm = std::sqrt(plan_squares_);
    result.sum_cosine = Cosine(sum_);
    result.sum_norm = RatioOrZero(Norm2(sum_), plan_norm);
    result.sum_rest =
        RatioOrZero(std::sqrt(SquaredDistance(plan_error_, sum_)), plan_norm);
  }

 private:
  double Cosine(const std::vector<double>& error) const {
    return RatioOrZero(Dot(error, plan_error_),
                       Norm2(error) * std::sqrt(plan_squares_));
  }

  const Matrix<const double> oracle_;
  const std::vector<double> plan_error_;
  const double plan_squares_;
  std::vector<double> sum_;
};

// The cells that a repair gives to the oracle.
using Cells = std::vector<Cell>;

bool Before(const Cell& a, const Cell& b, size_t num_layers) {
  // The head's ops come last, though their layer is 0.
  const auto layer = [num_layers](const Cell& cell) {
    return cell.op == Op::kEmbed || IsPerLayer(cell.op) ? cell.layer
                                                        : num_layers + 1;
  };
  return layer(a) != layer(b) ? layer(a) < layer(b) : a.op < b.op;
}

}  // namespace

absl::Status MapCauses(const Run& run, const Baseline& baseline,
                       Attribution& result) {
  const Plan& oracle = baseline.oracle_plan;
  std::vector<Plan> plans;
  std::vector<size_t> cause_of;  // [plans]
  for (const Cell& cell : CellsOf(run.weights.config)) {
    Cause cause;
    cause.cell = cell;
    const Strategy strategy = baseline.plan.Get(cell.layer, cell.op);
    if (strategy == oracle.Get(cell.layer, cell.op)) {
      cause.effect = NoError(baseline.num_layers());
    } else {
      cause_of.push_back(result.causes.size());
      plans.push_back(oracle);
      plans.back().Set(cell.layer, cell.op, strategy);
      cause.share = cause.cosine = kNaN;
    }
    result.causes.push_back(std::move(cause));
  }
  FinalErrors errors(baseline);
  const auto on_final_hidden = [&](absl::Span<const size_t> streams,
                                   Matrix<const double> final_hidden) {
    const auto [share, cosine] = errors.Add(final_hidden, streams.size());
    for (const size_t s : streams) {
      result.causes[cause_of[s]].share = share;
      result.causes[cause_of[s]].cosine = cosine;
    }
  };
  std::vector<Outcome> outcomes;
  const absl::Status status = MeasureOutcomes(run, baseline, "cause map", plans,
                                              on_final_hidden, outcomes);
  for (size_t s = 0; s < outcomes.size(); ++s) {
    Cause& cause = result.causes[cause_of[s]];
    cause.effect = std::move(outcomes[s].effect);
    cause.changes_bits = outcomes[s].changes_bits;
  }
  if (status.ok()) {
    errors.Finish(result);
  } else {
    result.sum_cosine = result.sum_norm = result.sum_rest = kNaN;
  }
  return status;
}

absl::Status MapRepairs(const Run& run, const Baseline& baseline,
                        Attribution& result) {
  const Plan& plan = baseline.plan;
  const size_t num_layers = plan.num_layers();
  const Cells all = CellsOf(run.weights.config);
  std::vector<Cells> repaired;
  std::vector<std::pair<std::vector<Repair>*, size_t>> places;  // [repaired]
  const auto add = [&](std::vector<Repair>& repairs, const Cell& name,
                       Cells cells) {
    Repair repair;
    repair.cell = name;
    places.emplace_back(&repairs, repairs.size());
    repaired.push_back(std::move(cells));
    repairs.push_back(std::move(repair));
  };
  for (const Cell& cell : all) add(result.repairs, cell, {cell});
  for (size_t i = 0; i < kNumOps; ++i) {
    Cells cells;
    for (const Cell& cell : all) {
      if (cell.op == OpAt(i) && IsPerLayer(cell.op)) cells.push_back(cell);
    }
    if (!cells.empty()) add(result.op_repairs, {0, OpAt(i)}, cells);
  }
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    Cells cells;
    for (const Cell& cell : all) {
      if (cell.layer == layer) cells.push_back(cell);
    }
    add(result.layer_repairs, {layer, Op::kEmbed}, cells);
  }
  for (size_t i = 0; i < kNumKernels; ++i) {
    Cells cells;
    for (const Cell& cell : all) {
      if (OpKernel(cell.op) == static_cast<Kernel>(i)) cells.push_back(cell);
    }
    add(result.group_repairs, {0, cells[0].op}, cells);
  }

  // Runs that leave the plan late share most of it.
  std::vector<size_t> order(repaired.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return Before(repaired[a][0], repaired[b][0], num_layers);
  });
  std::vector<Plan> plans;
  std::vector<Repair*> repair_of;  // [plans]
  for (const size_t i : order) {
    Repair& repair = (*places[i].first)[places[i].second];
    Plan with_repair = plan;
    for (const Cell& cell : repaired[i]) {
      with_repair.Set(cell.layer, cell.op,
                      baseline.oracle_plan.Get(cell.layer, cell.op));
    }
    if (with_repair == plan) {
      repair.effect = result.plan;
      continue;
    }
    plans.push_back(std::move(with_repair));
    repair_of.push_back(&repair);
  }
  std::vector<Outcome> outcomes;
  const absl::Status status =
      MeasureOutcomes(run, baseline, "repair map", plans, nullptr, outcomes);
  const auto gain = [](double error, double plan_error) {
    return RatioOrZero(plan_error - error, plan_error);
  };
  for (size_t s = 0; s < outcomes.size(); ++s) {
    Repair& repair = *repair_of[s];
    repair.effect = std::move(outcomes[s].effect);
    repair.moved = RatioOrZero(outcomes[s].moved, result.plan.rel_l2);
    repair.logits_moved =
        RatioOrZero(outcomes[s].logits_moved, result.plan.logits_rel_l2);
    repair.gain = gain(repair.effect.rel_l2, result.plan.rel_l2);
    repair.logits_gain =
        gain(repair.effect.logits_rel_l2, result.plan.logits_rel_l2);
  }
  return status;
}

}  // namespace ulpscope
