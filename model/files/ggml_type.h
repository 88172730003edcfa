#ifndef MODEL_FILES_GGML_TYPE_H_
#define MODEL_FILES_GGML_TYPE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"

namespace ulpscope {

// How ggml stores a tensor's elements: blocks of a fixed number of elements
// and bytes. A type is plain (`dtype` set), of blocks that can be computed with
// (blocks() is not null), or, with neither, one whose size alone is known.
struct GgmlType {
  uint32_t id;  // in the file
  absl::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
  std::optional<DType> dtype;

  const BlockType* blocks() const { return FindBlockType(name); }
  bool is_known() const { return dtype.has_value() || blocks() != nullptr; }
};

// Null if `id` is unknown.
const GgmlType* FindGgmlType(uint32_t id);

// All known types.
absl::Span<const GgmlType> GgmlTypes();

}  // namespace ulpscope

#endif  // MODEL_FILES_GGML_TYPE_H_
