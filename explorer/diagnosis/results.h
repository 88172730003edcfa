#ifndef EXPLORER_DIAGNOSIS_RESULTS_H_
#define EXPLORER_DIAGNOSIS_RESULTS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/verdict.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/error/metrics.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// Why somebody else's trace of a model differs from ours. T is the trace, O the
// oracle, P our plan; a *point* is an op in a layer whose output T has. A
// *replay* computes a point from T's own values before it (the outputs of
// earlier points, as far back as the nearest ones), so that nothing is
// inherited but what T itself had.

// What T has in the place of the stream after a layer: engines that keep a
// layer's output and the residual apart (vLLM) show one of the two.
enum class StatesAre {
  kStream,
  kMlpOutput,     // down_proj's output, not added yet
  kAttnResidual,  // the stream that it is to be added to
};

// Of a trace's last state, by its index. (Not a member of Alignment: clang 14
// makes no std::optional of a nested struct whose members have initializers.)
struct LastStateDistances {
  size_t index = 0;
  double raw = 0, normed = 0;
};

// 1. What of T is to be compared with what.
struct Alignment {
  // hidden_states[n] is the stream after layer n + state_shift; 0 is right.
  int state_shift = 0;
  // Medians over layers of |T's state - the replay from T's state before it| by
  // the size of the layer's update, for the shift that was taken and for the
  // others that were tried: 0 is a perfect match, some 1.4 unrelated.
  struct Shift {
    int shift = 0;
    double mismatch = 0;
    size_t layers = 0;  // that it was measured on
  };
  std::vector<Shift> shifts;
  // One that is not the stream, and medians over layers of its relative L2
  // distance from a replay as the stream, and as that.
  StatesAre states_are = StatesAre::kStream;
  double as_stream = 0, as_they_are = 0;
  // Whether the last state is the one after the final norm (what transformers'
  // output_hidden_states has), and relative L2 distances of it from a replay
  // of its layer, as it is and with the final norm (NaN if it is not finite);
  // absent without such a state.
  bool last_state_normed = false;
  using LastState = LastStateDistances;
  std::optional<LastState> last_state;
  // Other readings that these figures do not rule out, as where a mistake of
  // the trace's program is in all layers or in the final norm: tried if this
  // one leaves something unexplained.
  struct Reading {
    int state_shift = 0;
    bool last_state_normed = false;
  };
  std::vector<Reading> others;
  // Positions whose embedding in T is not that of the token, and the token that
  // it is of (-1: none).
  struct OtherToken {
    size_t position = 0;
    int32_t token = 0;
    int32_t found = -1;
  };
  std::vector<OtherToken> other_tokens;
};

// The coarsest of bf16, f16, f32 and f64 that holds every finite value.
enum class HeldBy { kBF16AndF16, kBF16, kF16, kF32, kF64 };

// One point of T.
struct PointResult {
  size_t layer = 0;
  Op op = Op::kEmbed;
  std::string name;               // T's
  std::string stored_as;          // "BF16"
  std::optional<HeldBy> held_by;  // none if no value is finite
  size_t elements = 0;
  // Behind the first values of T that are not finite, no others are judged:
  // how far they spread depends on how zeros are multiplied with them.
  bool judged = true;
  // Of T minus a replay under the arithmetic found, by T's 2-norm; the same of
  // the replay with all causes found; and what rounding explains: how far that
  // arithmetic's own rounding takes the replay from the oracle's, times the
  // tolerance. Infinite where one of the two is finite and the other is not;
  // none if the point is not judged, or a cause leaves its op out.
  std::optional<double> distance, distance_with_causes, allowed;
  double tolerance = 0;  // factor on that rounding error
  // Distance and allowed are of the elements that do not stand out from their
  // rows, which fit worse than all of them.
  bool without_outstanding = false;
  // Shares of elements with the same bits; none of no elements.
  std::optional<double> identical, identical_with_causes;
  bool differs = false;        // distance > allowed
  bool still_differs = false;  // distance_with_causes > allowed
  // That, where T's results are as near the oracle as its arithmetic allows.
  bool without_effect = false;
  // Within rounding, but not bit for bit, where the replay of most points is
  // (belief.h, Flips), all causes included: something rounds elsewhere there,
  // or differs by less than a rounding.
  bool not_reproduced = false;
  size_t nonfinite = 0;  // elements of T that are infinite or NaN
  size_t nan = 0;        // of these
  // The preset whose replay is nearest; empty if no value is finite.
  std::string closest;
};

// 2. What T was computed in.
struct Arithmetic {
  struct Preset {
    std::string name;  // "f32", "torch-bf16", ...
    std::string plan;
    // Whether its results can hold T's values; points that a replay explains,
    // and mean over points of log2(distance by T's norm).
    bool holds_values = false;
    size_t points_explained = 0;
    double mean_log2_distance = 0;
  };
  std::vector<Preset> presets;  // the most likely first
  std::string name;             // of the one taken
  std::string plan;             // its text, with the causes that are of a plan
  // The values are rounded further than the arithmetic rounds: a trace in f32
  // that was kept in bf16.
  bool stored_rounded = false;
  // Points that tell what it is: the embedding is the checkpoint's, scores are
  // often exact, and values that are not finite are in every format. Without
  // any, the one taken says nothing.
  size_t points_that_tell = 0;
  // Of T from the oracle, by that of a run of the arithmetic with all causes:
  // the geometric mean over the states and logits (RunRatio). None if there are
  // none.
  std::optional<double> run_ratio;
  // Whether that is within what two roundings differ by: else T was not
  // computed so, whatever the points say.
  bool agrees_with_run = true;
};

// Values that are infinite or NaN, of T or of a run of our plan.
struct NonFinite {
  size_t first = 0;     // point that has any: an index into the points
  size_t points = 0;    // that have any
  size_t elements = 0;  // of these points
};

// 3. Who is nearer to the oracle, at a state of the stream; of a trace without
// any, at its logits, or at whatever it has.
struct StateDistance {
  size_t layer = 0;  // 0 is the embedding, and what is in no layer
  Op op = Op::kMlpResidual;
  bool normed = false;  // after the final norm
  // L2 distances of free runs, relative to T, over the elements at which T is
  // finite: NaN if none is, infinite if a run is not finite where T is.
  double trace_to_oracle = 0, ours_to_oracle = 0, trace_to_ours = 0;
  // Elements at which the oracle is finite, and T or ours is not.
  size_t elements = 0, trace_nonfinite = 0, ours_nonfinite = 0;
  // The emulation of T's arithmetic, with causes, on our own inputs; none if it
  // does not compute this state.
  std::optional<double> emulation_to_oracle, trace_to_emulation;

  bool is_finite() const {
    return trace_nonfinite == 0 && std::isfinite(trace_to_oracle) &&
           std::isfinite(ours_to_oracle);
  }
  // 1 if T is nearer to the oracle by more than this factor, -1 if ours is, 0
  // if neither is. Whoever alone is not finite where the oracle is is farther.
  int NearerBy(double factor) const {
    if ((trace_nonfinite > 0) != (ours_nonfinite > 0)) {
      return trace_nonfinite > 0 ? -1 : 1;
    }
    if (!std::isfinite(trace_to_oracle) || !std::isfinite(ours_to_oracle)) {
      return 0;
    }
    if (trace_to_oracle == ours_to_oracle) return 0;
    if (trace_to_oracle * factor <= ours_to_oracle) return 1;
    return ours_to_oracle * factor <= trace_to_oracle ? -1 : 0;
  }
};

// 5. What was tried. `id` is a name of the catalogue (hypotheses.h).
struct Tried {
  std::string id;
  // Points that it explains which differ without it, and that it spoils; the
  // sum over points of log2(distance without / with), of changes that matter.
  size_t explained = 0, spoiled = 0;
  double bits = 0;
  // Of points that are explained with it and without it: rows that it moves,
  // and those of them in which nearly all that moves becomes T's bits.
  size_t rows_moved = 0, rows_hit = 0;
  std::string not_tried;  // why, else empty
};

enum class CauseKind {
  kComparison,      // of things that are not the same
  kImplementation,  // T's program computes something else
  kArithmetic,      // it rounds somewhere else
  kRounding,        // nothing but the arithmetic's own rounding
  // T's program computes something else, but its results are as near the oracle
  // as its arithmetic's rounding allows.
  kEquivalent,
};

// 6. A cause.
struct DiagnosedCause {
  std::string id;  // of the catalogue; "rounding", "last_state_normed", ...
  CauseKind kind = CauseKind::kImplementation;
  std::string what;        // "RoPE rotates neighbours instead of halves"
  std::string advice;      // what to change
  size_t first_layer = 0;  // the first point that it concerns
  Op first_op = Op::kEmbed;
  // The two confirmations, without the cause and with it; absent where
  // there is none, infinite where only one side is finite. By kind and id:
  //   implementation, arithmetic   replay: RMS over the points concerned of
  //     distance / allowed. Run: relative L2 distance of T from a run of its
  //     arithmetic from the tokens on, with all other causes, at T's last
  //     point.
  //   comparison   replay: mismatch (Alignment) or, of the last state, relative
  //     L2 distance. Run: relative L2 distance of T's states from those of such
  //     a run, compared as the trace has them and as they belong together.
  //   rounding     replay: RMS over the states in the source's layers of T's
  //     relative L2 distance from a replay under f32, and under its own
  //     arithmetic. Run: relative L2 error of the final hidden state that the
  //     source's ops make alone, in T's arithmetic and in f32.
  //   cancellation relative L2 error before the layer and after it: of what the
  //     layer inherits, and of T itself.
  std::optional<double> replay_without, replay_with;
  std::optional<double> run_without, run_with;
  std::optional<double> removed;  // 1 - (run_with / run_without)^2
  // Of the points concerned, the share of elements that have T's bits in the
  // replay, without it and with it; of implementation and arithmetic.
  std::optional<double> identical_without, identical_with;
  // Others of the catalogue that no point of T can tell from it.
  std::vector<std::string> same_as;
  size_t points = 0;  // concerned
  // A comparison that is a hypothesis of the catalogue: T has its values in
  // another form, of which the results may be the same.
  bool is_another_form = false;
  // Whether one of them is computed from T's own values alone: the replay is
  // then another check than the run.
  bool shows_inside = false;
};

// The shares of a squared error that each origin has; they add up to 1, or are
// all 0 if there is no error.
struct ErrorShares {
  double comparison = 0;    // things compared that are not the same
  double rounding = 0;      // of T, in this layer, within what is explained
  double difference = 0;    // of T, in this layer, beyond that
  double own = 0;           // our plan's, in this layer
  double inherited = 0;     // from before the layer
  double cancellation = 0;  // inherited, and exposed by a cancellation
};

// A row of the seed report's table: ours minus T as it was given.
struct ErrorRow {
  size_t layer = 0;
  ErrorMetrics error;          // as given
  ErrorMetrics error_aligned;  // of the things that belong together
  // Of the mean absolute error as given, by the row's before; none for the
  // first row and after one without error.
  std::optional<double> growth;
  std::optional<ErrorShares> shares;  // none of what is not finite
};

struct Diagnosis {
  std::string plan;  // ours
  std::vector<int32_t> tokens;
  bool tokens_are_traces = false;
  std::vector<ReferenceTrace::NotMeasured> not_measured;
  size_t positions = 0, num_layers = 0;

  Alignment alignment;
  Arithmetic arithmetic;
  std::vector<StateDistance> states;
  std::vector<PointResult> points;  // in the order in which they run
  // The first that differs under the arithmetic found, the first that still
  // does with all causes, and the first that is not reproduced: indices into
  // points.
  std::optional<size_t> first_difference, first_unexplained;
  std::optional<size_t> first_not_reproduced;
  // Instead of first_unexplained, where T's results are as near the oracle as
  // its arithmetic's rounding allows: something is computed another way there,
  // and is right in the end.
  std::optional<size_t> first_without_effect;
  std::vector<Tried> tried;            // the best first
  std::vector<DiagnosedCause> causes;  // in the order of layers
  // Why the rounding comes to what it does: --attribute's verdict on T's
  // arithmetic; absent if there is another cause or it is f64.
  std::optional<Verdict> rounding;
  std::vector<ErrorRow> rows;
  // The first values that are not finite; none if all are.
  std::optional<NonFinite> trace_nonfinite, ours_nonfinite;
  std::optional<FirstNonFinite> trace_first_nonfinite, ours_first_nonfinite;
  FiniteValues finite_values;
  // Of points that differ, as they run.
  std::vector<PointDescription> descriptions;
  // Whether T is nearer to the oracle than ours at most of the states that say
  // so, or farther; 0 if neither.
  int nearer_to_oracle = 0;  // 1: T, -1: ours
  // The part that was not finished when it was stopped; empty if all was.
  std::string stopped_in;

  bool explained() const { return !first_unexplained.has_value(); }
  // Any cause of an implementation or arithmetic.
  bool differs() const {
    return std::any_of(causes.begin(), causes.end(), [](const auto& cause) {
      return cause.kind == CauseKind::kImplementation ||
             cause.kind == CauseKind::kArithmetic;
    });
  }
};

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_RESULTS_H_
