#include "explorer/diagnosis/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/arithmetic_presets.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/run_ratio.h"
#include "explorer/diagnosis/traced_values.h"
#include "kernels/base/format.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

// A preset is the better one if it comes nearer by so many bits on average, or
// about as near and explains more points. (How many it explains does not come
// first: a wide allowance explains anything.)
constexpr double kBitsMatter = 0.2;

// An engine is taken only if it comes nearer by so many bits where it differs:
// its replays then agree there, and are not merely as far off elsewhere.
constexpr double kEngineBits = 1;

// Of the points at which two replays are not equally far from the trace, how
// many bits nearer `engine` is on average; negative infinity if there are none.
double BitsNearer(const AlignedTrace& trace,
                  const std::vector<Residual>& engine,
                  const std::vector<Residual>& plain) {
  constexpr double kSame = 0.01;
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const double bits =
        Log2Distance(trace, i, plain[i]) - Log2Distance(trace, i, engine[i]);
    if (!(std::fabs(bits) > kSame)) continue;
    sum += bits;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count)
                   : -std::numeric_limits<double>::infinity();
}

// Of presets whose runs are not equally far from the oracle, one is left out if
// it is by so many bits farther from being as far as the trace than the best,
// which is to be within the second. A mistake of the trace's program would make
// all of them differ.
constexpr double kRunBits = 2;

// The plain arithmetic whose results are of a format.
size_t PresetOf(absl::Span<const ArithmeticPreset> presets, Format result) {
  size_t p = 0;
  // The first of f64 is the one without any f32.
  while (presets[p].result != result) ++p;
  return p;
}

Belief BeliefIn(const ArithmeticPreset& preset, size_t num_layers) {
  Belief belief = BeliefInPlan(preset.plan, num_layers);
  belief.preset = preset.name;
  belief.rope_angles_f32 = preset.rope_angles_f32;
  return belief;
}

// The share of the points that tell a format whose values the preset makes:
// those of its format, and whatever its ops in f32 do.
double ShareHeld(const AlignedTrace& trace, const ArithmeticPreset& preset,
                 const Plan& plan) {
  if (!Has16Bits(preset.result)) return trace.ShareHeld(preset.result);
  size_t held = 0, all = 0;
  for (const Point& point : trace.points()) {
    if (!point.tells_format()) continue;
    ++all;
    const Format result = plan.Get(point.layer, point.op).info().result;
    held += Holds(Has16Bits(result) ? preset.result : result, point.held_by);
  }
  return all == 0 ? 1 : static_cast<double>(held) / static_cast<double>(all);
}

struct Option {
  size_t preset = 0;
  bool stored_rounded = false;
  Fit fit;
  std::optional<RunRatio> ratio;
};

bool IsBetter(absl::Span<const ArithmeticPreset> presets,
              const Option& challenger, const Option& best) {
  // Both round to f64, but for a few ops.
  if (presets[best.preset].result == Format::kF64 &&
      presets[challenger.preset].result == Format::kF64) {
    return challenger.fit.explained > best.fit.explained;
  }
  // A 16-bit arithmetic gives its bits; one that was only kept in 16 bits does
  // not.
  if (challenger.stored_rounded && best.fit.bit_for_bit) return false;
  const double bits = best.fit.mean_log2 - challenger.fit.mean_log2;
  // An engine may differ at few points, where it is nearer (kEngineBits). What
  // it rounds within an op widens what it explains, which so says nothing.
  if (!presets[challenger.preset].plain) return bits > 0;
  if (std::fabs(bits) > kBitsMatter) return bits > 0;
  if (challenger.stored_rounded && best.fit.flips_known) return true;
  return challenger.fit.explained > best.fit.explained;
}

class ArithmeticSearch {
 public:
  ArithmeticSearch(const ReplaySetting& setting, WeightSets& weights,
                   const AlignedTrace& trace,
                   const std::vector<Hypothesis>& accepted)
      : setting_(setting),
        weights_(weights),
        trace_(trace),
        presets_(ArithmeticPresetsFor(trace, weights.original())) {
    const size_t num_layers = weights.original().layers.size();
    for (const ArithmeticPreset& preset : presets_) {
      beliefs_.push_back(With(BeliefIn(preset, num_layers), accepted));
      beliefs_.back().stored_rounded =
          UnitRoundoff(preset.result) < UnitRoundoff(trace.format());
    }
  }

  absl::StatusOr<ArithmeticFindings> Run() {
    absl::Status status = Replay();
    if (!status.ok()) return status;
    FindOptions();
    status = AddRatios();
    if (!status.ok()) return status;
    TakeBest();
    return Findings();
  }

 private:
  absl::Status Replay() {
    const PerturbedTrace perturbed(trace_, UnitRoundoff(trace_.format()));
    const Plan oracle = Plan::Oracle(weights_.original().layers.size());
    Variant exact = beliefs_.front().variant();
    exact.rope_angles_f32 = false;
    std::vector<Candidate> candidates = {{oracle, exact, &trace_}};
    for (const Belief& belief : beliefs_) {
      candidates.push_back(
          {belief.plan, belief.variant(), &trace_, belief.stored_rounded});
    }
    candidates.push_back({oracle, exact, &perturbed});
    const auto set = weights_.Get(beliefs_.front().weights());
    if (!set.ok()) return set.status();
    auto residuals =
        MeasureCandidates(setting_, **set, trace_, candidates, "arithmetic");
    if (!residuals.ok()) return residuals.status();
    residuals_ = *std::move(residuals);
    const std::vector<Residual>& f32 = Of(PresetOf(presets_, Format::kF32));
    for (size_t p = 0; p < presets_.size(); ++p) {
      fits_.push_back(
          {p, beliefs_[p].stored_rounded,
           FitOf(trace_, beliefs_[p].plan, Of(p), f32,
                 beliefs_[p].stored_rounded ? &residuals_.back() : nullptr),
           std::nullopt});
    }
    return absl::OkStatus();
  }

  const std::vector<Residual>& Of(size_t preset) const {
    return residuals_[1 + preset];
  }

  double Share(size_t preset) const {
    return ShareHeld(trace_, presets_[preset], beliefs_[preset].arithmetic);
  }

  void FindOptions() {
    const Format held = trace_.format();
    for (size_t p = 0; p < presets_.size(); ++p) {
      const ArithmeticPreset& preset = presets_[p];
      // A coarser arithmetic cannot have made them, and a much finer one would
      // have been rounded when they were written.
      if (Share(p) < kMostPoints) continue;
      const bool other_16_bits =
          preset.result != held && Has16Bits(preset.result) && Share(p) < 1;
      // What f64 computed and f32 keeps cannot be told from f32: replays under
      // f32 are two roundings away from an f32 trace, those under f64 one.
      const bool finer_than_f32 =
          preset.result == Format::kF64 && held != Format::kF64;
      const bool unlikely_engine =
          !preset.plain &&
          (!preset.taken || IsNoNearerThanSimpler(p) ||
           BitsNearer(trace_, Of(p), Of(PresetOf(presets_, held))) <
               kEngineBits);
      if (!other_16_bits && !finer_than_f32 && !unlikely_engine) {
        options_.push_back(fits_[p]);
      }
    }
  }

  bool IsNoNearerThanSimpler(size_t preset) const {
    for (size_t p = 0; p < presets_.size(); ++p) {
      if (absl::c_linear_search(presets_[preset].simpler, presets_[p].name) &&
          fits_[p].fit.mean_log2 <= fits_[preset].fit.mean_log2) {
        return true;
      }
    }
    return false;
  }

  absl::Status AddRatios() {
    std::vector<Belief> beliefs;
    for (const Option& option : options_) {
      beliefs.push_back(beliefs_[option.preset]);
    }
    const auto ratios = RunRatios(setting_, weights_, trace_, beliefs);
    if (!ratios.ok()) return ratios.status();
    for (size_t i = 0; i < options_.size(); ++i) {
      options_[i].ratio = (*ratios)[i];
    }
    return absl::OkStatus();
  }

  // The one whose format is the values' is taken unless another is better.
  // Those whose runs are not as far from the oracle as the trace is come last.
  void TakeBest() {
    double least = kRunBits;
    bool any_agrees = false;
    for (const Option& option : options_) {
      if (!option.ratio.has_value()) continue;
      any_agrees = any_agrees || option.ratio->bits() <= kRunBits;
      least = std::min(least, option.ratio->bits());
    }
    // Where bits are known they tell. What made the values as they are kept is
    // tried first: it may have a mistake besides.
    const auto is_likely = [&](const Option& option) {
      const ArithmeticPreset& preset = presets_[option.preset];
      return !any_agrees || !option.ratio.has_value() ||
             option.fit.bit_for_bit ||
             (preset.plain && preset.result == trace_.format()) ||
             option.ratio->bits() <= least + kRunBits;
    };
    absl::c_stable_sort(options_, [&](const Option& a, const Option& b) {
      if (is_likely(a) != is_likely(b)) return is_likely(a);
      return a.stored_rounded < b.stored_rounded;
    });
    size_t best = 0;
    for (size_t i = 1; i < options_.size() && is_likely(options_[i]); ++i) {
      // One whose body is in fewer bits than any value that is kept is tried if
      // this one leaves something unexplained.
      const bool coarser = UnitRoundoff(presets_[options_[i].preset].result) >
                           UnitRoundoff(trace_.format());
      if (!coarser && IsBetter(presets_, options_[i], options_[best])) best = i;
    }
    std::swap(options_[0], options_[best]);
  }

  ArithmeticFindings Findings() const {
    ArithmeticFindings findings;
    const Option& taken = options_.front();
    findings.belief = beliefs_[taken.preset];
    findings.arithmetic.name = presets_[taken.preset].name;
    findings.arithmetic.plan = findings.belief.plan.Text();
    findings.arithmetic.stored_rounded = taken.stored_rounded;
    std::vector<size_t> order = {taken.preset};
    for (size_t i = 1; i < options_.size(); ++i) {
      const Option& option = options_[i];
      order.push_back(option.preset);
      // A search for each would take long, and what engines round within an op
      // explains much: those that come no nearer are left out.
      if (!presets_[option.preset].plain &&
          option.fit.mean_log2 >= taken.fit.mean_log2) {
        continue;
      }
      findings.alternatives.push_back(beliefs_[option.preset]);
    }
    for (size_t p = 0; p < presets_.size(); ++p) {
      if (!absl::c_linear_search(order, p)) order.push_back(p);
    }
    for (const size_t p : order) {
      Arithmetic::Preset row;
      row.name = presets_[p].name;
      row.plan = beliefs_[p].plan.Text();
      row.holds_values = Share(p) >= kMostPoints;
      row.points_explained = fits_[p].fit.explained;
      row.mean_log2_distance = fits_[p].fit.mean_log2;
      findings.arithmetic.presets.push_back(std::move(row));
    }
    for (size_t i = 0; i < trace_.points().size(); ++i) {
      findings.closest.push_back(presets_[NearestAt(i, taken.preset)].name);
    }
    return findings;
  }

  // Of equally near ones the one that was taken.
  size_t NearestAt(size_t point, size_t taken) const {
    size_t nearest = taken;
    double least = Log2Distance(trace_, point, Of(nearest)[point]);
    for (size_t p = 0; p < presets_.size(); ++p) {
      const double distance = Log2Distance(trace_, point, Of(p)[point]);
      if (distance < least) {
        least = distance;
        nearest = p;
      }
    }
    return nearest;
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const AlignedTrace& trace_;
  const std::vector<ArithmeticPreset> presets_;
  // [preset], with what is accepted of variants.
  std::vector<Belief> beliefs_;
  // The oracle's, then [preset], then the oracle's from a perturbed trace.
  Residuals residuals_;
  std::vector<Option> fits_;     // [preset]
  std::vector<Option> options_;  // of these, the best first in the end
};

}  // namespace

absl::StatusOr<ArithmeticFindings> FindArithmetic(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const std::vector<Hypothesis>& accepted) {
  return ArithmeticSearch(setting, weights, trace, accepted).Run();
}

}  // namespace ulpscope
