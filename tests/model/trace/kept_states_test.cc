#include "model/trace/kept_states.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

std::vector<double> Values(Matrix<const double> m) {
  std::vector<double> values;
  for (size_t r = 0; r < m.rows; ++r) {
    values.insert(values.end(), m.Row(r), m.Row(r) + m.cols);
  }
  return values;
}

class KeptStatesTest : public testing::Test {
 protected:
  KeptStatesTest() : trace_(Config()) {}

  static ModelConfig Config() {
    ModelConfig config;
    config.hidden_size = 2;
    config.vocab_size = 3;
    config.num_hidden_layers = 2;
    return config;
  }

  void See(size_t layer, Op op, const std::vector<double>& values,
           size_t cols = 2) {
    trace_.OnOutput(layer, op, 0, {values.data(), values.size() / cols, cols});
  }

  KeptStates trace_;
};

TEST_F(KeptStatesTest, KeepsTheStreamTheFinalNormAndTheLogits) {
  See(0, Op::kEmbed, {1, 2, 3, 4});
  See(1, Op::kAttnResidual, {9, 9, 9, 9});
  See(1, Op::kMlpResidual, {5, 6, 7, 8});
  See(2, Op::kMlpResidual, {-1, -2, -3, -4});
  See(0, Op::kFinalNorm, {0.5, 0.25, 0.125, 0.75});
  See(0, Op::kLmHead, {1, 2, 3}, 3);  // of the last position only
  EXPECT_EQ(trace_.positions(), 2u);
  EXPECT_EQ(trace_.num_layers(), 2u);
  EXPECT_EQ(Values(trace_.State(0)), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(Values(trace_.State(1)), (std::vector<double>{5, 6, 7, 8}));
  EXPECT_EQ(Values(trace_.State(2)), (std::vector<double>{-1, -2, -3, -4}));
  EXPECT_EQ(Values(trace_.FinalNorm()),
            (std::vector<double>{0.5, 0.25, 0.125, 0.75}));
  EXPECT_EQ(trace_.Logits().rows, 1u);
  EXPECT_EQ(Values(trace_.Logits()), (std::vector<double>{1, 2, 3}));
}

TEST_F(KeptStatesTest, CancellationIsTheOperandsNormsOverTheSums) {
  See(0, Op::kEmbed, {3, 4});         // norm 5
  See(1, Op::kOProj, {0, -4});        // norm 4
  See(1, Op::kAttnResidual, {3, 0});  // (5 + 4) / 3
  See(1, Op::kDownProj, {5, 0});      // in the same direction
  See(1, Op::kMlpResidual, {8, 0});   // (3 + 5) / 8
  See(2, Op::kOProj, {-6, 8});        // norm 10
  See(2, Op::kAttnResidual, {2, 8});  // what counts is what is seen
  See(2, Op::kDownProj, {-2, -8});
  See(2, Op::kMlpResidual, {0, 1});
  EXPECT_EQ(trace_.CancellationAt(1).attn, 3);
  EXPECT_EQ(trace_.CancellationAt(1).mlp, 1);
  EXPECT_DOUBLE_EQ(trace_.CancellationAt(2).attn, 18 / std::sqrt(68));
  EXPECT_DOUBLE_EQ(trace_.CancellationAt(2).mlp, 2 * std::sqrt(68));
}

TEST_F(KeptStatesTest, RowsApartAreCopiedTogether) {
  const std::vector<double> padded = {1, 2, -1, 3, 4, -1};
  trace_.OnOutput(0, Op::kEmbed, 0, {padded.data(), 2, 2, 3});
  EXPECT_EQ(Values(trace_.State(0)), (std::vector<double>{1, 2, 3, 4}));
}

// What every op put out last.
class Recorder : public Observer {
 public:
  void OnOutput(size_t layer, Op op, size_t /*first_position*/,
                Matrix<const double> rows) override {
    seen[{layer, op}] = Values(rows);
  }
  std::map<std::pair<size_t, Op>, std::vector<double>> seen;
};

// Shows a trace only what it keeps.
class Kept : public Observer {
 public:
  explicit Kept(const ModelConfig& config) : trace(config) {}
  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    if (KeptStates::Keeps(op)) trace.OnOutput(layer, op, first_position, rows);
  }
  KeptStates trace;
};

TEST(TraceOfDecoderTest, HoldsWhatTheDecoderPutsOut) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t num_layers = weights.layers.size();
  const std::vector<int32_t> tokens = {97, 4, 5};

  Decoder decoder(weights, Plan(num_layers), tokens.size(), parallel);
  KeptStates trace(weights.config);
  ASSERT_THAT(decoder.Forward(tokens, Logits::kAll, &trace), IsOk());
  EXPECT_EQ(Values(trace.Logits()), Values(decoder.logits()));

  // What it does not look at makes no difference.
  decoder.Reset();
  Kept kept(weights.config);
  ASSERT_THAT(decoder.Forward(tokens, Logits::kAll, &kept), IsOk());
  EXPECT_EQ(Values(kept.trace.State(num_layers)),
            Values(trace.State(num_layers)));
  EXPECT_EQ(kept.trace.CancellationAt(num_layers).attn,
            trace.CancellationAt(num_layers).attn);
  EXPECT_EQ(kept.trace.CancellationAt(num_layers).mlp,
            trace.CancellationAt(num_layers).mlp);
  EXPECT_EQ(Values(kept.trace.FinalNorm()), Values(trace.FinalNorm()));
  EXPECT_EQ(Values(kept.trace.Logits()), Values(trace.Logits()));

  decoder.Reset();
  Recorder recorder;
  ASSERT_THAT(decoder.Forward(tokens, Logits::kAll, &recorder), IsOk());
  ASSERT_EQ(trace.num_layers(), num_layers);
  EXPECT_EQ(trace.positions(), tokens.size());
  EXPECT_EQ(Values(trace.State(0)), (recorder.seen[{0, Op::kEmbed}]));
  EXPECT_EQ(Values(trace.FinalNorm()), (recorder.seen[{0, Op::kFinalNorm}]));
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    EXPECT_EQ(Values(trace.State(layer)),
              (recorder.seen[{layer, Op::kMlpResidual}]));
    // Norms fulfil the triangle inequality, up to f32's rounding of the sum.
    EXPECT_GE(trace.CancellationAt(layer).attn, 1 - 0x1p-23);
    EXPECT_GE(trace.CancellationAt(layer).mlp, 1 - 0x1p-23);
  }
}

}  // namespace
}  // namespace ulpscope
