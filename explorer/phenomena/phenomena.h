#ifndef EXPLORER_PHENOMENA_PHENOMENA_H_
#define EXPLORER_PHENOMENA_PHENOMENA_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/flips.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/softmax_weights.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// From when on a figure is worth a line.

// From 2 on an add can double relative errors: they lose a bit. Operands at
// right angles, as independent ones nearly are, give at most sqrt(2).
inline constexpr double kNamedCancellation = 2;
// Half of the squared error in one channel, or nearly all in eight. Of spread
// errors the largest of n Gaussian channels at one position has about
// 2 log(n) / n: 0.13 of 64 channels, 0.015 of 896.
inline constexpr double kNamedTop1 = 0.5;
inline constexpr double kNamedTop8 = 0.9;
// Of the sign test: chance gives |z| >= 5 once in 1.7 million layers. Models of
// less than 25 channels cannot show it.
inline constexpr double kNamedBias = 5;
// Bits. Another prompt can well double an activation.
inline constexpr double kNamedHeadroom = 1;
// Share of an op's outputs that are below a format's smallest normal number.
// Values spread evenly about 0 lose little by a few: as small as they are
// against the others of their row, a sum hardly sees them.
inline constexpr double kNamedUnderflow = 0.5;
// Of LargeScore::weight_factor, what it exceeds 1 by: a softmax weight that is
// off by a hundredth, for one spacing of one score. bf16 has that from scores
// of 2 on, f16 of 16, f32 of 131 072.
inline constexpr double kNamedWeightError = 0.01;

// Whether one spacing can change a weight by more, or no spacing is left.
bool IsNamed(const LargeScore& score);

// A residual add x + u: how much it cancels, (|x| + |u|) / |x + u| in 2-norms
// over all positions and channels (model/trace/kept_states.h). A position whose
// stream is far larger than the others' decides it alone. Infinite where
// something becomes nothing, NaN where nothing is added to nothing.
struct CancellingAdd {
  size_t layer = 0;
  Op op = Op::kMlpResidual;
  double ratio = 0;
  // Standard deviation of the stream, x and x + u, over the same.
  double std_before = 0, std_after = 0;
};

// The range of an op's outputs.
struct Headroom {
  size_t layer = 0;
  Op op = Op::kEmbed;
  OutputRange range;
};

// The first output of a run that is NaN or infinite.
struct Breakdown {
  size_t layer = 0;
  Op op = Op::kEmbed;
  size_t position = 0;
  size_t element = 0;  // within that position's outputs
  double value = 0;
};

// What is peculiar about a plan's run, and about the reference's, which does
// not depend on the plan: the reference's, or that of the plan which errors are
// against. Layer 0 is the embedding.
struct Phenomena {
  // The positions that all of it is of. If there are none, as the run was
  // stopped, there is nothing else.
  size_t positions = 0;
  // Of the reference's run.
  std::vector<MassiveChannel> massive;       // the largest first
  std::vector<CancellingAdd> cancellations;  // all adds, as they run
  std::vector<Headroom> headrooms;           // all ops, as they run
  // Of the reference's run too, in the format of the plan's scores: of every
  // layer and head. None of a single position.
  std::vector<LargeScore> large_scores;
  // Of the reference's run, by layer and head.
  std::vector<AttentionSink> sinks;
  // Of the plan's stream minus the reference's: [0 ... num_layers].
  std::vector<Concentration> concentrations;
  std::vector<Bias> biases;
  // Of both runs: the weight of every layer and head that differs most, massive
  // activations that one of them has, and positions whose token may change.
  std::vector<MovedWeight> moved_weights;
  std::vector<FlippedActivation> flips;
  std::vector<NearTie> near_ties;
  // A breakdown is no error. Figures that it reaches say so: a cancellation or
  // a range becomes NaN or infinite, as do shares and z (channel_errors.h); a
  // NaN is no massive channel.
  std::optional<Breakdown> reference_breakdown;
  std::optional<Breakdown> plan_breakdown;

  // Of a single score the softmax is 1 under every strategy.
  bool softmax_over_one() const { return positions == 1; }
};

// Finds them while a baseline is made (MakeBaseline). What it keeps does not
// grow with the prompt, but for states and a layer's softmax weights of the
// reference that the plan's run has not come to yet.
class PhenomenaWatch : public LockstepObserver {
 public:
  explicit PhenomenaWatch(size_t num_layers);
  ~PhenomenaWatch() override;

  bool Wants(Op) const override { return true; }
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;
  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override;

  // Of the baseline that it watched; no positions if that was stopped.
  Phenomena Found(const Baseline& baseline) const;

 private:
  class ReferenceWatch;
  class PlanWatch;
  std::unique_ptr<ReferenceWatch> reference_;
  std::unique_ptr<PlanWatch> plan_;
  SoftmaxWeights weights_;  // of both
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_PHENOMENA_H_
