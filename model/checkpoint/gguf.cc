#include "model/checkpoint/gguf.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/checkpoint/gguf_config.h"
#include "model/files/gguf_dequantize.h"
#include "model/files/gguf_file.h"

namespace ulpscope {
namespace {

struct NamePair {
  absl::string_view hugging_face;
  absl::string_view gguf;
};

constexpr NamePair kModelNames[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
};

constexpr NamePair kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

// "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight"; nothing for a
// name outside these architectures.
std::optional<std::string> GgufName(absl::string_view name) {
  absl::string_view suffix;
  for (const absl::string_view known : {".weight", ".bias"}) {
    if (absl::ConsumeSuffix(&name, known)) suffix = known;
  }
  if (suffix.empty()) return std::nullopt;
  for (const NamePair& pair : kModelNames) {
    if (name == pair.hugging_face) return absl::StrCat(pair.gguf, suffix);
  }
  if (!absl::ConsumePrefix(&name, "model.layers.")) return std::nullopt;
  const size_t dot = name.find('.');
  if (dot == absl::string_view::npos) return std::nullopt;
  const absl::string_view layer = name.substr(0, dot);
  for (const NamePair& pair : kLayerNames) {
    if (name.substr(dot + 1) == pair.hugging_face) {
      return absl::StrCat("blk.", layer, ".", pair.gguf, suffix);
    }
  }
  return std::nullopt;
}

// Where row `row` of a Hugging Face matrix lies in the file. llama.cpp rotates
// neighbours in arch llama, Hugging Face the halves of a head: the converter
// has interleaved the halves.
int64_t InterleavedRow(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim;
  const int64_t in_head = row % head_dim;
  const int64_t half = in_head / (head_dim / 2);
  const int64_t pair = in_head % (head_dim / 2);
  return head * head_dim + 2 * pair + half;
}

class GgufSource : public TensorSource {
 public:
  // `head_dim` is 0 where rows of q and k are in Hugging Face's order.
  GgufSource(GgufFile gguf, int64_t head_dim)
      : gguf_(std::move(gguf)), head_dim_(head_dim) {}

  bool Has(absl::string_view name) const override {
    return Find(name) != nullptr;
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const std::string& file = gguf_.file().path();
    const GgufTensor* stored = Find(name);
    if (stored == nullptr) {
      return absl::NotFoundError(absl::StrCat(file, ": tensor ", Names(name),
                                              " ", ShapeText(shape),
                                              " is missing"));
    }
    const auto error = [&](absl::string_view expected,
                           absl::string_view found) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": tensor ", Names(name), ": expected ", expected,
                       ", found ", found));
    };
    if (absl::MakeConstSpan(stored->shape) != shape) {
      return error(absl::StrCat("shape ", ShapeText(shape)),
                   ShapeText(stored->shape));
    }
    const GgmlType& type = *stored->type;
    if (!type.dtype && type.dequantize == nullptr) {
      return error(
          "type F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K or Q6_K",
          type.name);
    }
    const bool interleaved =
        head_dim_ != 0 && (absl::StrContains(name, ".self_attn.q_proj.") ||
                           absl::StrContains(name, ".self_attn.k_proj."));
    if (interleaved && shape[0] % head_dim_ != 0) {
      return error(absl::StrCat("rows a multiple of head_dim ", head_dim_),
                   ShapeText(shape));
    }
    if (type.dtype && !interleaved) {
      return TensorOverBytes(name, *type.dtype, shape, stored->bytes,
                             gguf_.file().Hold(stored->bytes));
    }
    return Convert(name, *stored, interleaved);
  }

 private:
  // Dequantizes, and brings rows into Hugging Face's order.
  absl::StatusOr<Tensor> Convert(absl::string_view name,
                                 const GgufTensor& stored,
                                 bool interleaved) const {
    const GgmlType& type = *stored.type;
    // The elements of a vector (a bias) are its rows.
    const bool is_vector = stored.shape.size() == 1;
    const int64_t num_rows = interleaved || !is_vector ? stored.shape[0] : 1;
    const int64_t blocks =
        static_cast<int64_t>(stored.bytes.size()) / type.block_bytes;
    const int64_t row_blocks = blocks / num_rows;
    if (row_blocks * num_rows != blocks) {
      return absl::InvalidArgumentError(
          absl::StrCat(gguf_.file().path(), ": tensor ", Names(name),
                       ": expected rows of whole blocks, found ", type.name,
                       " ", ShapeText(stored.shape)));
    }
    const DType dtype = type.dtype.value_or(DType::kF32);
    const size_t out_row_bytes =
        static_cast<size_t>(row_blocks * type.block_elements) *
        DTypeSize(dtype);
    const size_t in_row_bytes =
        static_cast<size_t>(row_blocks * type.block_bytes);
    std::shared_ptr<uint8_t[]> buffer =
        NewTensorBuffer(static_cast<size_t>(num_rows) * out_row_bytes);
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          gguf_.file().path(), ": tensor ", Names(name), ": no memory for ",
          static_cast<size_t>(num_rows) * out_row_bytes, " bytes"));
    }
    const std::shared_ptr<const void> hold = gguf_.file().Hold(stored.bytes);
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t from = interleaved ? InterleavedRow(row, head_dim_) : row;
      const uint8_t* in =
          stored.bytes.data() + static_cast<size_t>(from) * in_row_bytes;
      uint8_t* out = buffer.get() + static_cast<size_t>(row) * out_row_bytes;
      if (type.dequantize == nullptr) {
        std::memcpy(out, in, in_row_bytes);
        continue;
      }
      float* floats = reinterpret_cast<float*>(out);
      for (int64_t block = 0; block < row_blocks; ++block) {
        type.dequantize(in + block * type.block_bytes,
                        floats + block * type.block_elements);
      }
    }
    const uint8_t* data = buffer.get();
    return Tensor{std::string(name), dtype, stored.shape, data,
                  std::move(buffer)};
  }

  const GgufTensor* Find(absl::string_view name) const {
    const std::optional<std::string> gguf_name = GgufName(name);
    return gguf_name ? gguf_.FindTensor(*gguf_name) : nullptr;
  }

  // Both names, for messages.
  static std::string Names(absl::string_view name) {
    const std::optional<std::string> gguf_name = GgufName(name);
    return gguf_name ? absl::StrCat(NameText(*gguf_name), " (", name, ")")
                     : NameText(name);
  }

  const GgufFile gguf_;
  const int64_t head_dim_;
};

}  // namespace

absl::StatusOr<GgufModel> OpenGguf(absl::string_view path) {
  absl::StatusOr<GgufFile> gguf = GgufFile::Open(path);
  if (!gguf.ok()) return gguf.status();
  absl::StatusOr<ModelConfig> config = ReadGgufConfig(*gguf);
  if (!config.ok()) return config.status();
  GgufModel model;
  model.config = *std::move(config);
  const bool interleaved = model.config.architecture == Architecture::kLlama;
  model.tensors = std::make_unique<GgufSource>(
      *std::move(gguf), interleaved ? model.config.head_dim : 0);
  return model;
}

}  // namespace ulpscope
