#include "explorer/phenomena/phenomena.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/error/metrics.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/report/phenomena_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/error.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"
#include "model/synthetic/synthetic.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/explorer/phenomena/found_phenomena.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Prompts of `tiny`. The second token of the short one is planted, and so is
// the long one's first; it takes three calls of the decoder.
const std::vector<int32_t>& ShortPrompt() {
  static const auto& tokens = *new std::vector<int32_t>{4, 97, 5};
  return tokens;
}
std::vector<int32_t> LongPrompt() {
  std::vector<int32_t> tokens = {97};
  for (int32_t t = 1; t < 20; ++t) tokens.push_back(t);
  return tokens;
}

class PhenomenaTest : public testing::Test {
 protected:
  void SetUp() override { Load("synthetic:tiny"); }

  void Load(absl::string_view name) {
    weights_ = LoadedWeights(std::string(name), parallel_);
  }

  Plan PlanOf(absl::string_view text) const {
    return Plan::Parse(text, weights_.layers.size()).value();
  }

  absl::StatusOr<Phenomena> Find(absl::string_view plan,
                                 const std::vector<int32_t>& tokens) {
    return FindPhenomena(RunOf(weights_, parallel_), PlanOf(plan), tokens);
  }

  // Of the whole prompt in one call, for what must agree with it.
  KeptStates TraceOf(absl::string_view plan,
                     const std::vector<int32_t>& tokens) {
    Decoder decoder(weights_, PlanOf(plan), tokens.size(), parallel_);
    KeptStates trace(weights_.config);
    EXPECT_THAT(decoder.Forward(tokens, Logits::kAll, &trace), IsOk());
    return trace;
  }

  Parallel parallel_;
  Weights weights_;
};

TEST_F(PhenomenaTest, FindsThePlantedMassiveActivation) {
  const MassiveActivation planted = SyntheticMassiveActivation("tiny").value();
  const auto found = Find("f32", {97});
  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->massive.size(), 1u);
  const MassiveChannel& m = found->massive[0];
  EXPECT_EQ(m.channel, static_cast<size_t>(planted.massive_channel));
  EXPECT_EQ(m.position, 0u);
  EXPECT_EQ(m.born, static_cast<size_t>(planted.birth_layer) + 1);
  EXPECT_EQ(m.born_op, Op::kMlpResidual);
  EXPECT_EQ(m.removed, static_cast<size_t>(planted.removal_layer) + 1);
  EXPECT_EQ(m.removed_op, Op::kMlpResidual);
  EXPECT_EQ(m.value_layer, m.removed - 1);
  const KeptStates oracle = TraceOf("oracle", {97});
  EXPECT_EQ(m.value, oracle.State(m.value_layer).Row(0)[m.channel]);
  EXPECT_EQ(m.left, oracle.State(m.removed).Row(0)[m.channel]);
}

TEST_F(PhenomenaTest, MassiveChannelIsAtThePlantedTokensPosition) {
  const auto found = Find("f32", {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 97});
  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->massive.size(), 1u);
  EXPECT_EQ(found->massive[0].position, 10u);
  ASSERT_THAT(Find("f32", {4, 5}), IsOk());
  EXPECT_TRUE(Find("f32", {4, 5})->massive.empty());
}

// Both add up the same elements in the same order.
TEST_F(PhenomenaTest, CancellationsAreTheTraces) {
  const auto found = Find("bf16", LongPrompt());
  ASSERT_THAT(found, IsOk());
  const KeptStates oracle = TraceOf("oracle", LongPrompt());
  const auto std_after = [&oracle](size_t layer) {
    return MetricsOfReference(layer, oracle.State(layer), {}).std;
  };
  ASSERT_EQ(found->cancellations.size(), 2 * oracle.num_layers());
  for (size_t layer = 1; layer <= oracle.num_layers(); ++layer) {
    const CancellingAdd& attn = found->cancellations[2 * layer - 2];
    const CancellingAdd& mlp = found->cancellations[2 * layer - 1];
    EXPECT_EQ(attn.layer, layer);
    EXPECT_EQ(mlp.layer, layer);
    EXPECT_EQ(attn.op, Op::kAttnResidual);
    EXPECT_EQ(mlp.op, Op::kMlpResidual);
    EXPECT_EQ(attn.ratio, oracle.CancellationAt(layer).attn);
    EXPECT_EQ(mlp.ratio, oracle.CancellationAt(layer).mlp);
    EXPECT_EQ(mlp.std_before, attn.std_after);
    EXPECT_EQ(mlp.std_after, std_after(layer));
    if (layer > 1) {
      EXPECT_EQ(attn.std_before, std_after(layer - 1));
    }
  }
}

// The sums have n terms in another order: each is within n 2^-53 of the sum of
// its terms' magnitudes.
TEST_F(PhenomenaTest, ErrorsAreThePlansAgainstTheOracles) {
  const auto found = Find("bf16", LongPrompt());
  ASSERT_THAT(found, IsOk());
  const KeptStates plan = TraceOf("bf16", LongPrompt());
  const KeptStates oracle = TraceOf("oracle", LongPrompt());
  ASSERT_EQ(found->biases.size(), oracle.num_layers() + 1);
  ASSERT_EQ(found->concentrations.size(), oracle.num_layers() + 1);
  for (size_t layer = 0; layer <= oracle.num_layers(); ++layer) {
    const ErrorMetrics error = Compare(plan.State(layer), oracle.State(layer));
    const Bias& b = found->biases[layer];
    const double tolerance =
        static_cast<double>(20 * oracle.State(layer).cols) * 0x1p-52;
    EXPECT_EQ(b.layer, layer);
    EXPECT_NEAR(b.mean, error.mean_signed, tolerance * error.mean_abs);
    EXPECT_NEAR(b.rms, error.rmse, tolerance * error.rmse);
    EXPECT_EQ(found->concentrations[layer].layer, layer);
    EXPECT_EQ(found->concentrations[layer].channels, oracle.State(layer).cols);
  }
}

// The stream rounded to bf16 once: what is massive is rounded to 4 or 2, the
// others to 2^-7 or less.
TEST_F(PhenomenaTest, RoundingTheStreamConcentratesTheErrorInTheChannel) {
  const auto found = Find("oracle,mlp_residual@4=bf16", {97});
  ASSERT_THAT(found, IsOk());
  const size_t massive = found->massive[0].channel;
  EXPECT_EQ(found->concentrations[3].top1, 0);  // no error yet
  EXPECT_EQ(found->concentrations[4].channel, massive);
  EXPECT_GT(found->concentrations[4].top1, 0.9);
  for (const Bias& b : found->biases) EXPECT_LT(std::fabs(b.z_signs), 5);
}

TEST_F(PhenomenaTest, TheOracleItselfHasNoError) {
  const auto found = Find("oracle", ShortPrompt());
  ASSERT_THAT(found, IsOk());
  for (size_t i = 0; i < found->biases.size(); ++i) {
    EXPECT_EQ(found->biases[i].rms, 0);
    EXPECT_EQ(found->biases[i].z_signs, 0);
    EXPECT_EQ(found->concentrations[i].top1, 0);
  }
  EXPECT_FALSE(found->reference_breakdown.has_value());
  EXPECT_FALSE(found->plan_breakdown.has_value());
}

TEST_F(PhenomenaTest, RangesAreOfAllOpsAsTheyRun) {
  const auto found = Find("bf16", ShortPrompt());
  ASSERT_THAT(found, IsOk());
  const KeptStates oracle = TraceOf("oracle", ShortPrompt());
  // embed, all but q_norm and k_norm in 8 layers, final_norm and lm_head.
  ASSERT_EQ(found->headrooms.size(), 1u + 8 * 18 + 2);
  EXPECT_EQ(found->headrooms[0].op, Op::kEmbed);
  EXPECT_EQ(found->headrooms.back().op, Op::kLmHead);
  for (size_t i = 1; i + 2 < found->headrooms.size(); ++i) {
    const Headroom& h = found->headrooms[i];
    EXPECT_EQ(h.layer, (i - 1) / 18 + 1);
    if (i > 1 && h.layer == found->headrooms[i - 1].layer) {
      EXPECT_LT(found->headrooms[i - 1].op, h.op);
    }
    if (h.op == Op::kSoftmax) {
      EXPECT_EQ(h.range.largest, 1);  // position 0 has one score
      EXPECT_EQ(h.range.nonzero, 4u * (1 + 2 + 3));
    }
    if (h.op != Op::kMlpResidual) continue;
    OutputRange state;
    state.Add(oracle.State(h.layer));
    EXPECT_EQ(h.range.largest, state.largest);
    EXPECT_EQ(h.range.smallest, state.smallest);
    EXPECT_EQ(h.range.nonzero, state.nonzero);
  }
  OutputRange logits;
  logits.Add(oracle.Logits());
  EXPECT_EQ(found->headrooms.back().range.largest, logits.largest);
  EXPECT_EQ(found->headrooms.back().range.nonzero, logits.nonzero);
}

TEST_F(PhenomenaTest, OnePositionsSoftmaxIsOfOneScore) {
  ASSERT_THAT(Find("f32", {4}), IsOk());
  EXPECT_TRUE(Find("f32", {4})->softmax_over_one());
  EXPECT_FALSE(Find("f32", {4, 4})->softmax_over_one());
}

TEST_F(PhenomenaTest, StoppedItHasNone) {
  TestMonitor second(1);
  const auto nothing = FindPhenomena(RunOf(weights_, parallel_, second),
                                     PlanOf("bf16"), LongPrompt());
  ASSERT_THAT(nothing, IsOk());
  EXPECT_EQ(nothing->positions, 0u);
  EXPECT_FALSE(nothing->softmax_over_one());
  EXPECT_TRUE(nothing->biases.empty());
}

TEST_F(PhenomenaTest, TokensMustBeThereAndInTheVocabulary) {
  EXPECT_THAT(Find("f32", {}), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("no tokens")));
  EXPECT_THAT(Find("f32", {1, 300}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("token 300 is not in the vocabulary")));
}

// A weight that f64 holds and f32 does not.
TEST_F(PhenomenaTest, ABreakdownOfThePlanShows) {
  weights_.layers[4].input_norm[3] = 1e60;
  const auto found = Find("f32", ShortPrompt());
  ASSERT_THAT(found, IsOk());
  EXPECT_FALSE(found->reference_breakdown.has_value());
  ASSERT_TRUE(found->plan_breakdown.has_value());
  EXPECT_EQ(found->plan_breakdown->layer, 5u);
  EXPECT_EQ(found->plan_breakdown->op, Op::kInputNorm);
  EXPECT_EQ(found->plan_breakdown->position, 0u);
  EXPECT_EQ(found->plan_breakdown->element, 3u);
  EXPECT_TRUE(std::isinf(found->plan_breakdown->value));
  for (size_t layer = 0; layer < found->biases.size(); ++layer) {
    const bool broken = layer >= 5;
    EXPECT_EQ(std::isnan(found->biases[layer].z), broken) << layer;
    EXPECT_EQ(std::isnan(found->biases[layer].z_signs), broken) << layer;
    EXPECT_EQ(std::isnan(found->concentrations[layer].top1), broken) << layer;
  }
  for (const CancellingAdd& add : found->cancellations) {
    EXPECT_TRUE(std::isfinite(add.ratio));
  }
}

// The trigger channel is 10^4 times larger for the planted token than for
// others, and hence only its score with itself is too large for f32. The sum
// behind it is 2e38, or a little less, in all heads but the second, where it is
// 7e38, of f32's 3.4e38.
TEST_F(PhenomenaTest, ABreakdownInTheScoresSaysOfWhichPosition) {
  const size_t trigger =
      static_cast<size_t>(SyntheticMassiveActivation("tiny")->trigger_channel);
  weights_.layers[0].input_norm[trigger] = 7e19;
  const auto found = Find("f32", {4, 5, 97});
  ASSERT_THAT(found, IsOk());
  EXPECT_FALSE(found->reference_breakdown.has_value());
  ASSERT_TRUE(found->plan_breakdown.has_value());
  EXPECT_EQ(found->plan_breakdown->layer, 1u);
  EXPECT_EQ(found->plan_breakdown->op, Op::kQk);
  EXPECT_EQ(found->plan_breakdown->position, 2u);
  EXPECT_EQ(found->plan_breakdown->element, 1u * 3 + 2);
}

TEST_F(PhenomenaTest, ABreakdownOfTheOracleShows) {
  weights_.layers[1].post_norm[7] = kNaN;
  const auto found = Find("f32", {97, 4});
  ASSERT_THAT(found, IsOk());
  ASSERT_TRUE(found->reference_breakdown.has_value());
  EXPECT_EQ(found->reference_breakdown->layer, 2u);
  EXPECT_EQ(found->reference_breakdown->op, Op::kPostNorm);
  EXPECT_EQ(found->reference_breakdown->element, 7u);
  EXPECT_TRUE(std::isnan(found->reference_breakdown->value));
  EXPECT_TRUE(found->massive.empty());
  EXPECT_TRUE(std::isfinite(found->cancellations[2].ratio));
  EXPECT_TRUE(std::isnan(found->cancellations[3].ratio));
  EXPECT_TRUE(std::isnan(found->headrooms.back().range.largest));
  EXPECT_TRUE(std::isnan(found->biases[2].z));
}

// The seed report's case (design.md): layer 3 makes a massive activation, the
// 22nd removes it.
TEST_F(PhenomenaTest, TellsTheSeedsStory) {
  Load("synthetic:seed");
  const auto found = Find("torch-bf16", {9707});
  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->massive.size(), 1u);
  const MassiveChannel& m = found->massive[0];
  EXPECT_EQ(m.channel, 62u);
  EXPECT_EQ(m.born, 3u);
  EXPECT_EQ(m.born_op, Op::kMlpResidual);
  EXPECT_EQ(m.value_layer, 21u);
  // Planted as 1666, to parts in 10^3 (model/synthetic/massive_activation.h).
  EXPECT_NEAR(m.value, 1666, 10);
  EXPECT_GT(m.ratio_to_median, 1000);  // Sun et al.'s own
  EXPECT_EQ(m.removed, 22u);
  EXPECT_EQ(m.removed_op, Op::kMlpResidual);

  const auto worst =
      std::max_element(found->cancellations.begin(), found->cancellations.end(),
                       [](const CancellingAdd& a, const CancellingAdd& b) {
                         return a.ratio < b.ratio;
                       });
  EXPECT_EQ(worst->layer, 22u);
  EXPECT_EQ(worst->op, Op::kMlpResidual);
  // 55.7 -> 1.9 in the report: 55.7 + 54.6 over 1.9.
  EXPECT_GT(worst->ratio, 50);
  for (const CancellingAdd& add : found->cancellations) {
    if (&add != &*worst) {
      EXPECT_LT(add.ratio, 2);
    }
  }
  EXPECT_LT(found->concentrations[2].top1, 0.1);
  EXPECT_EQ(found->concentrations[3].channel, 62u);
  EXPECT_GT(found->concentrations[3].top1, 0.9);
  EXPECT_GT(found->concentrations[22].top1, 0.9);
  for (const Bias& b : found->biases) {
    EXPECT_LT(std::fabs(b.z_signs), kNamedBias) << b.layer;
  }

  std::vector<std::string> kinds;
  for (const NamedPhenomenon& named : NamesOf(*found)) {
    if (kinds.empty() || kinds.back() != named.kind) {
      kinds.emplace_back(named.kind);
    }
  }
  EXPECT_EQ(kinds,
            (std::vector<std::string>{"softmax_over_one", "massive_channel",
                                      "concentration", "cancellation"}));
}

// The largest scores of a decoder's run, head by head.
class ScoreObserver : public Observer {
 public:
  void OnOutput(size_t layer, Op op, size_t position,
                Matrix<const double> rows) override {
    if (op != Op::kQk || position == 0) return;
    for (size_t h = 0; h < rows.rows; ++h) {
      double& most = largest[{layer, h}];
      for (size_t key = 0; key < rows.cols; ++key) {
        most = std::max(most, std::fabs(rows.Row(h)[key]));
      }
    }
  }

  std::map<std::pair<size_t, size_t>, double> largest;
};

TEST_F(PhenomenaTest, LargestScoresAreTheReferencesInThePlansFormat) {
  // The coarser of what qk writes and softmax reads, or, of fused attention, of
  // their accumulators.
  const auto found = Find(
      "oracle,qk@2=f32,qk@3=f16,softmax@4=bf16,qk@5=f64,attention@6=sdpa,"
      "qk@7=bf16,softmax@7=bf16,attention@7=fa2(64),qk@8=f64,attention@8=sdpa",
      ShortPrompt());
  ASSERT_THAT(found, IsOk());
  const Format formats[] = {Format::kF64,  Format::kF32, Format::kF16,
                            Format::kBF16, Format::kF32, Format::kF64,
                            Format::kF32,  Format::kF64};
  Decoder decoder(weights_, PlanOf("oracle"), ShortPrompt().size(), parallel_);
  ScoreObserver oracle;
  ASSERT_THAT(decoder.Forward(ShortPrompt(), Logits::kAll, &oracle), IsOk());
  ASSERT_EQ(found->large_scores.size(), oracle.largest.size());
  for (const LargeScore& s : found->large_scores) {
    const double largest = oracle.largest[{s.layer, s.head}];
    EXPECT_EQ(std::fabs(s.score), largest);
    EXPECT_EQ(s.format, formats[s.layer - 1]) << s.layer;
    EXPECT_EQ(s.spacing(), SpacingAt(s.format, s.score));
    EXPECT_GT(s.position, 0u);
    EXPECT_LE(s.key_position, s.position);
    EXPECT_GE(s.weight, 0);
    EXPECT_LE(s.weight, 1);
  }
  // A token alone has no weight that could be wrong.
  const auto alone = Find("bf16", {97});
  ASSERT_THAT(alone, IsOk());
  EXPECT_TRUE(alone->large_scores.empty());
}

// A checkpoint whose keys and queries have large biases, as Qwen2.5's: of a
// prompt's scores the largest grow with their product.
TEST_F(PhenomenaTest, BiasesOfQueriesAndKeysAreSeenInTheScores) {
  for (LayerWeights& layer : weights_.layers) {
    layer.q_bias.assign(layer.q_proj.view().n, 0);
    layer.k_bias.assign(layer.k_proj.view().n, 0);
  }
  LayerWeights& third = weights_.layers[2];
  third.q_bias.assign(third.q_bias.size(), 30);
  third.k_bias.assign(third.k_bias.size(), 30);
  const auto found = Find("bf16", ShortPrompt());
  ASSERT_THAT(found, IsOk());
  const double head_dim = static_cast<double>(weights_.config.head_dim);
  for (const LargeScore& s : found->large_scores) {
    if (s.layer != 3) {
      EXPECT_LT(std::fabs(s.score), 30 * 30);
      continue;
    }
    // Of the biases alone, where query and key have one position.
    EXPECT_NEAR(s.score, 30 * 30 * std::sqrt(head_dim),
                0.25 * 30 * 30 * std::sqrt(head_dim));
    EXPECT_GE(s.spacing().value(), 8);
    EXPECT_TRUE(IsNamed(s));
  }
}

}  // namespace
}  // namespace ulpscope
