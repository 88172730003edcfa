#ifndef TESTS_KEPT_OUTPUTS_H_
#define TESTS_KEPT_OUTPUTS_H_

#include <cstddef>
#include <map>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix.h"
#include "model/lockstep.h"
#include "model/op.h"

namespace ulpscope {

// Keeps all that a lockstep run shows, scores too.
class KeptOutputs : public LockstepObserver {
 public:
  // (layer, op, first position): scores have an entry per position.
  using Key = std::tuple<size_t, Op, size_t>;
  struct Output {
    size_t rows = 0, cols = 0;
    std::vector<double> values;
    std::vector<size_t> shown_with;  // all streams that it was shown with
  };

  explicit KeptOutputs(size_t num_streams)
      : outputs(num_streams), states(num_streams) {}

  bool Wants(Op /*op*/) const override { return true; }
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;
  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override;

  // Of an op that is no score.
  const Output& Get(size_t stream, size_t layer, Op op) const {
    return outputs[stream].at({layer, op, 0});
  }

  std::vector<std::map<Key, Output>> outputs;         // [stream]
  std::vector<std::map<size_t, StreamState>> states;  // [stream], by layer
};

}  // namespace ulpscope

#endif  // TESTS_KEPT_OUTPUTS_H_
