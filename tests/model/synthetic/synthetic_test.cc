#include "model/synthetic/synthetic.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/files/tensor.h"
#include "model/synthetic/synthetic_tensor.h"
#include "tests/model/synthetic/tensor_values.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Lt;

using Vector = std::vector<double>;
// FNV-1a over the elements, low byte first whatever the machine's order.
uint64_t Checksum(const std::vector<uint16_t>& bits,
                  uint64_t hash = 0xcbf29ce484222325) {
  for (const uint16_t element : bits) {
    hash = (hash ^ (element & 0xff)) * 0x100000001b3;
    hash = (hash ^ (element >> 8)) * 0x100000001b3;
  }
  return hash;
}

// Changes with any byte of any tensor. The figures are this program's own: they
// hold every other compiler and machine to them.
TEST(SyntheticTest, BytesAreTheSameOnEveryMachine) {
  const std::vector<std::pair<std::string, uint64_t>> golden = {
      {"tiny", 0x0ac8eb7f76029902}, {"tiny-qwen3", 0x0cd768ee8c7d8480}};
  for (const auto& [name, checksum] : golden) {
    const auto source = OpenSynthetic(name).value();
    uint64_t hash = Checksum({});
    for (const NamedShape& named : AllTensors(SyntheticConfig(name).value())) {
      hash = Checksum(LoadBits(source.get(), named), hash);
    }
    EXPECT_EQ(hash, checksum) << absl::StrCat(name, " is 0x", absl::Hex(hash));
  }
}

// The planted weights of the birth layer depend on all of the calibration.
TEST(SyntheticTest, CalibratedBytesOfSeedAreTheSameOnEveryMachine) {
  const auto source = OpenSynthetic("seed").value();
  EXPECT_EQ(
      Checksum(LoadBits(source.get(),
                        {"model.layers.2.mlp.down_proj.weight", {896, 4864}})),
      0x1136451629a0b0d9);
}

TEST(SyntheticTest, BitsDoNotDependOnTheNumberOfThreads) {
  SyntheticTensor tensor;
  tensor.stream = "threads";
  tensor.rows = 517;  // enough for eight threads, and not a multiple of them
  tensor.cols = 1021;
  tensor.std = 0.02;
  tensor.patches = {{SyntheticTensor::kAll, 5, 1, 0.5}, {7, 5, 3, 0}};
  std::vector<uint16_t> one(tensor.rows * tensor.cols);
  Generate(tensor, 1, one.data());
  for (const int num_threads : {2, 3, 4, 8}) {
    std::vector<uint16_t> many(one.size());
    Generate(tensor, num_threads, many.data());
    EXPECT_EQ(many, one) << num_threads;
  }
  for (int64_t row = 0; row < tensor.rows; ++row) {
    for (const int64_t col : {int64_t{0}, int64_t{5}, tensor.cols - 1}) {
      EXPECT_EQ(SyntheticElement(tensor, row, col),
                Bf16ToDouble(one[row * tensor.cols + col]));
    }
  }
  EXPECT_EQ(SyntheticElement(tensor, 7, 5), 3);
}

TEST(SyntheticTest, ElementsHaveTheMeanAndStdAskedFor) {
  SyntheticTensor tensor;
  tensor.stream = "moments";
  tensor.rows = 300;
  tensor.cols = 1000;
  tensor.mean = 0.5;
  tensor.std = 2;
  std::vector<uint16_t> bits(tensor.rows * tensor.cols);
  Generate(tensor, 2, bits.data());
  Vector values;
  for (const uint16_t element : bits) values.push_back(Bf16ToDouble(element));
  // Five standard errors; rounding to bf16 adds variance below 2^-16 of it.
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  EXPECT_NEAR(mean, tensor.mean, 5 * tensor.std / std::sqrt(n));
  EXPECT_NEAR(Std(values), tensor.std,
              tensor.std * (5 / std::sqrt(2 * n) + 1.0 / 65536));
}

TEST(SyntheticTest, RoundsToBf16ToNearestEven) {
  EXPECT_EQ(RoundToBf16(1 + 1.0 / 256), 1);  // a tie
  EXPECT_EQ(RoundToBf16(1 + 3.0 / 256), 1 + 4.0 / 256);
  EXPECT_EQ(RoundToBf16(1 + 1.0 / 256 + 1.0 / 65536), 1 + 2.0 / 256);
  EXPECT_EQ(RoundToBf16(-800.1), -800);
}

TEST(SyntheticTest, SeedHasTheShapeOfTheSeedReport) {
  const ModelConfig seed = SyntheticConfig("seed").value();
  EXPECT_EQ(seed.architecture, Architecture::kQwen2);
  EXPECT_EQ(seed.hidden_size, 896);
  EXPECT_EQ(seed.intermediate_size, 4864);
  EXPECT_EQ(seed.num_attention_heads, 14);
  EXPECT_EQ(seed.num_key_value_heads, 2);
  EXPECT_EQ(seed.head_dim, 64);
  EXPECT_EQ(seed.num_hidden_layers, 24);
  EXPECT_EQ(seed.vocab_size, 151936);
  EXPECT_EQ(seed.rope_theta, 1e6);
  EXPECT_TRUE(seed.tie_word_embeddings);
  EXPECT_TRUE(seed.qkv_bias);
  EXPECT_FALSE(seed.qk_norm);
  const ModelConfig qwen3 = SyntheticConfig("seed-qwen3").value();
  EXPECT_EQ(qwen3.architecture, Architecture::kQwen3);
  EXPECT_EQ(qwen3.hidden_size, 896);
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_TRUE(qwen3.qk_norm);
}

TEST(SyntheticTest, PlantedFiguresFitTheModel) {
  EXPECT_THAT(SyntheticMassiveActivation("seed")->tokens, Contains(9707));
  for (const absl::string_view name : SyntheticNames()) {
    const ModelConfig config = SyntheticConfig(name).value();
    const MassiveActivation planted = SyntheticMassiveActivation(name).value();
    EXPECT_THAT(planted.tokens, testing::Each(Lt(config.vocab_size)));
    EXPECT_EQ(planted.residual_std.size(), config.num_hidden_layers);
    EXPECT_EQ(planted.channel_values.size(),
              planted.removal_layer - planted.birth_layer + 1);
    EXPECT_LT(planted.removal_layer, config.num_hidden_layers);
    EXPECT_LT(planted.neuron + 1, config.intermediate_size);
    EXPECT_LT(planted.massive_channel, config.hidden_size);
    EXPECT_LT(planted.trigger_channel, config.hidden_size);
  }
  // head_dim is a figure of its own in Qwen3.
  const ModelConfig qwen3 = SyntheticConfig("tiny-qwen3").value();
  EXPECT_NE(qwen3.head_dim, qwen3.hidden_size / qwen3.num_attention_heads);
}

TEST(SyntheticTest, UnknownNameIsAnErrorThatListsTheNames) {
  const auto message = AllOf(HasSubstr("synthetic:tinny"),
                             HasSubstr("seed-qwen3"), HasSubstr("tiny"));
  EXPECT_THAT(SyntheticConfig("tinny").status(),
              StatusIs(absl::StatusCode::kNotFound, message));
  EXPECT_THAT(SyntheticMassiveActivation("tinny").status(),
              StatusIs(absl::StatusCode::kNotFound, message));
  EXPECT_THAT(OpenSynthetic("tinny").status(),
              StatusIs(absl::StatusCode::kNotFound, message));
  EXPECT_THAT(OpenSynthetic("").status(),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST(SyntheticTest, OtherShapeIsAnErrorThatShowsBoth) {
  const auto tiny = OpenSynthetic("tiny").value();
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const auto refused =
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("synthetic:tiny"), HasSubstr(name),
                     HasSubstr("[64, 160]"), HasSubstr("[160, 64]")));
  EXPECT_THAT(tiny->Load(name, {64, 160}).status(), refused);
  EXPECT_TRUE(tiny->Load(name, {160, 64}).ok());
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{}, {160}, {10240}, {160, 64, 1}}) {
    EXPECT_THAT(tiny->Load(name, shape).status(),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(SyntheticTest, HasOnlyTheTensorsOfItsArchitecture) {
  const auto tiny = OpenSynthetic("tiny").value();
  const auto qwen3 = OpenSynthetic("tiny-qwen3").value();
  for (const std::string& name :
       {std::string("lm_head.weight"),  // tied
        std::string("model.layers.0.self_attn.q_norm.weight"),
        std::string("model.layers.8.mlp.up_proj.weight"), std::string()}) {
    EXPECT_FALSE(tiny->Has(name)) << name;
    EXPECT_THAT(tiny->Load(name, {64}).status(),
                StatusIs(absl::StatusCode::kNotFound,
                         AllOf(HasSubstr("synthetic:tiny"), HasSubstr(name))));
  }
  EXPECT_TRUE(qwen3->Has("model.layers.0.self_attn.q_norm.weight"));
  EXPECT_FALSE(qwen3->Has("model.layers.0.self_attn.q_proj.bias"));
}

TEST(SyntheticTest, TensorOutlivesItsSource) {
  auto source = OpenSynthetic("tiny").value();
  const Tensor norm = source->Load("model.norm.weight", {64}).value();
  const std::vector<uint16_t> again =
      LoadBits(source.get(), {"model.norm.weight", {64}});
  source.reset();
  EXPECT_EQ(std::memcmp(norm.data, again.data(), 128), 0);
}

}  // namespace
}  // namespace ulpscope
