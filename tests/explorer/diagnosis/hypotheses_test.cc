// The catalogue of a model, and hypotheses of some layers.

#include "explorer/diagnosis/hypotheses.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

using ::testing::Contains;
using ::testing::IsSupersetOf;
using ::testing::Not;

constexpr size_t kLayers = 4;

ModelConfig Config() {
  ModelConfig config;
  config.architecture = Architecture::kLlama;
  config.vocab_size = 32;
  config.hidden_size = 32;
  config.intermediate_size = 64;
  config.num_hidden_layers = kLayers;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 128;
  config.rms_norm_eps = 1e-5;
  config.rope_theta = 1e4;
  config.tie_word_embeddings = true;
  return config;
}

std::set<std::string> IdsFor(const ModelConfig& config) {
  std::set<std::string> ids;
  for (const Hypothesis& h : CatalogueFor(config, Plan(kLayers))) {
    EXPECT_TRUE(ids.insert(h.id).second) << h.id;
    EXPECT_FALSE(h.what.empty()) << h.id;
    EXPECT_FALSE(h.advice.empty()) << h.id;
  }
  return ids;
}

Hypothesis Gelu() {
  Hypothesis h;
  h.id = "gelu";
  h.variant = [](Variant& v) { v.activation = Activation::kGelu; };
  return h;
}

TEST(HypothesesTest, HasWhatTheModelHas) {
  ModelConfig config = Config();
  const std::set<std::string> plain = IdsFor(config);
  for (const char* id : {"q_bias_missing", "o_bias_missing", "mlp_bias_missing",
                         "rope_scaling_llama3_ignored"}) {
    EXPECT_THAT(plain, Not(Contains(id)));
  }
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.llama3_rope_scaling = Llama3RopeScaling();
  EXPECT_THAT(
      IdsFor(config),
      IsSupersetOf({"q_bias_missing", "k_bias_missing", "v_bias_missing",
                    "o_bias_missing", "mlp_bias_missing", "qkv_bias_missing",
                    "rope_scaling_llama3_ignored"}));
}

TEST(HypothesesTest, ScalingHasItsType) {
  ModelConfig config = Config();
  config.rope_linear_factor = 2;
  EXPECT_THAT(IdsFor(config), Contains("rope_scaling_linear_ignored"));
  config.rope_linear_factor = 1;
  config.yarn_rope_scaling = YarnRopeScaling();
  EXPECT_THAT(IdsFor(config), Contains("rope_scaling_yarn_ignored"));
  EXPECT_THAT(IdsFor(config),
              Not(Contains("rope_scaling_attention_factor_ignored")));
  config.yarn_rope_scaling->attention_factor = 1.25;
  EXPECT_THAT(IdsFor(config),
              Contains("rope_scaling_attention_factor_ignored"));
}

// With as many KV heads as heads none is the wrong number.
TEST(HypothesesTest, OrdersOfRowsAreOfTheHeads) {
  ModelConfig config = Config();
  EXPECT_THAT(IdsFor(config), Contains("k_rows_as_q_heads"));
  config.num_key_value_heads = config.num_attention_heads;
  EXPECT_THAT(IdsFor(config), Not(Contains("k_rows_as_q_heads")));
  for (const Hypothesis& h : CatalogueFor(config, Plan(kLayers))) {
    if (h.id != "qk_rows_neighbours") continue;
    EXPECT_EQ(h.kind, CauseKind::kComparison);
    Variant variant;
    h.variant(variant);
    EXPECT_THAT(std::vector<int32_t>(variant.q_rows.begin(),
                                     variant.q_rows.begin() + 9),
                testing::ElementsAre(0, 4, 1, 5, 2, 6, 3, 7, 8));
    EXPECT_EQ(variant.rope_pairs, RopePairs::kNeighbours);
  }
}

TEST(ApplyTest, ChangesItsLayersAlone) {
  const Hypothesis h = InLayers(Gelu(), 2, 3);
  EXPECT_EQ(h.id, "gelu@2-3");
  EXPECT_EQ(InLayers(Gelu(), 2, 2).id, "gelu@2");
  Variant variant;
  Apply(h, kLayers, variant);
  for (size_t layer = 0; layer <= kLayers; ++layer) {
    const bool there = layer == 2 || layer == 3;
    EXPECT_EQ(variant.In(layer).activation,
              there ? Activation::kGelu : Activation::kSilu)
        << layer;
  }
}

// What is of all layers is of those that differ as well, whichever comes first.
TEST(ApplyTest, ComesInAnyOrder) {
  Hypothesis neighbours;
  neighbours.variant = [](Variant& v) {
    v.rope_pairs = RopePairs::kNeighbours;
  };
  Variant a, b;
  Apply(neighbours, kLayers, a);
  Apply(InLayers(Gelu(), 1, 1), kLayers, a);
  Apply(InLayers(Gelu(), 1, 1), kLayers, b);
  Apply(neighbours, kLayers, b);
  EXPECT_EQ(a, b);
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    EXPECT_EQ(a.In(layer).rope_pairs, RopePairs::kNeighbours);
  }
}

TEST(ApplyTest, IsAnotherOneInEachLayer) {
  Hypothesis h;
  h.by_layer = [](size_t layer, Variant& v) {
    v.norm_eps = static_cast<double>(layer);
  };
  Variant variant;
  Apply(h, kLayers, variant);
  EXPECT_EQ(variant.In(0), Variant());
  EXPECT_EQ(variant.In(3).norm_eps, 3);
}

}  // namespace
}  // namespace ulpscope
