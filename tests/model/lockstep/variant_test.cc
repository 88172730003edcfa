#include "model/architecture/variant.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "tests/kernels/ops/bits.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/decoder/kept_outputs.h"
#include "tests/model/lockstep/variant_runs.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr const char* kUntied = "tests/testdata/reference/qwen3_untied";

struct Case {
  std::string name;
  Variant variant;
  Op first;  // whose output is another
  // Of models with QK-norm, with biases, or all.
  enum { kAll, kNormed, kBiased } of = kAll;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, Op first) -> Variant& {
    cases.push_back({name, {}, first});
    return cases.back().variant;
  };
  add("neighbours", Op::kRope).rope_pairs = RopePairs::kNeighbours;
  add("theta", Op::kRope).rope_theta = 1e4;
  add("bf16_frequencies", Op::kRope).rope_rounding =
      RopeRounding::kFrequenciesBF16;
  add("bf16_angles", Op::kRope).rope_rounding = RopeRounding::kAnglesBF16;
  add("bf16_cosines", Op::kRope).rope_rounding = RopeRounding::kCosinesBF16;
  add("q_late", Op::kRope).q_position_offset = 1;
  add("k_early", Op::kRope).k_position_offset = -1;
  {
    Variant& variant = add("both_late_of_neighbours", Op::kRope);
    variant.rope_pairs = RopePairs::kNeighbours;
    variant.q_position_offset = variant.k_position_offset = 2;
  }
  add("eps", Op::kInputNorm).norm_eps = 1e-3;
  add("no_eps", Op::kInputNorm).norm_eps = 0;
  add("plus_one", Op::kInputNorm).norm_weight_plus_one = true;
  add("no_qk_norm", Op::kQNorm).qk_norm = QkNorm::kMissing;
  cases.back().of = Case::kNormed;
  add("qk_norm_after_rope", Op::kQNorm).qk_norm = QkNorm::kAfterRope;
  cases.back().of = Case::kNormed;
  add("no_bias", Op::kQProj).without_bias = {Op::kQProj, Op::kKProj,
                                             Op::kVProj};
  cases.back().of = Case::kBiased;
  add("no_k_bias", Op::kKProj).without_bias = {Op::kKProj};
  cases.back().of = Case::kBiased;
  add("v_scaled", Op::kVProj).scales = {{Op::kVProj, 1.25, true}};
  add("k_weights_scaled", Op::kKProj).scales = {{Op::kKProj, 0.75, false}};
  add("scaled_mlp", Op::kGateProj).scales = {{Op::kGateProj, 2, false},
                                             {Op::kDownProj, 3, false}};
  {
    Variant& variant = add("stands_still", Op::kRope);
    variant.q_positions = variant.k_positions = {4, 3, 0};
  }
  {
    Variant& variant = add("jumps", Op::kRope);
    variant.k_positions = {2, 9, 1};
    variant.q_position_offset = 1;
  }
  add("unmasked_rows", Op::kSoftmax).mask.unmasked_rows = 4;
  {
    Variant& variant = add("chunk", Op::kSoftmax);
    variant.mask.first_key = variant.mask.from_row = 3;
  }
  {
    Variant& variant = add("hidden_keys", Op::kSoftmax);
    variant.mask.first_key = 2;
    variant.mask.from_row = 4;
  }
  {
    Variant& variant = add("hidden_keys_uniform", Op::kSoftmax);
    variant.mask.first_key = 2;
    variant.mask.unseeing = Unseeing::kUniform;
  }
  add("logits_scaled", Op::kLmHead).logits_scale = 0.5;
  add("logits_capped", Op::kLmHead).logits_cap = 2;
  {
    Variant& variant = add("log_softmax_of_scaled", Op::kLmHead);
    variant.log_softmax = true;
    variant.logits_scale = 1.5;
  }
  add("tiled", Op::kQk).kv_heads = KvHeads::kTiled;
  add("scale", Op::kQk).attention_scale = 0.125;
  add("not_causal", Op::kQk).causal = false;
  {
    Variant& variant = add("tiled_not_causal", Op::kQk);
    variant.kv_heads = KvHeads::kTiled;
    variant.causal = false;
  }
  add("f16_softmax", Op::kSoftmax).softmax = SoftmaxForm::kF16WithoutMax;
  add("gelu", Op::kSwiGlu).activation = Activation::kGelu;
  add("gelu_tanh", Op::kSwiGlu).activation = Activation::kGeluTanh;
  add("swapped", Op::kSwiGlu).gate_and_up_swapped = true;
  {
    Variant& variant = add("swapped_gelu", Op::kSwiGlu);
    variant.gate_and_up_swapped = true;
    variant.activation = Activation::kGelu;
  }
  {
    // Of the second layer alone, and something else in all.
    Variant& variant = add("in_one_layer", Op::kVProj);
    variant.scales = {{Op::kVProj, 1.25, true}};
    variant.logits_scale = 2;
    Variant other = variant;
    other.activation = Activation::kGelu;
    variant.layers.assign(LoadedOnce("synthetic:tiny").layers.size(), variant);
    variant.layers[1] = other;
  }
  add("no_final_norm", Op::kFinalNorm).without_final_norm = true;
  return cases;
}

class VariantTest
    : public testing::TestWithParam<std::tuple<std::string, Case>> {};

TEST_P(VariantTest, OracleIsTheTextbook) {
  const auto& [model, variant_case] = GetParam();
  const Weights& weights = LoadedOnce(model);
  const ByOp expected = Textbook(weights, variant_case.variant);
  const double tolerance = Tolerance(weights, expected);
  const KeptOutputs kept =
      RunAll(weights, {StreamOf(weights, "oracle", variant_case.variant)});
  ExpectTextbook(Kept(kept, 0), expected, tolerance);
  // And the textbook tells the variant from the model.
  const ByOp model_itself = Textbook(weights, {});
  const size_t layer = IsPerLayer(variant_case.first) ? 1 : 0;
  const std::pair<size_t, Op> first = {layer, variant_case.first};
  if (expected.count(first) == 0) return;  // qk_norm is missing
  EXPECT_GT(Difference(expected.at(first), model_itself.at(first)),
            1000 * tolerance * Norm(expected.at(first)));
}

// Before the op that differs a variant's outputs are the model's, computed and
// shown once; the op's own is not.
TEST_P(VariantTest, SharesWhatComesBeforeItDiffers) {
  const auto& [model, variant_case] = GetParam();
  const Weights& weights = LoadedOnce(model);
  const KeptOutputs kept =
      RunAll(weights, {StreamOf(weights, "f32", {}),
                       StreamOf(weights, "f32", variant_case.variant)});
  // The final norm runs after all layers.
  const auto order = [&](size_t layer, Op op) {
    const bool head = op == Op::kFinalNorm || op == Op::kLmHead;
    return std::make_pair(head ? weights.layers.size() + 1 : layer, op);
  };
  // Scores are shown to those together that share all of attention.
  const Op first =
      variant_case.first == Op::kSoftmax ? Op::kQk : variant_case.first;
  const auto differs = order(IsPerLayer(first) ? 1 : 0, first);
  size_t before = 0;
  for (const auto& [key, output] : kept.outputs[1]) {
    const auto& [layer, op, position] = key;
    const auto at = order(layer, op);
    if (at < differs) {
      EXPECT_EQ(output.shown_with.size(), 2u) << layer << " " << OpName(op);
      ++before;
    } else if (at == differs && op != Op::kQk) {
      EXPECT_EQ(output.shown_with.size(), 1u) << layer << " " << OpName(op);
    }
  }
  EXPECT_GT(before, 0u);
}

// Where all ops go on with the model's outputs, those ops alone compute others
// that some part of the variant is for.
TEST_P(VariantTest, ChangesTheOpsThatItsPartsAreFor) {
  const auto& [model, variant_case] = GetParam();
  const Weights& weights = LoadedOnce(model);
  const KeptOutputs kept = RunAll(weights, {StreamOf(weights, "f32", {})});
  const Given given = GivenOf(kept, 0);
  Stream stream = StreamOf(weights, "f32", variant_case.variant);
  stream.given = &given;
  const KeptOutputs replayed = RunAll(weights, {stream});
  std::vector<Op> differ;
  for (const auto& [key, output] : replayed.outputs[0]) {
    const auto& [layer, op, position] = key;
    if (HasBits<double>(output.values, kept.outputs[0].at(key).values)) {
      continue;
    }
    differ.push_back(op);
    EXPECT_NE(variant_case.variant.In(layer).PartOf(op), Variant())
        << layer << " " << OpName(op);
  }
  EXPECT_THAT(differ, testing::Contains(variant_case.first));
}

std::vector<std::tuple<std::string, Case>> ModelsAndCases() {
  std::vector<std::tuple<std::string, Case>> all;
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const bool normed = LoadedOnce(model).config.qk_norm;
    for (const Case& variant_case : Cases()) {
      if (variant_case.of == Case::kNormed && !normed) continue;
      if (variant_case.of == Case::kBiased && normed) continue;
      all.emplace_back(model, variant_case);
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, VariantTest, testing::ValuesIn(ModelsAndCases()),
                         [](const auto& test) {
                           const bool normed =
                               std::get<0>(test.param).back() == '3';
                           return absl::StrCat(normed ? "qwen3_" : "qwen2_",
                                               std::get<1>(test.param).name);
                         });

TEST(VariantDefaultTest, TextbookIsTheModel) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const ByOp expected = Textbook(weights, {});
    const KeptOutputs kept = RunAll(weights, {StreamOf(weights, "oracle", {})});
    ExpectTextbook(Kept(kept, 0), expected, Tolerance(weights, expected));
  }
}

// Formats of the KV cache, of the model and where k_norm comes after RoPE.
TEST(VariantDefaultTest, TextbookIsTheModelOfEveryStoredFormat) {
  Variant after_rope;
  after_rope.qk_norm = QkNorm::kAfterRope;
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const ByOp exact = Textbook(weights, {});
    for (const char* kv :
         {"f32", "f64", "bf16", "f16", "fp8", "int8", "q8_0", "q4_0"}) {
      SCOPED_TRACE(kv);
      for (const Variant& variant : {Variant(), after_rope}) {
        if (!weights.config.qk_norm && !(variant == Variant())) continue;
        const ByOp expected = Textbook(weights, variant, kv);
        const double tolerance = Tolerance(weights, expected);
        const KeptOutputs kept = RunAll(
            weights, {StreamOf(weights, absl::StrCat("oracle,kv=", kv).c_str(),
                               variant)});
        ExpectTextbook(Kept(kept, 0), expected, tolerance);
        if (kv[0] == 'f' && kv[1] != 'p' && kv[1] != '1') continue;
        const std::pair<size_t, Op> first = {1, Op::kKvK};
        EXPECT_GT(Difference(expected.at(first), exact.at(first)),
                  1000 * tolerance * Norm(expected.at(first)));
      }
    }
  }
}

// Streams of one family all at once have the bits that each has alone.
TEST(VariantLockstepTest, HasTheBitsOfEachAlone) {
  const Weights& weights = LoadedOnce("synthetic:tiny-qwen3");
  std::vector<Stream> streams;
  for (const char* plan : {"f32", "torch-bf16", "kv_k=q8_0,kv_v=f16"}) {
    streams.push_back(StreamOf(weights, plan, {}));
    for (const Case& variant_case : Cases()) {
      streams.push_back(StreamOf(weights, plan, variant_case.variant));
    }
  }
  const KeptOutputs together = RunAll(weights, streams);
  for (size_t s = 0; s < streams.size(); ++s) {
    const KeptOutputs alone = RunAll(weights, {streams[s]});
    ASSERT_EQ(together.outputs[s].size(), alone.outputs[0].size());
    for (const auto& [key, output] : alone.outputs[0]) {
      EXPECT_TRUE(
          HasBits<double>(together.outputs[s].at(key).values, output.values))
          << "stream " << s << " layer " << std::get<0>(key) << " "
          << OpName(std::get<1>(key));
    }
  }
}

TEST(VariantHeadTest, EmbeddingThoughTheConfigSaysOtherwise) {
  const Weights& weights = LoadedOnce(kUntied);
  Variant variant;
  variant.head_is_embedding = true;
  const ByOp expected = Textbook(weights, variant);
  const double tolerance = Tolerance(weights, expected);
  const KeptOutputs kept = RunAll(
      weights,
      {StreamOf(weights, "oracle", variant), StreamOf(weights, "oracle", {})});
  ExpectTextbook(Kept(kept, 0), expected, tolerance);
  EXPECT_EQ(kept.Get(0, 0, Op::kFinalNorm).shown_with.size(), 2u);
  const std::vector<double>& logits = kept.Get(0, 0, Op::kLmHead).values;
  EXPECT_GT(Difference(logits, kept.Get(1, 0, Op::kLmHead).values),
            1000 * tolerance * Norm(logits));
}

absl::Status StatusOf(const Weights& weights, const Variant& variant) {
  KeptOutputs kept(1);
  Parallel parallel;
  return RunLockstep(weights, {StreamOf(weights, "f32", variant)}, {}, kept,
                     parallel);
}

TEST(VariantErrorTest, NumbersThatAreNoneAreRefused) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const auto refused = [](const char* what) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what));
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double theta : {-1.0, nan, 1 / 0.0}) {
    Variant variant;
    variant.rope_theta = theta;
    EXPECT_THAT(StatusOf(weights, variant), refused("rope_theta"));
  }
  Variant eps, scale;
  eps.norm_eps = nan;
  EXPECT_THAT(StatusOf(weights, eps), refused("norm_eps"));
  Variant rows, layers;
  rows.k_rows = {0, 0};
  EXPECT_THAT(StatusOf(weights, rows), refused("k_rows"));
  layers.layers.resize(weights.layers.size() + 1);
  EXPECT_THAT(StatusOf(weights, layers), refused("layers"));
  layers.layers.assign(weights.layers.size(), eps);
  EXPECT_THAT(StatusOf(weights, layers), refused("norm_eps"));
  scale.attention_scale = nan;
  EXPECT_THAT(StatusOf(weights, scale), refused("attention_scale"));
}

TEST(VariantPartTest, IsItsOwnPart) {
  for (const Case& variant_case : Cases()) {
    for (size_t i = 0; i < kNumOps; ++i) {
      const Variant part = variant_case.variant.PartOf(OpAt(i));
      EXPECT_EQ(part.PartOf(OpAt(i)), part) << OpName(OpAt(i));
    }
  }
}

TEST(VariantPartTest, AttentionIsComputedTogether) {
  for (const Case& variant_case : Cases()) {
    const Variant& variant = variant_case.variant;
    EXPECT_EQ(variant.PartOf(Op::kQk), variant.PartOf(Op::kAv));
    EXPECT_EQ(variant.PartOf(Op::kSoftmax), variant.PartOf(Op::kAv));
  }
}

TEST(VariantLockstepTest, WeightBeforeTheCastIsTheSameWhereThereIsNone) {
  const Weights& weights = LoadedOnce("synthetic:tiny-qwen3");
  Variant variant;
  variant.norm_weight_before_cast = true;
  for (const char* plan : {"f32", "oracle", "rmsnorm=f64"}) {
    const KeptOutputs kept =
        RunAll(weights,
               {StreamOf(weights, plan, {}), StreamOf(weights, plan, variant)});
    for (const auto& [key, output] : kept.outputs[0]) {
      EXPECT_EQ(output.shown_with.size(), 2u) << OpName(std::get<1>(key));
    }
  }
  const KeptOutputs bf16 =
      RunAll(weights, {StreamOf(weights, "torch-bf16", {}),
                       StreamOf(weights, "torch-bf16", variant)});
  for (const Op op : {Op::kInputNorm, Op::kQNorm}) {
    EXPECT_EQ(bf16.Get(0, 1, op).shown_with.size(), 1u) << OpName(op);
  }
}

}  // namespace
}  // namespace ulpscope
