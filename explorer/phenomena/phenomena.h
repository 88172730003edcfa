#ifndef EXPLORER_PHENOMENA_PHENOMENA_H_
#define EXPLORER_PHENOMENA_PHENOMENA_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// A residual add x + u: how much it cancels, (|x| + |u|) / |x + u| in 2-norms
// over all positions and channels (model/trace/trace.h). A position whose
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

// What is peculiar about a plan's run, and about the oracle's, which does not
// depend on the plan. Layer 0 is the embedding.
struct Phenomena {
  // The positions that all of it is of: the first ones, fewer than tokens if
  // it was stopped. If there are none, there is nothing else.
  size_t positions = 0;
  // Of the oracle's run.
  std::vector<MassiveChannel> massive;       // the largest first
  std::vector<CancellingAdd> cancellations;  // all adds, as they run
  std::vector<Headroom> headrooms;           // all ops, as they run
  // Of the plan's stream minus the oracle's: [0 ... num_layers].
  std::vector<Concentration> concentrations;
  std::vector<Bias> biases;
  // A breakdown is no error. Figures that it reaches say so: a cancellation or
  // a range becomes NaN or infinite, as do shares and z (channel_errors.h); a
  // NaN is no massive channel.
  std::optional<Breakdown> oracle_breakdown;
  std::optional<Breakdown> plan_breakdown;

  // Of a single score the softmax is 1 under every strategy.
  bool softmax_over_one() const { return positions == 1; }
};

struct PhenomenaOptions {
  std::vector<int32_t> tokens;
  // Asked every few positions; true ends the run, with what was found so far.
  std::function<bool()> stop;
};

// Runs the oracle and the plan side by side, a few positions at a time: what is
// kept does not grow with the prompt, but for their KV caches.
// InvalidArgument for no tokens, or one that is not in the vocabulary.
absl::StatusOr<Phenomena> FindPhenomena(const Weights& weights,
                                        const Plan& plan,
                                        const PhenomenaOptions& options,
                                        Parallel& parallel);

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_PHENOMENA_H_
