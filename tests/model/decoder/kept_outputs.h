#ifndef TESTS_MODEL_DECODER_KEPT_OUTPUTS_H_
#define TESTS_MODEL_DECODER_KEPT_OUTPUTS_H_

#include <cstddef>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/lockstep/lockstep.h"

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

inline bool IsScore(Op op) { return op == Op::kQk || op == Op::kSoftmax; }

// Gives what it has been told to, and keeps what it was asked for.
class Given : public GivenOutputs {
 public:
  using Key = std::pair<size_t, Op>;

  void Set(size_t layer, Op op, const KeptOutputs::Output& output);
  Rows Get(size_t layer, Op op) const override;

  mutable std::vector<Key> asked;

 private:
  std::map<Key, Rows> rows_;
};

// Of all of a stream's outputs.
Given GivenOf(const KeptOutputs& kept, size_t stream);

}  // namespace ulpscope

#endif  // TESTS_MODEL_DECODER_KEPT_OUTPUTS_H_
