#include "explorer/attribution/verdict.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// What an update has that halves the stream, (1 + 1/2) / (1/2).
constexpr double kCancels = 3;

// The least growth over a layer that exposes it: a bit.
constexpr double kExposes = 2;

// The least fall of a channel's share of the squared error in a layer that
// spreads it: what leaves the channel is then half of the error in norm.
constexpr double kSpreads = 0.25;

// Causes add up if what their sum leaves of the plan's error is less than what
// it explains.
constexpr double kLeavesLittle = 0.5;

// A channel that has more than all others together.
constexpr double kMostly = 0.5;

// To the final hidden state; the logits of some are perhaps not asked for.
bool AllFinished(const Attribution& attribution) {
  return attribution.cause_sum.has_value() && !attribution.causes.empty() &&
         absl::c_all_of(attribution.causes, [](const Cause& cause) {
           return cause.effect.rel_l2.has_value();
         });
}

std::optional<Exposure> FindExposure(const Attribution& attribution,
                                     const Phenomena& phenomena,
                                     size_t first_layer) {
  const std::vector<double>& errors = attribution.plan.layers;
  std::optional<Exposure> found;
  for (const CancellingAdd& add : phenomena.cancellations) {
    if (add.layer <= first_layer || add.layer >= errors.size() ||
        !(add.ratio >= kCancels)) {
      continue;
    }
    if (found.has_value() && add.ratio <= found->ratio) continue;
    const double before = errors[add.layer - 1];
    const double after = errors[add.layer];
    double inherited = after;
    for (const LayerSplit& split : attribution.layers) {
      if (split.layer == add.layer) inherited = split.inherited.rel_l2;
    }
    if (!(before > 0) || !(inherited >= kExposes * before)) continue;
    found = {add.layer,     add.op, add.ratio, add.std_before,
             add.std_after, before, inherited, after};
  }
  return found;
}

// The layer from `first_layer` on in which the largest channel's share falls
// most.
std::optional<Spreading> FindSpreading(const Attribution& attribution,
                                       const Phenomena& phenomena,
                                       size_t first_layer) {
  std::optional<Spreading> found;
  for (const Concentration& after : phenomena.concentrations) {
    if (after.layer < first_layer) continue;
    for (const Concentration& before : phenomena.concentrations) {
      if (before.layer + 1 != after.layer || before.top1 < kMostly ||
          !(before.top1 - after.top1 >= kSpreads)) {
        continue;
      }
      if (found.has_value() &&
          before.top1 - after.top1 <= found->top1_before - found->top1_after) {
        continue;
      }
      found = {after.layer, before.top1, after.top1, 0};
    }
  }
  if (!found.has_value()) return found;
  for (const LayerSplit& split : attribution.layers) {
    if (split.layer == found->layer) {
      found->amplification = split.amplification;
    }
  }
  return found;
}

std::vector<NoEffect> FindNoEffects(const Plan& plan, const Plan& reference,
                                    const std::vector<Cause>& causes,
                                    bool softmax_over_one) {
  std::vector<NoEffect> found;
  for (size_t i = 0; i < kNumOps; ++i) {
    bool any = false, changes = false;
    for (const Cause& cause : causes) {
      if (cause.cell.op != OpAt(i)) continue;
      // Under the reference there is nothing that could change.
      any = any ||
            !ComputeTheSame(OpAt(i), plan.Get(cause.cell.layer, cause.cell.op),
                            reference.Get(cause.cell.layer, cause.cell.op));
      changes = changes || cause.changes_bits;
    }
    if (any && !changes) {
      found.push_back({OpAt(i), OpAt(i) == Op::kSoftmax && softmax_over_one});
    }
  }
  return found;
}

// Absent unless all are finished but for those that were left out.
std::optional<BestRepair> BestOf(const std::vector<Repair>& repairs,
                                 size_t left_out = 0) {
  std::optional<BestRepair> best;
  double most_moved = 0;
  for (const Repair& repair : repairs) {
    if (!repair.effect.complete()) {
      if (left_out == 0) return std::nullopt;
      --left_out;
      continue;
    }
    if (!std::isfinite(*repair.gain)) continue;
    if (!best.has_value() || *repair.gain > best->gain) {
      best = {repair.cell, *repair.gain, 0};
    }
    most_moved = std::max(most_moved, *repair.moved);
  }
  if (best.has_value()) best->most_moved = most_moved;
  return best;
}

double ShareOf(const std::optional<SourcePart>& part) {
  return part.has_value() ? part->squared_share : 0;
}

}  // namespace

double LeftOnAverage(const Verdict& verdict, CureScope scope) {
  const ErrorSource& source = *verdict.source;
  double cured = source.squared_share + ShareOf(source.until_removal);
  if (scope != CureScope::kSource) {
    cured = 0;
    for (const OpShare& op : verdict.ops) {
      if (absl::c_linear_search(source.ops, op.op)) {
        cured += op.squared_share;
      }
    }
  }
  if (scope == CureScope::kChannel) {
    cured += ShareOf(source.makes) + ShareOf(source.removes);
  }
  return *verdict.rel_l2 * verdict.interaction->squares_norm *
         std::sqrt(std::max(0.0, 1 - cured));
}

bool IsAgainstPlan(const Verdict& verdict) {
  return verdict.against != "oracle";
}

Verdict Judge(const Plan& plan, const Plan& reference,
              const Attribution& attribution, const Phenomena* phenomena) {
  Verdict verdict;
  verdict.plan = plan.Text();
  verdict.against = reference.Text();
  verdict.is_itself = plan == reference;
  verdict.rel_l2 = attribution.plan.rel_l2;
  verdict.logits_rel_l2 = attribution.plan.logits_rel_l2;
  verdict.kl = attribution.plan.kl;
  verdict.stopped_in = attribution.stopped_in;
  verdict.exact = attribution.plan.complete() && verdict.rel_l2 == 0 &&
                  verdict.logits_rel_l2 == 0;
  if (verdict.exact || verdict.is_itself) return verdict;

  const std::vector<double>& layers = attribution.plan.layers;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    if (std::isfinite(layers[layer])) continue;
    verdict.nonfinite_from = layer;
    break;
  }
  for (const Cause& cause : attribution.causes) {
    // Logits that are not known are finite where the state is.
    if (cause.effect.rel_l2.has_value() &&
        !(std::isfinite(*cause.effect.rel_l2) &&
          std::isfinite(cause.effect.logits_rel_l2.value_or(0)))) {
      verdict.nonfinite_cells.push_back(cause.cell);
    }
  }
  const bool causes_known = AllFinished(attribution);
  if (causes_known) {
    verdict.no_effect =
        FindNoEffects(plan, reference, attribution.causes,
                      phenomena != nullptr && phenomena->softmax_over_one());
  }
  // Nothing can be shared out of what is no number.
  if (verdict.nonfinite_from.has_value()) return verdict;
  verdict.best_cell = BestOf(attribution.repairs, attribution.cells_left_out);
  verdict.best_op = BestOf(attribution.op_repairs);
  verdict.best_group = BestOf(attribution.group_repairs);
  verdict.best_layer = BestOf(attribution.layer_repairs);

  if (causes_known) {
    verdict.ops = SharesOfOps(attribution.causes);
    verdict.head = FindHead(attribution.causes);
    // Without an error of the final hidden state there is none to share out.
    if (attribution.plan.rel_l2 > 0) {
      verdict.source = FindSource(plan, reference, attribution, phenomena);
      const CauseSum& sum = *attribution.cause_sum;
      verdict.interaction = {
          sum.cosine, sum.norm, sum.rest,
          NormOfSquares(attribution.causes) / *attribution.plan.rel_l2,
          sum.rest < kLeavesLittle};
    }
  }
  if (phenomena == nullptr) return verdict;
  const size_t from =
      verdict.source.has_value() ? verdict.source->first_layer : 0;
  verdict.exposed_by = FindExposure(attribution, *phenomena, from);
  verdict.spread_by = FindSpreading(
      attribution, *phenomena,
      verdict.exposed_by.has_value() ? verdict.exposed_by->layer : from + 1);
  return verdict;
}

}  // namespace ulpscope
