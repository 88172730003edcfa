#include "tests/explorer/app/text_model.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/measure/random.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

constexpr int kHidden = 16, kMlp = 24, kHeads = 2, kKvHeads = 1, kLayers = 2;
constexpr int kKv = kHidden / kHeads * kKvHeads;

// A safetensors file that is made tensor by tensor.
class Tensors {
 public:
  void Add(const std::string& name, const std::vector<int>& shape,
           double scale) {
    size_t count = 1;
    for (const int n : shape) count *= static_cast<size_t>(n);
    const size_t begin = data_.size();
    for (size_t i = 0; i < count; ++i) {
      // Norms' weights are about 1.
      const float x =
          static_cast<float>(scale == 0 ? 1 + 0.1 * random_.Gaussian()
                                        : scale * random_.Gaussian());
      uint32_t bits;
      std::memcpy(&bits, &x, sizeof(bits));
      data_ += Encode32(bits);
    }
    header_[name] = {{"dtype", "F32"},
                     {"shape", shape},
                     {"data_offsets", {begin, data_.size()}}};
  }

  std::string Bytes() const {
    const std::string header = header_.dump();
    return absl::StrCat(Encode64(header.size()), header, data_);
  }

 private:
  Random random_{16};
  nlohmann::ordered_json header_;
  std::string data_;
};

}  // namespace

std::string WriteTextModel(const std::string& tokenizer) {
  const std::string folder = absl::StrCat(TestFolder(), "/", tokenizer);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const auto& file : std::filesystem::directory_iterator(
           TestDataPath(absl::StrCat("tokenizer/", tokenizer)))) {
    std::filesystem::copy(file.path(), folder / file.path().filename());
  }
  const nlohmann::json config = {{"architectures", {"Qwen2ForCausalLM"}},
                                 {"model_type", "qwen2"},
                                 {"hidden_size", kHidden},
                                 {"intermediate_size", kMlp},
                                 {"num_hidden_layers", kLayers},
                                 {"num_attention_heads", kHeads},
                                 {"num_key_value_heads", kKvHeads},
                                 {"vocab_size", kTextModelVocabulary},
                                 {"max_position_embeddings", 64},
                                 {"rms_norm_eps", 1e-6},
                                 {"rope_theta", 10000.0},
                                 {"tie_word_embeddings", true}};
  WriteTestFile(absl::StrCat(tokenizer, "/config.json"), config.dump());
  Tensors tensors;
  tensors.Add("model.embed_tokens.weight", {kTextModelVocabulary, kHidden}, 1);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string at = absl::StrCat("model.layers.", layer, ".");
    tensors.Add(at + "input_layernorm.weight", {kHidden}, 0);
    tensors.Add(at + "self_attn.q_proj.weight", {kHidden, kHidden}, 0.3);
    tensors.Add(at + "self_attn.k_proj.weight", {kKv, kHidden}, 0.3);
    tensors.Add(at + "self_attn.v_proj.weight", {kKv, kHidden}, 0.3);
    tensors.Add(at + "self_attn.q_proj.bias", {kHidden}, 0.1);
    tensors.Add(at + "self_attn.k_proj.bias", {kKv}, 0.1);
    tensors.Add(at + "self_attn.v_proj.bias", {kKv}, 0.1);
    tensors.Add(at + "self_attn.o_proj.weight", {kHidden, kHidden}, 0.3);
    tensors.Add(at + "post_attention_layernorm.weight", {kHidden}, 0);
    tensors.Add(at + "mlp.gate_proj.weight", {kMlp, kHidden}, 0.3);
    tensors.Add(at + "mlp.up_proj.weight", {kMlp, kHidden}, 0.3);
    tensors.Add(at + "mlp.down_proj.weight", {kHidden, kMlp}, 0.3);
  }
  tensors.Add("model.norm.weight", {kHidden}, 0);
  WriteTestFile(absl::StrCat(tokenizer, "/model.safetensors"), tensors.Bytes());
  return folder;
}

}  // namespace ulpscope
