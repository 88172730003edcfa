#include "model/checkpoint/gguf.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/ops/block_type.h"
#include "model/architecture/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/files/ggml_type.h"
#include "model/files/gguf_file.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;

// Value of element i, after the definition of its type.
float Element(const Tensor& tensor, size_t i) {
  if (tensor.dtype == DType::kF32) {
    return static_cast<const float*>(tensor.data)[i];
  }
  const uint16_t bits = static_cast<const uint16_t*>(tensor.data)[i];
  if (tensor.dtype == DType::kBF16) {
    const uint32_t wide = uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
  }
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const float magnitude =
      exponent == 0
          ? std::ldexp(static_cast<float>(mantissa), -24)
          : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

class DequantizeTest : public testing::TestWithParam<std::string> {};

// Bit for bit what gguf-py computes from random blocks.
TEST_P(DequantizeTest, HasTheBitsOfGgufPy) {
  const absl::StatusOr<GgufFile> file =
      GgufFile::Open(TestDataPath("gguf/quants.gguf"));
  ASSERT_THAT(file, IsOk());
  const GgufTensor* quantized = file->FindTensor(GetParam());
  const GgufTensor* expected =
      file->FindTensor(absl::StrCat(GetParam(), ".expected"));
  ASSERT_NE(quantized, nullptr);
  ASSERT_NE(expected, nullptr);
  const GgmlType& type = *quantized->type;
  EXPECT_EQ(type.name, GetParam());
  ASSERT_NE(type.blocks(), nullptr);
  EXPECT_EQ(quantized->shape, expected->shape);
  const size_t blocks =
      quantized->bytes.size() / static_cast<size_t>(type.block_bytes);
  ASSERT_GE(blocks, 6u);
  std::vector<float> actual(blocks * static_cast<size_t>(type.block_elements));
  for (size_t i = 0; i < blocks; ++i) {
    Dequantize(
        *type.blocks(),
        quantized->bytes.data() + i * static_cast<size_t>(type.block_bytes),
        actual.data() + i * static_cast<size_t>(type.block_elements));
  }
  ASSERT_EQ(actual.size() * sizeof(float), expected->bytes.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    uint32_t actual_bits;
    uint32_t expected_bits;
    std::memcpy(&actual_bits, &actual[i], sizeof(actual_bits));
    std::memcpy(&expected_bits, expected->bytes.data() + 4 * i,
                sizeof(expected_bits));
    ASSERT_EQ(actual_bits, expected_bits) << "element " << i;
  }
}

std::vector<std::string> QuantizedTypes() {
  std::vector<std::string> names;
  for (const GgmlType& type : GgmlTypes()) {
    if (type.blocks() != nullptr) names.emplace_back(type.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, DequantizeTest,
                         testing::ValuesIn(QuantizedTypes()),
                         [](const auto& name) { return name.param; });

TEST(DequantizeTest, AllPromisedTypesAreThere) {
  EXPECT_THAT(
      QuantizedTypes(),
      ElementsAre("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
                  "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"));
}

// Names and shapes of all weights of a model.
std::vector<std::pair<std::string, std::vector<int64_t>>> Weights(
    const ModelConfig& c) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> weights = {
      {"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}},
      {"model.norm.weight", {c.hidden_size}},
  };
  if (!c.tie_word_embeddings) {
    weights.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}});
  }
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const auto add = [&](absl::string_view name, std::vector<int64_t> shape) {
      weights.emplace_back(absl::StrCat("model.layers.", i, ".", name),
                           std::move(shape));
    };
    add("input_layernorm.weight", {c.hidden_size});
    add("post_attention_layernorm.weight", {c.hidden_size});
    add("self_attn.q_proj.weight", {c.q_size(), c.hidden_size});
    add("self_attn.k_proj.weight", {c.kv_size(), c.hidden_size});
    add("self_attn.v_proj.weight", {c.kv_size(), c.hidden_size});
    add("self_attn.o_proj.weight", {c.hidden_size, c.q_size()});
    add("mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size});
    add("mlp.up_proj.weight", {c.intermediate_size, c.hidden_size});
    add("mlp.down_proj.weight", {c.hidden_size, c.intermediate_size});
    if (c.qkv_bias) {
      add("self_attn.q_proj.bias", {c.q_size()});
      add("self_attn.k_proj.bias", {c.kv_size()});
      add("self_attn.v_proj.bias", {c.kv_size()});
    }
    if (c.qk_norm) {
      add("self_attn.q_norm.weight", {c.head_dim});
      add("self_attn.k_norm.weight", {c.head_dim});
    }
  }
  return weights;
}

class GgufModelTest : public testing::TestWithParam<std::string> {};

TEST_P(GgufModelTest, HasTheConfigThatTransformersReads) {
  const absl::StatusOr<GgufModel> model =
      OpenGguf(TestDataPath(absl::StrCat("gguf/", GetParam(), ".gguf")));
  ASSERT_THAT(model, IsOk());
  const std::string path =
      TestDataPath(absl::StrCat("gguf/", GetParam(), ".json"));
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const absl::StatusOr<ModelConfig> expected = ParseConfig(text.str(), path);
  ASSERT_THAT(expected, IsOk());
  const ModelConfig& actual = model->config;
  EXPECT_EQ(actual.architecture, expected->architecture);
  EXPECT_EQ(actual.vocab_size, expected->vocab_size);
  EXPECT_EQ(actual.hidden_size, expected->hidden_size);
  EXPECT_EQ(actual.intermediate_size, expected->intermediate_size);
  EXPECT_EQ(actual.num_hidden_layers, expected->num_hidden_layers);
  EXPECT_EQ(actual.num_attention_heads, expected->num_attention_heads);
  EXPECT_EQ(actual.num_key_value_heads, expected->num_key_value_heads);
  EXPECT_EQ(actual.head_dim, expected->head_dim);
  EXPECT_EQ(actual.max_position_embeddings, expected->max_position_embeddings);
  EXPECT_EQ(actual.rms_norm_eps, expected->rms_norm_eps);
  EXPECT_EQ(actual.rope_theta, expected->rope_theta);
  EXPECT_EQ(actual.tie_word_embeddings, expected->tie_word_embeddings);
  EXPECT_EQ(actual.qkv_bias, expected->qkv_bias);
  EXPECT_EQ(actual.output_bias, expected->output_bias);
  EXPECT_EQ(actual.qk_norm, expected->qk_norm);
  EXPECT_EQ(actual.eos_token_ids, expected->eos_token_ids);
}

// Types mixed, and for llama the order of rows undone.
TEST_P(GgufModelTest, HasTheWeightsThatTransformersReads) {
  const absl::StatusOr<GgufModel> model =
      OpenGguf(TestDataPath(absl::StrCat("gguf/", GetParam(), ".gguf")));
  ASSERT_THAT(model, IsOk());
  const auto source = OpenSafetensors(
      TestDataPath(absl::StrCat("gguf/", GetParam(), ".safetensors")));
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ(model->tensors->Has("lm_head.weight"),
            (*source)->Has("lm_head.weight"));
  for (const auto& [name, shape] : Weights(model->config)) {
    EXPECT_TRUE(model->tensors->Has(name)) << name;
    absl::StatusOr<Tensor> actual = model->tensors->Load(name, shape);
    ASSERT_THAT(actual, IsOk());
    actual = Dequantized(*std::move(actual));
    ASSERT_THAT(actual, IsOk());
    const absl::StatusOr<Tensor> expected = (*source)->Load(name, shape);
    ASSERT_THAT(expected, IsOk());
    EXPECT_EQ(actual->name, name);
    EXPECT_EQ(actual->shape, shape);
    size_t size = 1;
    for (const int64_t n : shape) size *= static_cast<size_t>(n);
    for (size_t i = 0; i < size; ++i) {
      ASSERT_EQ(Element(*actual, i), Element(*expected, i))
          << name << " element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufModelTest,
                         testing::Values("llama", "qwen2", "qwen3"),
                         [](const auto& name) { return name.param; });

absl::StatusOr<GgufModel> Open(const GgufParts& parts) {
  return OpenGguf(WriteTestFile("model.gguf", parts.Bytes()));
}

TEST(GgufTest, Version2IsReadLikeVersion3) {
  GgufParts parts = TinyGguf();
  parts.version = 2;
  EXPECT_THAT(Open(parts), IsOk());
}

TEST(GgufTest, DataIsAlignedAsTheFileSays) {
  // With alignment 1 nothing is where its element type wants it.
  for (const uint32_t alignment : {1u, 64u}) {
    GgufParts parts = TinyGguf();
    parts.values.push_back(GgufUint32("general.alignment", alignment));
    parts.tensors = {GgufTensorEntry("token_embd.weight", {4, 3}, 0, 0)};
    parts.data_size = 48;
    parts.alignment = alignment;
    const absl::StatusOr<GgufModel> model = Open(parts);
    ASSERT_THAT(model, IsOk());
    const absl::StatusOr<Tensor> tensor =
        model->tensors->Load("model.embed_tokens.weight", {3, 4});
    ASSERT_THAT(tensor, IsOk());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->data) % 4, 0u);
    const std::string data = SafetensorsBytes("", 48).substr(8);
    EXPECT_EQ(std::memcmp(tensor->data, data.data(), 48), 0);
  }
}

// Of a llama, the rows of two heads of four: each head's pairs were neighbours.
TEST(GgufTest, BiasesOfLlamaAreReorderedToo) {
  GgufParts parts = TinyGguf();
  parts.values[1] = GgufUint32("llama.embedding_length", 8);
  parts.tensors = {
      GgufTensorEntry("token_embd.weight", {8, 1}, 0, 0),
      GgufTensorEntry("blk.0.attn_q.bias", {8}, 0, 32),
      GgufTensorEntry("blk.0.attn_v.bias", {8}, 0, 64),
  };
  parts.data_size = 96;
  const absl::StatusOr<GgufModel> model = Open(parts);
  ASSERT_THAT(model, IsOk());
  EXPECT_TRUE(model->config.qkv_bias);
  EXPECT_FALSE(model->config.output_bias);
  const auto values = [&](absl::string_view name) {
    const absl::StatusOr<Tensor> tensor = model->tensors->Load(name, {8});
    EXPECT_THAT(tensor, IsOk());
    const float* data = static_cast<const float*>(tensor->data);
    return std::vector<float>(data, data + 8);
  };
  const std::string bytes = SafetensorsBytes("", 96).substr(8);
  std::vector<float> stored(16);
  std::memcpy(stored.data(), bytes.data() + 32, 64);
  EXPECT_THAT(values("model.layers.0.self_attn.q_proj.bias"),
              ElementsAre(stored[0], stored[2], stored[1], stored[3], stored[4],
                          stored[6], stored[5], stored[7]));
  EXPECT_THAT(values("model.layers.0.self_attn.v_proj.bias"),
              testing::ElementsAreArray(stored.begin() + 8, stored.end()));
}

TEST(GgufTest, BiasesOfTheMlpAreKnown) {
  GgufParts parts = TinyGguf();
  EXPECT_FALSE(Open(parts)->config.mlp_bias);
  parts.tensors = {
      GgufTensorEntry("token_embd.weight", {4, 3}, 0, 0),
      GgufTensorEntry("blk.0.ffn_gate.bias", {8}, 0, 64),
      GgufTensorEntry("blk.0.ffn_down.bias", {4}, 0, 96),
  };
  parts.data_size = 112;
  const absl::StatusOr<GgufModel> model = Open(parts);
  ASSERT_THAT(model, IsOk());
  EXPECT_TRUE(model->config.mlp_bias);
  EXPECT_THAT(model->tensors->Load("model.layers.0.mlp.gate_proj.bias", {8}),
              IsOk());
  EXPECT_THAT(model->tensors->Load("model.layers.0.mlp.down_proj.bias", {4}),
              IsOk());
}

TEST(GgufTest, RopeScalingIsRead) {
  GgufParts linear = TinyGguf();
  linear.values.push_back(
      GgufEntry("llama.rope.scaling.type", 8, GgufText("linear")));
  linear.values.push_back(GgufFloat("llama.rope.scaling.factor", 4));
  linear.values.push_back(GgufFloat("llama.rope.freq_base", 500000));
  const absl::StatusOr<GgufModel> scaled = Open(linear);
  ASSERT_THAT(scaled, IsOk());
  EXPECT_EQ(scaled->config.rope_linear_factor, 4);
  EXPECT_EQ(scaled->config.rope_theta, 500000);

  GgufParts divided = TinyGguf();
  // Data that counts up: 0x2b2a2928, 1.9e-13 or so in f32.
  divided.tensors.push_back(
      GgufTensorEntry("rope_freqs.weight", {1}, 0, divided.data_size));
  const std::string bytes =
      SafetensorsBytes("", divided.data_size + 4).substr(8);
  divided.data_size += 4;
  float divisor;
  std::memcpy(&divisor, bytes.data() + bytes.size() - 4, sizeof(divisor));
  ASSERT_GT(divisor, 0);
  const absl::StatusOr<GgufModel> model = Open(divided);
  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(model->config.rope_divisors, ElementsAre(divisor));
}

TEST(GgufTest, YarnIsRead) {
  GgufParts parts = TinyGguf();
  parts.values.push_back(
      GgufEntry("llama.rope.scaling.type", 8, GgufText("yarn")));
  parts.values.push_back(GgufFloat("llama.rope.scaling.factor", 4));
  parts.values.push_back(
      GgufUint32("llama.rope.scaling.original_context_length", 32768));
  parts.values.push_back(GgufFloat("llama.rope.scaling.attn_factor", 2));
  const absl::StatusOr<GgufModel> model = Open(parts);
  ASSERT_THAT(model, IsOk());
  ASSERT_TRUE(model->config.yarn_rope_scaling.has_value());
  EXPECT_EQ(model->config.yarn_rope_scaling->factor, 4);
  EXPECT_EQ(model->config.yarn_rope_scaling->original_max_position_embeddings,
            32768);
  EXPECT_DOUBLE_EQ(model->config.yarn_rope_scaling->attention_factor,
                   2 * 1.138629436111989);
}

// The tensors of TinyGguf in two parts, of which the first has the metadata.
class SplitGgufTest : public testing::Test {
 protected:
  SplitGgufTest() {
    parts_[0] = TinyGguf();
    const size_t half = parts_[0].tensors.size() / 2;
    parts_[1].data_size = parts_[0].data_size;
    parts_[1].tensors.assign(parts_[0].tensors.begin() + half,
                             parts_[0].tensors.end());
    parts_[0].tensors.resize(half);
    for (size_t i = 0; i < 2; ++i) {
      Add(i, "split.no", static_cast<uint32_t>(i));
      Add(i, "split.count", 2);
    }
  }

  void Add(size_t part, absl::string_view key, uint32_t value) {
    parts_[part].values.push_back(GgufUint32(key, value));
  }

  // Of the part that is named.
  absl::StatusOr<GgufModel> Open(size_t named) {
    for (size_t i = 0; i < 2; ++i) {
      paths_[i] = WriteTestFile(absl::StrCat("m-0000", i + 1, "-of-00002.gguf"),
                                parts_[i].Bytes());
    }
    return OpenGguf(paths_[named]);
  }

  GgufParts parts_[2];
  std::string paths_[2];
};

TEST_F(SplitGgufTest, AnyPartNamesTheWhole) {
  const auto whole = OpenGguf(WriteTestFile("whole.gguf", TinyGguf().Bytes()));
  ASSERT_THAT(whole, IsOk());
  for (const size_t named : {0, 1}) {
    const auto model = Open(named);
    ASSERT_THAT(model, IsOk());
    EXPECT_EQ(model->config.hidden_size, whole->config.hidden_size);
    for (const auto& [name, shape] : Weights(model->config)) {
      const auto tensor = model->tensors->Load(name, shape);
      const auto expected = whole->tensors->Load(name, shape);
      ASSERT_THAT(tensor, IsOk());
      ASSERT_THAT(expected, IsOk());
      EXPECT_EQ(std::memcmp(tensor->data, expected->data, tensor->bytes()), 0)
          << name;
    }
    EXPECT_THAT(model->tensors->Unused(), testing::IsEmpty());
  }
}

TEST_F(SplitGgufTest, PartsHaveToFit) {
  ASSERT_THAT(Open(0), IsOk());
  const auto error = [&] { return std::string(Open(0).status().message()); };
  Add(0, "split.tensors.count", 3);
  EXPECT_THAT(error(), testing::HasSubstr("split.tensors.count"));
  parts_[0].values.pop_back();
  parts_[1].tensors.push_back(parts_[0].tensors[0]);
  EXPECT_THAT(error(), testing::HasSubstr("00002-of-00002.gguf"));
  parts_[1].tensors.pop_back();
  parts_[1].values.back() = GgufUint32("split.count", 3);
  EXPECT_THAT(error(), testing::HasSubstr("expected 1 of 2, found 1 of 3"));
  parts_[1].values.back() = GgufUint32("split.count", 2);
  ASSERT_THAT(Open(0), IsOk());
  std::remove(paths_[1].c_str());
  EXPECT_THAT(OpenGguf(paths_[0]).status().message(),
              testing::HasSubstr(paths_[1]));
  EXPECT_THAT(OpenGguf(WriteTestFile("renamed.gguf", parts_[0].Bytes()))
                  .status()
                  .message(),
              testing::HasSubstr("split.count"));
}

TEST(GgufTest, VocabularyIsCountedInTokens) {
  GgufParts parts = TinyGguf();
  const absl::StatusOr<GgufModel> from_shape = Open(parts);
  ASSERT_THAT(from_shape, IsOk());
  EXPECT_EQ(from_shape->config.vocab_size, 3);
  std::string tokens = Encode32(8) + Encode64(5);
  for (int i = 0; i < 5; ++i) tokens += GgufText("t");
  parts.values.push_back(GgufEntry("tokenizer.ggml.tokens", 9, tokens));
  const absl::StatusOr<GgufModel> from_tokens = Open(parts);
  ASSERT_THAT(from_tokens, IsOk());
  EXPECT_EQ(from_tokens->config.vocab_size, 5);
  parts.values.push_back(GgufUint32("llama.vocab_size", 6));
  const absl::StatusOr<GgufModel> from_key = Open(parts);
  ASSERT_THAT(from_key, IsOk());
  EXPECT_EQ(from_key->config.vocab_size, 6);
}

TEST(GgufTest, UnknownNamesAreNotThere) {
  const absl::StatusOr<GgufModel> model = Open(TinyGguf());
  ASSERT_THAT(model, IsOk());
  EXPECT_TRUE(model->tensors->Has("model.layers.0.self_attn.q_proj.weight"));
  for (const char* name :
       {"", "model.layers.0.self_attn.q_proj",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.x.mlp.up_proj.weight", "model.layers..weight",
        "model.layers.-0.mlp.up_proj.weight", "token_embd.weight",
        "lm_head.weight"}) {
    EXPECT_FALSE(model->tensors->Has(name)) << name;
  }
}

}  // namespace
}  // namespace ulpscope
