// The pipeline against transformers in float64, which nobody here wrote
// (tools/make_reference_fixtures.py).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"
#include "tests/model/checkpoint/reference_fixture.h"

namespace ulpscope {
namespace {

// The module of a layer whose output an op is; empty where there is none.
std::string ModuleOf(Op op) {
  switch (op) {
    case Op::kInputNorm:
      return "input_layernorm";
    case Op::kQProj:
      return "self_attn.q_proj";
    case Op::kKProj:
      return "self_attn.k_proj";
    case Op::kVProj:
      return "self_attn.v_proj";
    case Op::kQNorm:
      return "self_attn.q_norm";
    case Op::kKNorm:
      return "self_attn.k_norm";
    case Op::kAv:
      return "self_attn.o_proj.input";
    case Op::kOProj:
      return "self_attn.o_proj";
    case Op::kAttnResidual:
      return "post_attention_layernorm.input";
    case Op::kPostNorm:
      return "post_attention_layernorm";
    case Op::kGateProj:
      return "mlp.gate_proj";
    case Op::kUpProj:
      return "mlp.up_proj";
    case Op::kSwiGlu:
      return "mlp.down_proj.input";
    case Op::kDownProj:
      return "mlp.down_proj";
    default:
      return "";
  }
}

// Keeps every op's output under the name that the fixture gives it.
class NamedOutputs : public Observer {
 public:
  void OnOutput(size_t layer, Op op, size_t /*first_position*/,
                Matrix<const double> rows) override {
    std::vector<double> values;
    for (size_t r = 0; r < rows.rows; ++r) {
      values.insert(values.end(), rows.Row(r), rows.Row(r) + rows.cols);
    }
    if (op == Op::kEmbed) arrays["hidden_states.0"] = values;
    if (op == Op::kFinalNorm) arrays["final_norm"] = values;
    if (op == Op::kLmHead) arrays["logits"] = values;
    if (op == Op::kMlpResidual) {
      arrays[absl::StrCat("hidden_states.", layer)] = values;
    }
    const std::string module = ModuleOf(op);
    if (!module.empty()) {
      arrays[absl::StrCat("model.layers.", layer - 1, ".", module)] = values;
    }
    // transformers has heads before positions; here a position has all heads.
    if (op == Op::kSoftmax) probabilities[layer].push_back(values);
  }

  std::map<std::string, std::vector<double>> arrays;
  // [layer][position]: heads x (position + 1).
  std::map<size_t, std::vector<std::vector<double>>> probabilities;
};

class GroundTruthTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto fixture = LoadReferenceFixture(GetParam());
    ASSERT_THAT(fixture, absl_testing::IsOk());
    fixture_ = *std::move(fixture);
    const auto checkpoint = OpenCheckpoint(fixture_.folder);
    ASSERT_THAT(checkpoint, absl_testing::IsOk());
    auto weights = LoadWeights(*checkpoint, parallel_, [](size_t, size_t) {});
    ASSERT_THAT(weights, absl_testing::IsOk());
    weights_ = *std::move(weights);
  }

  NamedOutputs Run(const std::string& plan_text) {
    NamedOutputs outputs;
    const auto plan = Plan::Parse(plan_text, weights_.layers.size());
    EXPECT_THAT(plan, absl_testing::IsOk());
    const std::vector<int32_t> tokens(fixture_.tokens.begin(),
                                      fixture_.tokens.end());
    Decoder decoder(weights_, *plan, tokens.size(), parallel_);
    EXPECT_THAT(decoder.Forward(tokens, Logits::kAll, &outputs),
                absl_testing::IsOk());
    return outputs;
  }

  // |ours - theirs| / |theirs|, in 2-norms.
  double RelativeError(const std::vector<double>& ours,
                       const ReferenceArray& theirs) {
    EXPECT_EQ(ours.size(), theirs.values.size());
    double error = 0, size = 0;
    for (size_t i = 0; i < std::min(ours.size(), theirs.values.size()); ++i) {
      error += (ours[i] - theirs.values[i]) * (ours[i] - theirs.values[i]);
      size += theirs.values[i] * theirs.values[i];
    }
    return std::sqrt(error / size);
  }

  Parallel parallel_{2};
  ReferenceFixture fixture_;
  Weights weights_;
};

TEST_P(GroundTruthTest, OracleIsTransformersInFloat64) {
  const NamedOutputs outputs = Run("oracle");
  size_t compared = 0;
  for (const auto& [name, theirs] : fixture_.arrays) {
    const auto ours = outputs.arrays.find(name);
    if (ours == outputs.arrays.end()) continue;
    EXPECT_LE(RelativeError(ours->second, theirs), 1e-10) << name;
    ++compared;
  }
  // Every hidden state, the final norm and the logits, and every op output
  // that the fixture has, but for the probabilities, which come next.
  size_t expected = fixture_.arrays.size();
  for (const auto& [name, theirs] : fixture_.arrays) {
    if (name.find("attention_weights") != std::string::npos) --expected;
  }
  EXPECT_EQ(compared, expected);
  EXPECT_GE(compared, weights_.layers.size() + 3);
}

TEST_P(GroundTruthTest, AttentionIsTransformersInFloat64) {
  const NamedOutputs outputs = Run("oracle");
  const size_t positions = fixture_.tokens.size();
  for (const auto& [layer, rows] : outputs.probabilities) {
    const auto theirs = fixture_.arrays.find(absl::StrCat(
        "model.layers.", layer - 1, ".self_attn.attention_weights"));
    if (theirs == fixture_.arrays.end()) continue;
    const size_t heads = rows[0].size();
    for (size_t h = 0; h < heads; ++h) {
      for (size_t p = 0; p < positions; ++p) {
        for (size_t j = 0; j <= p; ++j) {
          const double expected =
              theirs->second.values[(h * positions + p) * positions + j];
          EXPECT_NEAR(rows[p][h * (p + 1) + j], expected, 1e-10 * expected)
              << "layer " << layer << " head " << h << " position " << p;
        }
      }
    }
  }
}

// Roundings on the longest path through one layer: every sum's length, and a
// rounding for each of the other operations on the way.
double RoundingsPerLayer(const ModelConfig& c, size_t positions) {
  constexpr int64_t kElementwise = 32;
  return static_cast<double>(
      3 * c.hidden_size +                    // two norms, and q, k and v
      2 * c.head_dim +                       // q and k norms, scores
      2 * static_cast<int64_t>(positions) +  // softmax, values
      c.q_size() +                           // o
      c.hidden_size +                        // gate and up
      c.intermediate_size +                  // down
      kElementwise);
}

TEST_P(GroundTruthTest, F32StaysWithinItsRoundings) {
  const NamedOutputs outputs = Run("f32");
  const double per_layer =
      RoundingsPerLayer(weights_.config, fixture_.tokens.size());
  const double u = UnitRoundoff(Format::kF32);
  for (size_t layer = 1; layer <= weights_.layers.size(); ++layer) {
    const std::string name = absl::StrCat("hidden_states.", layer);
    const double error =
        RelativeError(outputs.arrays.at(name), fixture_.arrays.at(name));
    EXPECT_LE(error, Gamma(per_layer * static_cast<double>(layer), u)) << name;
    EXPECT_GE(error, u / 64) << name << " is too good for f32";
  }
  const double all = per_layer * static_cast<double>(weights_.layers.size()) +
                     2 * static_cast<double>(weights_.config.hidden_size);
  EXPECT_LE(
      RelativeError(outputs.arrays.at("logits"), fixture_.arrays.at("logits")),
      Gamma(all, u));
}

// What keeps the bound above honest: 16 bits break it, f16 by an eighth of what
// bf16 does.
TEST_P(GroundTruthTest, SixteenBitsBreakTheBoundOfF32) {
  const double all =
      RoundingsPerLayer(weights_.config, fixture_.tokens.size()) *
      static_cast<double>(weights_.layers.size());
  const std::string name =
      absl::StrCat("hidden_states.", weights_.layers.size());
  const auto error_of = [&](const char* preset) {
    return RelativeError(Run(preset).arrays.at(name), fixture_.arrays.at(name));
  };
  const double f16 = error_of("torch-f16");
  const double bf16 = error_of("torch-bf16");
  EXPECT_GT(f16, Gamma(all, UnitRoundoff(Format::kF32)));
  // The errors are as random as the roundings: within a factor of 2 of it.
  EXPECT_GT(bf16, 4 * f16);
  EXPECT_LT(bf16, 0.1);
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, GroundTruthTest,
    testing::Values("qwen3_untied", "qwen3_tied", "qwen3_bias", "qwen3_bf16",
                    "qwen3_sharded", "qwen2", "llama", "qwen2_yarn",
                    "qwen3_own_head", "qwen3_prefixed", "llama_fused",
                    "qwen3_fp8"),
    [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace ulpscope
