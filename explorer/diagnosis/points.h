#ifndef EXPLORER_DIAGNOSIS_POINTS_H_
#define EXPLORER_DIAGNOSIS_POINTS_H_

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// Of points, the share that the format of a trace's arithmetic holds: some ops
// may run in another.
inline constexpr double kMostPoints = 0.75;

inline bool IsScores(Op op) { return op == Op::kQk || op == Op::kSoftmax; }

// An op's output that a trace has.
struct Point : TensorValues {
  size_t layer = 0;
  Op op = Op::kEmbed;
  const TracedTensor* tensor = nullptr;
  // Whether a replay computes it from values of the trace alone.
  bool has_inputs = false;
  // Where some of its values are not finite, and some before it were not
  // either, how far they spread depends on how zeros are multiplied with them.
  bool judged = true;

  // Whether its values say what they were computed in: the embedding is the
  // checkpoint's, scores are often exact, and NaN and infinities are in every
  // format.
  bool tells_format() const {
    return op != Op::kEmbed && !IsScores(op) && any_finite;
  }
};

// A trace with each of its tensors in its place: what is compared with what.
class AlignedTrace : public GivenOutputs {
 public:
  // hidden_states[n] is the stream after layer n + state_shift, but with
  // `last_state_normed` the last layer's is after the final norm. A module's
  // own output goes before a state of the same place. The trace must outlive
  // it. With `states_only`, it is the list of states alone. States of layers,
  // and the layers' own outputs, are what `states_are` says.
  AlignedTrace(const TracedValues& trace, size_t num_layers, int state_shift,
               bool last_state_normed, bool states_only = false,
               StatesAre states_are = StatesAre::kStream);

  // The op whose output stands for a layer's state.
  static Op OpOf(StatesAre states_are);

  // In the order in which they run.
  const std::vector<Point>& points() const { return points_; }
  // The coarsest format that holds the values of most points: that of the
  // arithmetic, or one that they were rounded to when they were written. If
  // nothing tells it (no value is finite), the one that they are stored in.
  Format format() const { return format_; }
  // The share of the points that tell a format whose values this one holds; 1
  // if there are none. Logits count if there is nothing else: programs make
  // them in f32 whatever the model is in.
  double ShareHeld(Format format) const;
  // Index into points(), or -1.
  int Find(size_t layer, Op op) const;

  // A replay's: all positions of a point, unless it is scores.
  Rows Get(size_t layer, Op op) const override;

 private:
  void Add(const TracedValues& trace, size_t layer, Op op,
           const TracedTensor& tensor);
  bool HasInputs(const Point& point, size_t num_layers) const;

  size_t positions_;
  Format format_ = Format::kF64;
  std::vector<Point> points_;
  std::map<std::pair<size_t, Op>, size_t> index_;
};

// The same trace, had it been kept in fewer bits than it was computed in: each
// value moved by up to half a spacing of that format, the same way every time.
class PerturbedTrace : public GivenOutputs {
 public:
  PerturbedTrace(const AlignedTrace& trace, double unit_roundoff)
      : trace_(trace), unit_roundoff_(unit_roundoff) {}

  Rows Get(size_t layer, Op op) const override;

 private:
  const AlignedTrace& trace_;
  const double unit_roundoff_;
};

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_POINTS_H_
