// A .safetensors file, as weights: everything that can be loaded is.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "model/checkpoint/safetensors.h"
#include "model/files/safetensors_file.h"
#include "model/files/tensor.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

constexpr size_t kMostElements = 1 << 16;

void Load(TensorSource& source, absl::string_view name,
          const std::vector<int64_t>& shape, const std::string& path) {
  const auto tensor = source.Load(name, shape);
  if (!tensor.ok()) return RequireNames(tensor.status(), path);
  Require(tensor->shape == shape, "a tensor has another shape");
  ReadBytes(tensor->data, tensor->bytes());
  if (tensor->elements() > kMostElements) return;
  const auto widened = Dequantized(*tensor);
  if (widened.ok()) ReadBytes(widened->data, widened->bytes());
}

void Open(const std::string& path) {
  const auto entries = ReadSafetensorsFile(path);
  const auto source = OpenSafetensors(path);
  Require(entries.ok() == source.ok(), "the two readers disagree");
  if (!entries.ok()) return RequireNames(entries.status(), path);
  for (const auto& [name, entry] : *entries) {
    ReadBytes(entry.bytes.data(), entry.bytes.size());
    (*source)->StoredBytes(name, entry.shape);
    Load(**source, name, entry.shape, path);
    std::vector<int64_t> other = entry.shape;
    other.push_back(1);
    Load(**source, name, other, path);
  }
  // Names that files have under others, or as rows of one matrix.
  for (const absl::string_view name :
       {"model.embed_tokens.weight", "lm_head.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.mlp.up_proj.weight"}) {
    const std::vector<int64_t> shape = {2, 4};
    if ((*source)->Has(name)) (*source)->StoredBytes(name, shape);
    Load(**source, name, shape, path);
  }
  for (const std::string& name : (*source)->Unused()) {
    Require(entries->count(name) == 1, "an unused tensor is none");
  }
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("model.safetensors");
  Open(file.With(input));
}

}  // namespace ulpscope
