#ifndef MODEL_TRACE_KEPT_STATES_H_
#define MODEL_TRACE_KEPT_STATES_H_

#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/decoder/observer.h"

namespace ulpscope {

// How much of its operands a residual add x + u cancels:
// (|x| + |u|) / |x + u| in 2-norms, over all positions. 1 without cancellation;
// relative errors of the operands grow by up to this factor.
struct Cancellation {
  double attn = 0;
  double mlp = 0;
};

// What one forward pass over fresh positions leaves behind: the residual stream
// after every layer, the state after the final norm, and the logits, copied.
class KeptStates : public Observer {
 public:
  explicit KeptStates(const ModelConfig& config);

  // Whether it looks at the op's output; others need not be shown.
  static bool Keeps(Op op);

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override;

  size_t positions() const { return positions_; }
  size_t num_layers() const { return states_.size() - 1; }
  // [positions, hidden]: layer 0 is the embedding, layer N the residual stream
  // after layer N, before any norm.
  Matrix<const double> State(size_t layer) const;
  Matrix<const double> FinalNorm() const;  // [positions, hidden]
  Matrix<const double> Logits() const;     // [positions with logits, vocab]
  const Cancellation& CancellationAt(size_t layer) const {
    return cancellations_[layer];
  }

 private:
  size_t hidden_size_;
  size_t vocab_size_;
  size_t positions_ = 0;
  std::vector<std::vector<double>> states_;  // [layers + 1]
  std::vector<double> final_norm_;
  std::vector<double> logits_;
  std::vector<Cancellation> cancellations_;  // [layers + 1]
  double stream_norm_ = 0;                   // before the next residual add
  double update_norm_ = 0;                   // what that add adds
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_KEPT_STATES_H_
