#include "explorer/attribution/cause_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "explorer/attribution/archived_attribution.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/attribution/error_source.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "explorer/error/kept.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// A change that changes nothing, at the positions of the plan's effect.
Effect NoError(size_t num_layers, const Effect& plan) {
  Effect effect = {0, 0, 0, std::vector<double>(num_layers + 1, 0)};
  if (plan.ordinary_rel_l2.has_value()) {
    effect.ordinary_rel_l2 = effect.ordinary_logits_rel_l2 =
        effect.ordinary_kl = 0;
  }
  return effect;
}

// [positions] of an error vector.
std::vector<double> SquaresOf(const std::vector<double>& error,
                              size_t hidden_size) {
  std::vector<double> squares;
  for (size_t i = 0; i * hidden_size < error.size(); ++i) {
    const Matrix<const double> row = {&error[i * hidden_size], 1, hidden_size};
    squares.push_back(Dot(row, row));
  }
  return squares;
}

// Of the squares of some positions.
std::optional<ErrorPeak> PeakOf(const std::vector<double>& squares) {
  ErrorPeak peak;
  double most = 0, all = 0;
  for (size_t i = 0; i < squares.size(); ++i) {
    all += squares[i];
    if (!(squares[i] <= most) && !std::isnan(most)) {
      peak.position = i;
      most = squares[i];
    }
  }
  if (all == 0) return std::nullopt;
  peak.squared_share = most / all;
  return peak;
}

// Error vectors of the final hidden state against the plan's.
class FinalErrors {
 public:
  explicit FinalErrors(const Baseline& baseline)
      : reference_(baseline.State(baseline.reference, baseline.num_layers())),
        plan_error_(Difference(
            baseline.State(baseline.run, baseline.num_layers()), reference_)),
        plan_squares_(Dot(plan_error_, plan_error_)),
        sum_(plan_error_.size(), 0) {}

  struct Figures {
    double share, cosine;
    std::vector<double> squares;
  };

  // Adds `count` equal errors to the sum, and returns one's figures.
  Figures Add(Matrix<const double> value, size_t count) {
    const std::vector<double> error = Difference(value, reference_);
    for (size_t i = 0; i < error.size(); ++i) {
      sum_[i] += static_cast<double>(count) * error[i];
    }
    return {RatioOrZero(Dot(error, plan_error_), plan_squares_), Cosine(error),
            SquaresOf(error, value.cols)};
  }

  // Figures of the sum so far.
  CauseSum Finish() const {
    const double plan_norm = std::sqrt(plan_squares_);
    return {
        Cosine(sum_), RatioOrZero(Norm2(sum_), plan_norm),
        RatioOrZero(std::sqrt(SquaredDistance(plan_error_, sum_)), plan_norm)};
  }

 private:
  double Cosine(const std::vector<double>& error) const {
    return RatioOrZero(Dot(error, plan_error_),
                       Norm2(error) * std::sqrt(plan_squares_));
  }

  const Matrix<const double> reference_;
  const std::vector<double> plan_error_;
  const double plan_squares_;
  std::vector<double> sum_;
};

// A cause map that is kept. It is whole or of no use: the sum of the cells'
// error vectors takes each of them, and they are not kept.
class KeptCauses {
 public:
  // The plans with one cell each. All arguments must outlive it.
  KeptCauses(const Run& run, const Baseline& baseline,
             const std::vector<Plan>& plans)
      : run_(run), baseline_(baseline), plans_(plans) {}

  // Fills the causes of the plans, and the sum, if all of it is there.
  bool Recall(const std::vector<size_t>& cause_of, Attribution& result) const {
    if (run_.kept == nullptr) return false;
    CauseSum sum;
    const auto any = [](const CauseSum&) { return true; };
    if (!ulpscope::Recall(run_.kept, SubjectOfSum(), sum, any)) return false;
    std::vector<KeptCause> causes(plans_.size());
    for (size_t s = 0; s < plans_.size(); ++s) {
      const auto is_whole = [this](const KeptCause& cause) {
        // Its logits are perhaps not measured.
        const Effect& effect = cause.outcome.effect;
        return effect.rel_l2.has_value() && cause.outcome.moved.has_value() &&
               effect.layers.size() == baseline_.num_layers() + 1 &&
               cause.squares.size() == baseline_.positions;
      };
      if (!ulpscope::Recall(run_.kept, SubjectOfCause(s), causes[s],
                            is_whole)) {
        return false;
      }
    }
    for (size_t s = 0; s < plans_.size(); ++s) {
      Cause& cause = result.causes[cause_of[s]];
      cause.effect = std::move(causes[s].outcome.effect);
      cause.changes_bits = causes[s].outcome.changes_bits;
      cause.share = causes[s].share;
      cause.cosine = causes[s].cosine;
      cause.peak = causes[s].peak;
      cause.squares = std::move(causes[s].squares);
    }
    result.cause_sum = sum;
    return true;
  }

  void Retain(size_t plan, const KeptCause& cause) const {
    ulpscope::Retain(run_.kept, SubjectOfCause(plan), cause);
  }
  void Retain(const CauseSum& sum) const {
    ulpscope::Retain(run_.kept, SubjectOfSum(), sum);
  }

 private:
  Subject SubjectOfCause(size_t plan) const {
    Subject subject =
        SubjectAgainst("cause", run_, baseline_,
                       {{"plan", &plans_[plan]}, {"of", &baseline_.plan}});
    subject.version = kCauseVersion;
    return subject;
  }

  Subject SubjectOfSum() const {
    Subject subject = SubjectAgainst("cause_sum", run_, baseline_,
                                     {{"plan", &baseline_.plan}});
    subject.version = kCauseSumVersion;
    return subject;
  }

  const Run& run_;
  const Baseline& baseline_;
  const std::vector<Plan>& plans_;
};

// The least part of an error that a repair of many cells takes away if those of
// its single cells are worth their runs.
constexpr double kPays = 0.25;

// Positions of all their runs. With fewer, all repairs run in one pass, and all
// causes run to their logits.
constexpr size_t kManyPositions = 2048;

// The cells that a repair gives to the reference.
using Cells = std::vector<Cell>;

// Runs plans with repairs, and fills what these take away.
absl::Status MeasureRepairs(const Run& run, const Baseline& baseline,
                            const Effect& plan_effect,
                            const std::vector<Plan>& plans,
                            const std::vector<Repair*>& repair_of) {
  std::vector<Outcome> outcomes;
  const absl::Status status =
      MeasureKeptOutcomes(run, baseline, "repair map", plans, outcomes);
  // By the plan's error, which was run to its end.
  const double plan_error = *plan_effect.rel_l2;
  const double logits_error = *plan_effect.logits_rel_l2;
  for (size_t s = 0; s < outcomes.size(); ++s) {
    Repair& repair = *repair_of[s];
    repair.effect = std::move(outcomes[s].effect);
    if (repair.effect.rel_l2.has_value()) {
      repair.moved = RatioOrZero(*outcomes[s].moved, plan_error);
      repair.gain = RatioOrZero(plan_error - *repair.effect.rel_l2, plan_error);
    }
    if (repair.effect.complete()) {
      repair.logits_moved =
          RatioOrZero(*outcomes[s].logits_moved, logits_error);
      repair.logits_gain = RatioOrZero(
          logits_error - *repair.effect.logits_rel_l2, logits_error);
    }
  }
  return status;
}

// Whether it takes anything that counts away, of either error.
bool Pays(const Repair& repair) {
  return *repair.gain >= kPays || *repair.logits_gain >= kPays;
}

// Whether a cell's repair may pay: its op's in all layers does, or its layer's.
// A cell in no layer has no other.
bool MayPay(const Cell& cell, const Attribution& result) {
  if (!IsPerLayer(cell.op)) return true;
  return absl::c_any_of(result.op_repairs,
                        [&cell](const Repair& repair) {
                          return repair.cell.op == cell.op && Pays(repair);
                        }) ||
         Pays(result.layer_repairs[cell.layer - 1]);
}

// Where the causes of many positions are, those whose logits are measured
// whatever the head has: so many of the largest errors of the final hidden
// state, over all positions and over the ordinary ones.
constexpr size_t kLargest = 16;

// Of some plans, each one's place if the largest come first, by one figure of
// its cause. What is not finite is no size.
template <typename ErrorOf>
std::vector<size_t> PlacesBySize(size_t plans, const ErrorOf& error_of) {
  const auto size = [&](size_t s) {
    const std::optional<double> error = error_of(s);
    return error.has_value() && std::isfinite(*error) ? *error : 0;
  };
  std::vector<size_t> order(plans), places(plans);
  std::iota(order.begin(), order.end(), size_t{0});
  absl::c_stable_sort(order,
                      [&](size_t a, size_t b) { return size(a) > size(b); });
  for (size_t i = 0; i < plans; ++i) places[order[i]] = i;
  return places;
}

// Runs some causes to their logits: those in no layer, those that change no bit
// before the head, where what the stream carries may, and of the others the
// largest, `largest` by either figure. Then all, unless these have more of the
// logits' errors than the head.
absl::Status MeasureSomeLogits(const Run& run, const Baseline& baseline,
                               const std::vector<Plan>& plans, size_t largest,
                               const std::vector<size_t>& cause_of,
                               std::vector<Outcome>& outcomes,
                               Attribution& result) {
  const auto effect = [&](size_t s) -> const Effect& {
    return outcomes[s].effect;
  };
  const std::vector<size_t> of_all =
      PlacesBySize(plans.size(), [&](size_t s) { return effect(s).rel_l2; });
  const std::vector<size_t> of_ordinary = PlacesBySize(
      plans.size(), [&](size_t s) { return effect(s).ordinary_rel_l2; });
  std::vector<bool> comes_first;
  for (size_t s = 0; s < plans.size(); ++s) {
    comes_first.push_back(!IsPerLayer(result.causes[cause_of[s]].cell.op) ||
                          !outcomes[s].changes_bits ||
                          std::min(of_all[s], of_ordinary[s]) < largest);
  }
  for (const bool first : {true, false}) {
    std::vector<Plan> some;
    std::vector<size_t> place;  // [some]
    for (size_t s = 0; s < plans.size(); ++s) {
      if (comes_first[s] != first) continue;
      some.push_back(plans[s]);
      place.push_back(s);
    }
    std::vector<Outcome> measured;
    const absl::Status status = MeasureOutcomes(
        run, baseline, "logits of causes", some, RunTo::kLogits, {}, measured);
    for (size_t i = 0; i < measured.size(); ++i) {
      // One that was stopped has less than is known of it.
      if (!measured[i].effect.complete()) continue;
      Cause& cause = result.causes[cause_of[place[i]]];
      cause.effect = measured[i].effect;
      cause.changes_bits = measured[i].changes_bits;
      outcomes[place[i]] = std::move(measured[i]);
    }
    if (!status.ok()) return status;
    if (!FindHead(result.causes).has_value()) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MapCauses(const Run& run, const Baseline& baseline,
                       bool all_logits, Attribution& result) {
  const Plan& reference = baseline.reference_plan;
  std::vector<Plan> plans;
  std::vector<size_t> cause_of;  // [plans]
  for (const Cell& cell : CellsOf(run.weights.config)) {
    Cause cause;
    cause.cell = cell;
    if (baseline.plan.SharesCell(reference, cell.layer, cell.op)) {
      cause.effect = NoError(baseline.num_layers(), result.plan);
      cause.share = cause.cosine = 0;
    } else {
      cause_of.push_back(result.causes.size());
      plans.push_back(reference);
      plans.back().TakeCell(baseline.plan, cell.layer, cell.op);
    }
    result.causes.push_back(std::move(cause));
  }
  const KeptCauses kept(run, baseline, plans);
  if (kept.Recall(cause_of, result)) return absl::OkStatus();
  const bool to_logits =
      all_logits && plans.size() * baseline.positions < kManyPositions;
  if (!baseline.is_run()) return NotKept();
  FinalErrors errors(baseline);
  OutcomeWatch watch;
  watch.on_final_hidden = [&](absl::Span<const size_t> streams,
                              Matrix<const double> final_hidden) {
    const auto figures = errors.Add(final_hidden, streams.size());
    for (const size_t s : streams) {
      Cause& cause = result.causes[cause_of[s]];
      cause.share = figures.share;
      cause.cosine = figures.cosine;
      cause.peak = PeakOf(figures.squares);
      cause.squares = figures.squares;
    }
  };
  std::vector<Outcome> outcomes;
  absl::Status status = MeasureOutcomes(
      run, baseline, "cause map", plans,
      to_logits ? RunTo::kLogits : RunTo::kFinalHidden, watch, outcomes);
  for (size_t s = 0; s < outcomes.size(); ++s) {
    Cause& cause = result.causes[cause_of[s]];
    cause.effect = outcomes[s].effect;
    cause.changes_bits = outcomes[s].changes_bits;
  }
  if (status.ok() && !to_logits) {
    status = MeasureSomeLogits(run, baseline, plans, all_logits ? kLargest : 1,
                               cause_of, outcomes, result);
  }
  if (!status.ok()) return status;
  result.cause_sum = errors.Finish();
  // With fewer logits than others may want of these plans.
  if (!all_logits) return status;
  for (size_t s = 0; s < outcomes.size(); ++s) {
    const Cause& cause = result.causes[cause_of[s]];
    kept.Retain(s, {std::move(outcomes[s]), *cause.share, *cause.cosine,
                    cause.peak, cause.squares});
  }
  kept.Retain(*result.cause_sum);
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
  absl::c_stable_sort(order, [&](size_t a, size_t b) {
    return OrderOf(repaired[a][0], num_layers) <
           OrderOf(repaired[b][0], num_layers);
  });
  // Those of many cells, and those of one.
  std::vector<Plan> plans, plans_of_cells;
  std::vector<Repair*> repair_of, repair_of_cells;
  for (const size_t i : order) {
    Repair& repair = (*places[i].first)[places[i].second];
    Plan with_repair = plan;
    for (const Cell& cell : repaired[i]) {
      const Strategy strategy =
          baseline.reference_plan.Get(cell.layer, cell.op);
      if (!ComputeTheSame(cell.op, strategy, plan.Get(cell.layer, cell.op))) {
        with_repair.Set(cell.layer, cell.op, strategy);
      }
    }
    if (with_repair == plan) {
      repair.effect = result.plan;
      repair.gain = repair.logits_gain = 0;
      repair.moved = repair.logits_moved = 0;
      continue;
    }
    const bool of_cell = places[i].first == &result.repairs;
    (of_cell ? plans_of_cells : plans).push_back(std::move(with_repair));
    (of_cell ? repair_of_cells : repair_of).push_back(&repair);
  }
  if (plans_of_cells.size() * baseline.positions < kManyPositions) {
    // One pass over the weights is the faster one.
    plans.insert(plans.end(), plans_of_cells.begin(), plans_of_cells.end());
    repair_of.insert(repair_of.end(), repair_of_cells.begin(),
                     repair_of_cells.end());
    plans_of_cells.clear();
  }
  const absl::Status status =
      MeasureRepairs(run, baseline, result.plan, plans, repair_of);
  if (!status.ok() || plans_of_cells.empty()) return status;
  plans.clear();
  repair_of.clear();
  for (size_t i = 0; i < plans_of_cells.size(); ++i) {
    if (!MayPay(repair_of_cells[i]->cell, result)) {
      ++result.cells_left_out;
      continue;
    }
    plans.push_back(std::move(plans_of_cells[i]));
    repair_of.push_back(repair_of_cells[i]);
  }
  return MeasureRepairs(run, baseline, result.plan, plans, repair_of);
}

}  // namespace ulpscope
