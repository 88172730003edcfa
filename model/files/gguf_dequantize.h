#ifndef MODEL_FILES_GGUF_DEQUANTIZE_H_
#define MODEL_FILES_GGUF_DEQUANTIZE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/tensor.h"

namespace ulpscope {

// How ggml stores a tensor's elements: blocks of a fixed number of elements
// and bytes. A type is plain (`dtype` set), quantized (`dequantize` set), or,
// with neither, one whose size is known but which cannot be computed with.
struct GgmlType {
  uint32_t id;  // in the file
  absl::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
  std::optional<DType> dtype;
  // One block to block_elements floats, with the bits of ggml's own
  // dequantize_row_*: each product and each sum rounds once to f32.
  void (*dequantize)(const uint8_t* block, float* out);
};

// Null if `id` is unknown.
const GgmlType* FindGgmlType(uint32_t id);

// All known types.
absl::Span<const GgmlType> GgmlTypes();

}  // namespace ulpscope

#endif  // MODEL_FILES_GGUF_DEQUANTIZE_H_
