// A GGUF file, as a model: every value and tensor is read, and a model small
// enough says its next token.

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kernels/base/parallel.h"
#include "model/checkpoint/checkpoint.h"
#include "model/files/gguf_array.h"
#include "model/files/gguf_file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_model.h"

namespace ulpscope {
namespace {

void Read(const GgufFile& gguf) {
  for (const auto& [name, tensor] : gguf.tensors()) {
    ReadBytes(tensor.bytes.data(), tensor.bytes.size());
  }
  for (const absl::string_view key :
       {"general.architecture", "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type", "tokenizer.ggml.merges"}) {
    const GgufValue* const value = gguf.FindValue(key);
    if (value == nullptr) continue;
    if (const auto* text = std::get_if<absl::string_view>(value)) {
      ReadBytes(text->data(), text->size());
    }
    const auto* const array = std::get_if<GgufArray>(value);
    if (array == nullptr) continue;
    GgufIntegers(*array);
    const auto texts = GgufStrings(*array);
    if (!texts.has_value()) continue;
    Require(texts->size() == array->count, "strings are missing");
    for (const absl::string_view text : *texts) {
      ReadBytes(text.data(), text.size());
    }
  }
}

void Open(const std::string& path) {
  const auto gguf = GgufFile::Open(path);
  const auto model = OpenCheckpoint(path);
  if (!gguf.ok()) {
    RequireNames(gguf.status(), path);
    return Require(!model.ok(), "a model without its file");
  }
  Read(*gguf);
  if (!model.ok()) return RequireNames(model.status(), path);
  UseModel(*model, path);
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("model.gguf");
  Open(file.With(input));
}

}  // namespace ulpscope
