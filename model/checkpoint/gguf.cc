#include "model/checkpoint/gguf.h"

#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "model/checkpoint/gguf_config.h"
#include "model/files/ggml_type.h"
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

  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> /*shape*/) const override {
    const GgufTensor* const stored = Find(name);
    return stored != nullptr ? stored->bytes.size() : 0;
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const GgufTensor* stored = Find(name);
    if (stored == nullptr) {
      return absl::NotFoundError(absl::StrCat(gguf_.file().path(), ": tensor ",
                                              Names(name), " ",
                                              ShapeText(shape), " is missing"));
    }
    used_.insert(*GgufName(name));
    const std::string& file = stored->file->path();
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
    if (!type.is_known()) {
      return error(absl::StrCat("type ", KnownTypes()), type.name);
    }
    const bool interleaved =
        head_dim_ != 0 && (absl::StrContains(name, ".self_attn.q_proj.") ||
                           absl::StrContains(name, ".self_attn.k_proj."));
    if (interleaved && shape[0] % head_dim_ != 0) {
      return error(absl::StrCat("rows a multiple of head_dim ", head_dim_),
                   ShapeText(shape));
    }
    absl::StatusOr<Tensor> tensor = AsStored(name, *stored, interleaved);
    // A vector is read element by element.
    return tensor.ok() && shape.size() == 1 ? Dequantized(*std::move(tensor))
                                            : std::move(tensor);
  }

  absl::Status CheckUnchanged() const override {
    absl::Status status = gguf_.file().CheckUnchanged();
    std::set<const MappedFile*> files;
    for (const auto& [name, tensor] : gguf_.tensors()) {
      files.insert(tensor.file.get());
    }
    for (const MappedFile* file : files) status.Update(file->CheckUnchanged());
    return status;
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : gguf_.tensors()) {
      // What ReadGgufConfig reads.
      if (used_.count(name) == 0 && name != "rope_freqs.weight") {
        names.push_back(name);
      }
    }
    return names;
  }

 private:
  // "F32, F16, Q4_0": what can be computed with.
  static std::string KnownTypes() {
    std::vector<absl::string_view> names;
    for (const GgmlType& type : GgmlTypes()) {
      if (type.is_known()) names.push_back(type.name);
    }
    return absl::StrJoin(names, ", ");
  }

  absl::StatusOr<Tensor> AsStored(absl::string_view name,
                                  const GgufTensor& stored,
                                  bool interleaved) const {
    const GgmlType& type = *stored.type;
    const DType dtype = type.dtype.value_or(DType::kF32);
    const std::shared_ptr<const void> hold = stored.file->Hold(stored.bytes);
    if (type.dtype && !interleaved) {
      return TensorOverBytes(name, dtype, stored.shape, stored.bytes, hold);
    }
    Tensor tensor{std::string(name),   dtype, stored.shape,
                  stored.bytes.data(), hold,  type.blocks()};
    if (!interleaved) return tensor;
    // Rows in Hugging Face's order; the elements of a vector (a bias) are its
    // rows.
    const int64_t num_rows = stored.shape[0];
    const size_t row_bytes =
        stored.bytes.size() / static_cast<size_t>(num_rows);
    if (stored.shape.size() == 1 && tensor.blocks != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(gguf_.file().path(), ": tensor ", Names(name),
                       ": expected rows of whole blocks, found ", type.name,
                       " ", ShapeText(stored.shape)));
    }
    std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(stored.bytes.size());
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat(gguf_.file().path(), ": tensor ", Names(name),
                       ": no memory for ", stored.bytes.size(), " bytes"));
    }
    for (int64_t row = 0; row < num_rows; ++row) {
      const auto from = static_cast<size_t>(InterleavedRow(row, head_dim_));
      std::memcpy(buffer.get() + static_cast<size_t>(row) * row_bytes,
                  stored.bytes.data() + from * row_bytes, row_bytes);
    }
    tensor.data = buffer.get();
    tensor.owner = std::move(buffer);
    return tensor;
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
  std::set<std::string> used_;  // in the file's spelling
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
