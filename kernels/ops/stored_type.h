#ifndef KERNELS_OPS_STORED_TYPE_H_
#define KERNELS_OPS_STORED_TYPE_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"

namespace ulpscope {

// What a matrix is stored in: elements of a DType, or blocks.
struct StoredType {
  DType dtype = DType::kF32;          // F32 of blocks, which stand for it
  const BlockType* blocks = nullptr;  // of BlockTypes(); or null

  StoredType() = default;
  // Both are what is meant wherever a stored type is expected.
  StoredType(DType dtype_in) : dtype(dtype_in) {}                 // NOLINT
  StoredType(const BlockType& blocks_in) : blocks(&blocks_in) {}  // NOLINT

  // "BF16", "Q4_K".
  absl::string_view name() const {
    return blocks != nullptr ? blocks->name : DTypeName(dtype);
  }

  friend bool operator==(const StoredType& a, const StoredType& b) {
    return a.dtype == b.dtype && a.blocks == b.blocks;
  }
  friend bool operator<(const StoredType& a, const StoredType& b) {
    if (a.blocks != b.blocks) {
      return std::less<const BlockType*>()(a.blocks, b.blocks);
    }
    return a.dtype < b.dtype;
  }
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_STORED_TYPE_H_
