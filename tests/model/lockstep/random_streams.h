#ifndef TESTS_MODEL_LOCKSTEP_RANDOM_STREAMS_H_
#define TESTS_MODEL_LOCKSTEP_RANDOM_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// Random streams, and what each of them is shown.

std::vector<int32_t> RandomTokens(size_t count, const Weights& weights,
                                  Random& random);

// (layer, op, first position) -> values.
using Key = std::tuple<size_t, Op, size_t>;
using Outputs = std::map<Key, std::vector<double>>;

// Keeps what each stream is shown.
class KeepStreams : public LockstepObserver {
 public:
  KeepStreams(size_t num_streams, bool scores)
      : outputs(num_streams), states(num_streams), scores_(scores) {}

  bool Wants(Op op) const override {
    return scores_ || (op != Op::kQk && op != Op::kSoftmax);
  }
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;
  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override;

  std::vector<Outputs> outputs;
  std::vector<std::map<size_t, StreamState>> states;
  size_t shown = 0, shown_to = 0;

 private:
  bool scores_;
};

// A plan in which some ops, or cells, have other strategies.
Plan Mutated(Plan plan, bool qk_norm, Random& random);

// Everything that a Decoder computes under the plan, alone.
Outputs Alone(const Weights& weights, const Plan& plan,
              const std::vector<int32_t>& tokens);

// 100 streams over three sequences, in families of plans that differ in a few
// cells; every third begins at a layer's input that another plan left.
class Family {
 public:
  explicit Family(const Weights& weights);

  std::vector<Stream> Streams() const;

  // What stream i must be shown.
  Outputs Expected(size_t i, bool scores) const;

  size_t size() const { return members_.size(); }

 private:
  struct Member {
    Plan plan{1}, before{1};
    size_t prompt = 0;
    size_t first_layer = 0;  // 0: from its tokens
    StreamState start;
  };
  const Weights& weights_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<Member> members_;
};

void ExpectSame(const Outputs& got, const Outputs& expected);

}  // namespace ulpscope

#endif  // TESTS_MODEL_LOCKSTEP_RANDOM_STREAMS_H_
