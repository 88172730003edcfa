#ifndef EXPLORER_PHENOMENA_H_
#define EXPLORER_PHENOMENA_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/format.h"
#include "kernels/parallel.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

// A channel of the residual stream that is far larger than the rest (Sun et
// al. 2024, "Massive Activations in Large Language Models"), in the oracle's
// run, at one position.
struct MassiveActivation {
  size_t channel = 0;
  size_t position = 0;
  size_t born = 0;          // the first layer after which it is there
  size_t removed = 0;       // the first layer after which it is gone; 0: never
  Op born_op = Op::kEmbed;  // whose add made it
  Op removed_op = Op::kEmbed;  // whose add removed it
  double value = 0;            // the largest, signed
  size_t value_layer = 0;      // after which layer
  double ratio_to_median = 0;  // |value| / median |x| of that position then
};

// A residual add x + u that cancels: (|x| + |u|) / |x + u| (model/trace.h).
struct CancellingAdd {
  size_t layer = 0;
  Op op = Op::kMlpResidual;
  double ratio = 0;
  double stream_before = 0, stream_after = 0;  // std of the oracle's stream
};

// How the plan's error is spread over channels, after a layer.
struct Concentration {
  size_t layer = 0;
  size_t channel = 0;         // the one with the largest squared error
  double top1 = 0, top8 = 0;  // share of the squared error, all positions
};

// A signed mean error far outside what independent roundings give: z = mean /
// (standard deviation / sqrt(n)), over positions and channels.
struct Bias {
  size_t layer = 0;
  double mean = 0;
  double z = 0;
};

// The largest magnitude of an op's outputs in the oracle's run against the
// largest finite number of each format, and the smallest nonzero one against
// the smallest normal.
struct Headroom {
  size_t layer = 0;
  Op op = Op::kEmbed;
  double largest = 0, smallest = 0;
  // log2(format's largest / largest); below 0 it overflows.
  double f16 = 0, bf16 = 0, f32 = 0;
};

struct Phenomena {
  std::vector<MassiveActivation> massive;     // largest first
  std::vector<CancellingAdd> cancellations;   // of all adds, [layer, op]
  std::vector<Concentration> concentrations;  // [0 ... num_layers]
  std::vector<Bias> biases;                   // [0 ... num_layers]
  std::vector<Headroom> headrooms;            // [CellsOf]
  bool softmax_over_one = false;  // one position: every softmax is 1
};

// Runs the oracle and the plan.
absl::StatusOr<Phenomena> FindPhenomena(const Weights& weights,
                                        const Plan& plan,
                                        const std::vector<int32_t>& tokens,
                                        Parallel& parallel);

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_H_
