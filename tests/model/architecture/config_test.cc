#include "model/architecture/config.h"

#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/rope.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Json = nlohmann::json;

// Only what has no default.
Json Minimal(const char* architecture) {
  return {{"architectures", {architecture}},
          {"vocab_size", 151936},
          {"hidden_size", 896},
          {"intermediate_size", 4864},
          {"num_hidden_layers", 24},
          {"num_attention_heads", 14},
          {"max_position_embeddings", 32768}};
}

absl::StatusOr<ModelConfig> Parse(Json json, const Json& patch) {
  json.merge_patch(patch);
  return ParseConfig(json.dump(), "config.json");
}

TEST(ConfigTest, ReadsEveryKey) {
  const Json patch = {
      {"num_key_value_heads", 2},    {"head_dim", 32},
      {"rms_norm_eps", 1e-5},        {"rope_theta", 1000000},
      {"tie_word_embeddings", true}, {"attention_bias", true},
      {"hidden_act", "silu"},        {"eos_token_id", {151645, 151643}}};
  const absl::StatusOr<ModelConfig> config =
      Parse(Minimal("Qwen3ForCausalLM"), patch);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->architecture, Architecture::kQwen3);
  EXPECT_EQ(config->vocab_size, 151936);
  EXPECT_EQ(config->hidden_size, 896);
  EXPECT_EQ(config->intermediate_size, 4864);
  EXPECT_EQ(config->num_hidden_layers, 24);
  EXPECT_EQ(config->num_attention_heads, 14);
  EXPECT_EQ(config->num_key_value_heads, 2);
  EXPECT_EQ(config->head_dim, 32);
  EXPECT_EQ(config->q_size(), 14 * 32);
  EXPECT_EQ(config->kv_size(), 2 * 32);
  EXPECT_EQ(config->max_position_embeddings, 32768);
  EXPECT_EQ(config->rms_norm_eps, 1e-5);
  EXPECT_EQ(config->rope_theta, 1e6);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_TRUE(config->output_bias);
  EXPECT_TRUE(config->qk_norm);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(151645, 151643));
}

// Of Llama; Qwen's code has none, whatever its config says.
TEST(ConfigTest, BiasesOfTheMlpAreLlamas) {
  const auto llama = Parse(Minimal("LlamaForCausalLM"), {{"mlp_bias", true}});
  const auto qwen = Parse(Minimal("Qwen3ForCausalLM"), {{"mlp_bias", true}});
  ASSERT_THAT(llama, IsOk());
  ASSERT_THAT(qwen, IsOk());
  EXPECT_TRUE(llama->mlp_bias);
  EXPECT_FALSE(qwen->mlp_bias);
}

TEST(ConfigTest, MissingKeysHaveTransformersDefaults) {
  const absl::StatusOr<ModelConfig> llama =
      Parse(Minimal("LlamaForCausalLM"), Json::object());
  ASSERT_THAT(llama, IsOk());
  EXPECT_EQ(llama->num_key_value_heads, 14);
  EXPECT_EQ(llama->head_dim, 64);
  EXPECT_EQ(llama->rms_norm_eps, 1e-6);
  EXPECT_EQ(llama->rope_theta, 10000);
  EXPECT_EQ(llama->rope_linear_factor, 1);
  EXPECT_FALSE(llama->llama3_rope_scaling.has_value());
  EXPECT_FALSE(llama->tie_word_embeddings);
  EXPECT_FALSE(llama->qkv_bias);
  EXPECT_FALSE(llama->output_bias);
  EXPECT_FALSE(llama->mlp_bias);
  EXPECT_FALSE(llama->qk_norm);
  EXPECT_THAT(llama->eos_token_ids, IsEmpty());
  const absl::StatusOr<ModelConfig> qwen3 =
      Parse(Minimal("Qwen3ForCausalLM"), Json::object());
  ASSERT_THAT(qwen3, IsOk());
  EXPECT_EQ(qwen3->head_dim, 128);
}

TEST(ConfigTest, NullIsMissing) {
  // merge_patch would drop the nulls.
  Json json = Minimal("LlamaForCausalLM");
  for (const char* key :
       {"num_key_value_heads", "head_dim", "rope_scaling", "rope_parameters",
        "eos_token_id", "rms_norm_eps", "layer_types", "quantization_config"}) {
    json[key] = nullptr;
  }
  const absl::StatusOr<ModelConfig> config =
      ParseConfig(json.dump(), "config.json");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->num_key_value_heads, 14);
  EXPECT_EQ(config->head_dim, 64);
}

TEST(ConfigTest, Qwen2HasBiasesWhateverItSays) {
  const absl::StatusOr<ModelConfig> config =
      Parse(Minimal("Qwen2ForCausalLM"), {{"attention_bias", false},
                                          {"use_sliding_window", false},
                                          {"sliding_window", 32768}});
  ASSERT_THAT(config, IsOk());
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_FALSE(config->output_bias);
  EXPECT_FALSE(config->qk_norm);
}

TEST(ConfigTest, ReadsOneEosToken) {
  const absl::StatusOr<ModelConfig> config =
      Parse(Minimal("Qwen2ForCausalLM"), {{"eos_token_id", 7}});
  ASSERT_THAT(config, IsOk());
  EXPECT_THAT(config->eos_token_ids, ElementsAre(7));
}

TEST(ConfigTest, RopeParametersAreReadWhereverTheyStand) {
  const Json linear = {{"type", "linear"}, {"factor", 4.0}};
  const Json patches[] = {
      {{"rope_theta", 5e5}, {"rope_scaling", linear}},
      {{"rope_parameters",
        {{"rope_theta", 5e5}, {"rope_type", "linear"}, {"factor", 4.0}}}},
      {{"rope_theta", 5e5},
       {"rope_parameters", {{"rope_type", "linear"}, {"factor", 4}}}},
      {{"rope_theta", 5e5},
       {"rope_scaling", linear},
       {"rope_parameters", linear}},
  };
  for (const Json& patch : patches) {
    const absl::StatusOr<ModelConfig> config =
        Parse(Minimal("LlamaForCausalLM"), patch);
    ASSERT_THAT(config, IsOk()) << patch;
    EXPECT_EQ(config->rope_theta, 5e5) << patch;
    EXPECT_EQ(config->rope_linear_factor, 4) << patch;
  }
}

TEST(ConfigTest, LimitsKeepSizesFromOverflowing) {
  ModelConfig config;
  config.vocab_size = 3;
  config.hidden_size = 4;
  config.intermediate_size = 8;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = 2;
  config.max_position_embeddings = 16;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 1e4;
  EXPECT_THAT(ValidateConfig(config, "x"), IsOk());

  ModelConfig wide = config;
  wide.num_attention_heads = 1 << 13;
  wide.head_dim = 1 << 13;  // each within its own limit
  EXPECT_FALSE(ValidateConfig(wide, "x").ok());
  ModelConfig largest = config;
  largest.hidden_size = largest.intermediate_size = largest.vocab_size = 1
                                                                         << 24;
  largest.num_attention_heads = largest.num_key_value_heads = 1 << 23;
  largest.num_hidden_layers = 1 << 12;  // the sum is near 2^63
  EXPECT_FALSE(ValidateConfig(largest, "x").ok());
  ModelConfig divisors = config;
  divisors.rope_divisors = {1, 1};  // head_dim / 2 is 1
  EXPECT_FALSE(ValidateConfig(divisors, "x").ok());
  divisors.rope_divisors = {0};
  EXPECT_FALSE(ValidateConfig(divisors, "x").ok());
  ModelConfig infinite = config;
  infinite.rope_theta = HUGE_VAL;
  EXPECT_FALSE(ValidateConfig(infinite, "x").ok());
}

ModelConfig Rope(int64_t head_dim, double theta) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  return config;
}

TEST(RopeFrequenciesTest, ArePowersOfTheta) {
  EXPECT_THAT(RopeFrequencies(Rope(8, 10000)),
              ElementsAre(1, testing::DoubleEq(0.1), testing::DoubleEq(0.01),
                          testing::DoubleEq(0.001)));
}

TEST(RopeFrequenciesTest, AreDividedByFactorAndDivisors) {
  ModelConfig config = Rope(4, 10000);
  config.rope_linear_factor = 2;
  config.rope_divisors = {1, 8};
  EXPECT_THAT(RopeFrequencies(config),
              ElementsAre(0.5, testing::DoubleEq(0.01 / 16)));
}

// Llama 3.1's, from transformers 5.23 ROPE_INIT_FUNCTIONS["llama3"], which
// computes in f32: the exponent 2i/128 is exact, theta^x is off by one unit in
// the last place of f32 or so, and each of at most seven operations after it by
// a half; the ramp's 1 - smooth and smooth are both below 1, and amplify
// nothing. 16 half units cover that; a wrong branch or ramp is off by percents.
TEST(RopeFrequenciesTest, AreTransformersForLlama3) {
  ModelConfig config = Rope(128, 500000);
  config.llama3_rope_scaling = Llama3RopeScaling{8, 1, 4, 8192};
  const std::vector<double> frequencies = RopeFrequencies(config);
  ASSERT_EQ(frequencies.size(), 64u);
  const struct {
    size_t i;
    double expected;
  } rows[] = {
      {0, 1.0},
      {1, 0.8146172165870667},
      {20, 0.016560440883040428},
      {28, 0.0032114461064338684},  // the last above the ramp
      {30, 0.0013718936825171113},  // on the ramp
      {33, 0.0003126936499029398},  // on the ramp
      {35, 9.556212171446532e-05},  // divided by 8
      {40, 3.428102354519069e-05},
      {63, 3.068925877869333e-07},
  };
  for (const auto& row : rows) {
    EXPECT_NEAR(frequencies[row.i], row.expected, 16 * 0x1p-24 * row.expected)
        << row.i;
  }
}

// From transformers 5.24 ROPE_INIT_FUNCTIONS["yarn"], in f32 as above; pairs
// below, on and above the ramp. Its attention factors are exact.
TEST(RopeFrequenciesTest, AreTransformersForYarn) {
  ModelConfig qwen = Rope(16, 1e6);
  qwen.yarn_rope_scaling = YarnRopeScaling{4, 32768};
  ModelConfig other = Rope(16, 1e4);
  other.yarn_rope_scaling = YarnRopeScaling{8, 64, 1.5, 4, 0.5, false};
  const struct {
    ModelConfig config;
    std::vector<double> expected;
  } cases[] = {
      {qwen,
       {1.0, 0.17782793939113617, 0.03162277862429619, 0.004217559937387705,
        0.0005000000237487257, 4.4456985051510856e-05, 7.905693564680405e-06,
        1.405853367941745e-06}},
      {other,
       {1.0, 0.28740859031677246, 0.04244179651141167, 0.0039528473280370235,
        0.0012499999720603228, 0.00039528473280370235, 0.0001250000059371814,
        3.9528473280370235e-05}}};
  for (const auto& c : cases) {
    const std::vector<double> frequencies = RopeFrequencies(c.config);
    ASSERT_EQ(frequencies.size(), c.expected.size());
    for (size_t i = 0; i < frequencies.size(); ++i) {
      EXPECT_NEAR(frequencies[i], c.expected[i], 16 * 0x1p-24 * c.expected[i])
          << i;
    }
  }
  EXPECT_DOUBLE_EQ(DefaultYarnAttentionFactor(4), 1.138629436111989);
  EXPECT_EQ(DefaultYarnAttentionFactor(1), 1);
  EXPECT_EQ(RopeAttentionFactor(other), 1.5);
  EXPECT_EQ(RopeAttentionFactor(Rope(16, 1e4)), 1);
}

TEST(ConfigTest, ReadsYarn) {
  const Json yarn = {{"type", "yarn"},
                     {"factor", 4.0},
                     {"original_max_position_embeddings", 32768}};
  auto config = Parse(Minimal("Qwen2ForCausalLM"), {{"rope_scaling", yarn}});
  ASSERT_THAT(config, IsOk());
  ASSERT_TRUE(config->yarn_rope_scaling.has_value());
  EXPECT_EQ(config->yarn_rope_scaling->factor, 4);
  EXPECT_EQ(config->yarn_rope_scaling->original_max_position_embeddings, 32768);
  EXPECT_EQ(config->yarn_rope_scaling->beta_fast, 32);
  EXPECT_EQ(config->yarn_rope_scaling->beta_slow, 1);
  EXPECT_DOUBLE_EQ(config->yarn_rope_scaling->attention_factor,
                   1.138629436111989);
  EXPECT_TRUE(config->yarn_rope_scaling->truncate);
  for (const Json& wrong : {Json{{"factor", nullptr}}, Json{{"factor", 0}},
                            Json{{"beta_fast", 0.5}}, Json{{"mscale", 1.0}},
                            Json{{"attention_factor", -1}}}) {
    Json bad = yarn;
    bad.merge_patch(wrong);
    EXPECT_FALSE(
        Parse(Minimal("Qwen2ForCausalLM"), {{"rope_scaling", bad}}).ok())
        << bad;
  }
}

TEST(ConfigTest, AWindowMattersWhereALayerHasIt) {
  const auto window = [](const Json& patch) {
    const auto config = Parse(Minimal("Qwen2ForCausalLM"), patch);
    EXPECT_THAT(config, IsOk()) << patch;
    return config.ok() ? config->sliding_window : -1;
  };
  const Json full = {{"use_sliding_window", true},
                     {"sliding_window", 2048},
                     {"layer_types", {"full_attention", "full_attention"}}};
  EXPECT_EQ(window(full), 0);
  Json sliding = full;
  sliding["layer_types"][1] = "sliding_attention";
  EXPECT_EQ(window(sliding), 2048);
  // As transformers 4 wrote it.
  const Json old = {{"use_sliding_window", true},
                    {"sliding_window", 512},
                    {"max_window_layers", 1 << 20}};
  EXPECT_EQ(window(old), 0);
  Json windowed = old;
  windowed["max_window_layers"] = 0;
  EXPECT_EQ(window(windowed), 512);
  windowed["sliding_window"] = 0;
  EXPECT_FALSE(Parse(Minimal("Qwen2ForCausalLM"), windowed).ok());
}

TEST(ConfigTest, OtherQuantizationIsRefusedByItsName) {
  for (const char* const method : {"awq", "gptq", "bitsandbytes"}) {
    const auto config =
        Parse(Minimal("Qwen2ForCausalLM"),
              {{"quantization_config", {{"quant_method", method}}}});
    EXPECT_THAT(config.status().message(),
                testing::HasSubstr(absl::StrCat("\"", method, "\"")));
  }
}

// As large as a checkpoint's may be.
TEST(ConfigTest, ReadsAMegabyteOfKeys) {
  std::string text = Minimal("Qwen3ForCausalLM").dump();
  text.pop_back();
  for (int i = 0; text.size() < 1'000'000; ++i) {
    absl::StrAppend(&text, ",\"", i, "\":{}");
  }
  const auto config = ParseConfig(text + "}", "config.json");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->hidden_size, 896);
}

}  // namespace
}  // namespace ulpscope
