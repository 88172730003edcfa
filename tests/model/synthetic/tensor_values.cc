#include "tests/model/synthetic/tensor_values.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"

namespace ulpscope {
namespace {

int64_t Size(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                         [](int64_t a, int64_t b) { return a * b; });
}

}  // namespace

std::vector<NamedShape> AllTensors(const ModelConfig& c) {
  std::vector<NamedShape> all = {
      {"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}},
      {"model.norm.weight", {c.hidden_size}}};
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string p = absl::StrCat("model.layers.", layer, ".");
    const std::vector<NamedShape> tensors = {
        {"input_layernorm.weight", {c.hidden_size}},
        {"post_attention_layernorm.weight", {c.hidden_size}},
        {"self_attn.q_proj.weight", {c.q_size(), c.hidden_size}},
        {"self_attn.k_proj.weight", {c.kv_size(), c.hidden_size}},
        {"self_attn.v_proj.weight", {c.kv_size(), c.hidden_size}},
        {"self_attn.o_proj.weight", {c.hidden_size, c.q_size()}},
        {"mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size}},
        {"mlp.up_proj.weight", {c.intermediate_size, c.hidden_size}},
        {"mlp.down_proj.weight", {c.hidden_size, c.intermediate_size}}};
    for (const NamedShape& tensor : tensors) {
      all.push_back({p + tensor.first, tensor.second});
    }
    if (c.qkv_bias) {
      all.push_back({p + "self_attn.q_proj.bias", {c.q_size()}});
      all.push_back({p + "self_attn.k_proj.bias", {c.kv_size()}});
      all.push_back({p + "self_attn.v_proj.bias", {c.kv_size()}});
    }
    if (c.qk_norm) {
      all.push_back({p + "self_attn.q_norm.weight", {c.head_dim}});
      all.push_back({p + "self_attn.k_norm.weight", {c.head_dim}});
    }
  }
  return all;
}

std::vector<uint16_t> LoadBits(TensorSource* source, const NamedShape& named) {
  const absl::StatusOr<Tensor> tensor = source->Load(named.first, named.second);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  EXPECT_EQ(tensor->dtype, DType::kBF16) << named.first;
  EXPECT_EQ(tensor->shape, named.second) << named.first;
  EXPECT_EQ(tensor->name, named.first);
  std::vector<uint16_t> bits(Size(named.second));
  std::memcpy(bits.data(), tensor->data, bits.size() * sizeof(uint16_t));
  return bits;
}

double Std(const std::vector<double>& x) {
  const double n = static_cast<double>(x.size());
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
  double sum = 0;
  for (const double value : x) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / n);
}

}  // namespace ulpscope
