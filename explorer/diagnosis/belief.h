#ifndef EXPLORER_DIAGNOSIS_BELIEF_H_
#define EXPLORER_DIAGNOSIS_BELIEF_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/rounded_tensors.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// What the program that wrote a trace is believed to compute.
struct Belief {
  std::string preset;  // ArithmeticPreset
  Plan arithmetic{0};  // its plan
  Plan plan{0};        // the same with the accepted entries
  bool rope_angles_f32 = false;
  // The values were rounded once more when they were written.
  bool stored_rounded = false;
  std::vector<Hypothesis> accepted;

  Variant variant() const;
  std::optional<WeightRounding> weights() const;
};

// That it is this plan, which parses, with RoPE's angles in f32 as in
// transformers.
Belief BeliefInPlan(absl::string_view plan, size_t num_layers);

// The belief without anything that was accepted: the arithmetic alone.
Belief ArithmeticOf(const Belief& belief);

// The belief with more, one after the other.
Belief With(const Belief& belief, absl::Span<const Hypothesis> hypotheses);

// How a replay fits one point: of all elements, or of those that do not stand
// out if these fit worse.
struct PointFit {
  double distance = 0;  // 2-norm of theirs - ours, by that of theirs
  double allowed = 0;   // of that
  double tolerance = 0;
  double excess = 0;   // distance / allowed
  bool usual = false;  // whether it is of those that do not stand out
  bool judged = true;  // Point's: what is not counts as explained
  // Whether no more elements have other bits than flips allow; set where it is
  // not known (Flips).
  bool reproduced = true;
  bool explained = false;
  double allowed_all = 0, allowed_usual = 0;  // 2-norms, not relative
};

struct Fit {
  std::vector<PointFit> points;
  std::vector<Residual> residuals;
  size_t explained = 0;   // points
  size_t reproduced = 0;  // points
  // Whether the replay is to be bit for bit, and whether that can be known: see
  // Flips.
  bool bit_for_bit = false;
  bool flips_known = false;
  // Mean over points of log2(distance / the trace's norm).
  double mean_log2 = 0;
};

// Of a point in a 16-bit arithmetic that a replay computes from the trace's own
// values, all rounding points are known: only the order of sums is not, which
// rounds an element the other way now and then. `expected` is how often, by the
// f32 plan's own error on the same inputs; four times that, six standard
// deviations and six elements are allowed. A replay that reproduces most points
// of half of the ops like that is to reproduce them all; one that does not is
// of another program, and says nothing.
struct Flips {
  bool known = false;
  double expected = 0;
  double allowed = 0;
};
Flips FlipsOf(const Point& point, Format result, const Residual& f32);

// What is allowed at a point: theirs and ours are two roundings of the same
// value, each as far from the exact one as ours is from the oracle's, so they
// are at most twice that apart; and a norm over few independent errors varies.
// With nu = (sum e^2)^2 / sum e^4 of them, its relative standard deviation is
// sqrt(2 / nu) at most, of which six are allowed:
//   allowed = 2 (1 + 6 sqrt(2 / nu)) |ours - oracle|
// `own` is the replay's residual, whose noise is against the oracle with
// the same variant; `f32` that of the f32 plan: f64's rounding errors are 2^-29
// of it. `stored` is the oracle's from a perturbed trace, or null: what the
// rounding of the values that were written, to the format of `unit_roundoff`,
// does. That format is the trace's.
PointFit FitOf(const Point& point, const Residual& own, const Residual& f32,
               const Residual* stored, double unit_roundoff);

// Whether another replay of the point is within what this one is allowed.
bool IsWithin(const Residual& residual, const PointFit& fit);

Fit FitOf(const AlignedTrace& trace, const Plan& plan,
          const std::vector<Residual>& own, const std::vector<Residual>& f32,
          const std::vector<Residual>* stored);

// log2 of a distance by the trace's norm, the mean of that of all elements and
// of those that do not stand out; not below what the trace's format can show.
// Elements that are finite on one side only count as wrong by 2^10 times the
// trace's RMS, a point that is not computed likewise.
double Log2Distance(const AlignedTrace& trace, size_t point,
                    const Residual& residual);

// The checkpoint's weights, and one other rounding of them at a time.
class WeightSets {
 public:
  // Of others, none that take more than the run's memory.
  WeightSets(const Run& run, const Checkpoint& checkpoint)
      : run_(run), checkpoint_(checkpoint) {}

  const Weights& original() const { return run_.weights; }

  // Valid until another rounding is asked for. ResourceExhausted beyond the
  // memory.
  absl::StatusOr<const Weights*> Get(std::optional<WeightRounding> rounding);

 private:
  const Run run_;
  const Checkpoint& checkpoint_;
  std::optional<WeightRounding> rounding_;  // of rounded_
  Weights rounded_;
};

// Replays the trace under a belief.
absl::StatusOr<Fit> Evaluate(const ReplaySetting& setting, WeightSets& weights,
                             const AlignedTrace& trace, const Belief& belief,
                             absl::string_view task);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_BELIEF_H_
