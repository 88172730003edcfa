#ifndef KERNELS_OPS_PANELS_H_
#define KERNELS_OPS_PANELS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/stored_type.h"

namespace ulpscope {

// An n x k matrix B as MatMul reads it: panels of 32 rows of B, and within a
// panel k groups of 32 neighbours, so that neighbouring lanes are neighbouring
// outputs:
//   B[j][i] is element (j / 32) * panel_stride + i * 32 + j % 32.
// The rows that fill up the last panel are zero. A B of blocks is kept in
// panels of blocks instead (PackBlocks), and computed with as if it were f32.
struct PanelsView {
  DType dtype = DType::kF32;  // F32 of blocks
  const void* data = nullptr;
  size_t n = 0;
  size_t k = 0;
  size_t panel_stride = 0;            // elements; bytes of blocks
  const BlockType* blocks = nullptr;  // or null
  // Whether B is made of activations, as keys and values are, which engines
  // quantise as they do A.
  bool activations = false;
  // Of the whole matrix of which this is a part; null: this is the whole.
  const class LargestMagnitude* largest = nullptr;

  size_t panel_bytes() const {
    return blocks != nullptr ? panel_stride : panel_stride * DTypeSize(dtype);
  }
  StoredType type() const {
    return blocks != nullptr ? StoredType(*blocks) : StoredType(dtype);
  }
  // "BF16", "Q4_K".
  absl::string_view type_name() const { return type().name(); }
};

// The largest |value| of a matrix, computed when first asked for: NaN if one is
// not finite. Safe from several threads.
class LargestMagnitude {
 public:
  explicit LargestMagnitude(const PanelsView& whole) : whole_(whole) {}
  double Get() const;

 private:
  PanelsView whole_;
  mutable std::once_flag once_;
  mutable double value_ = 0;
};

// That of the whole matrix of which the view is a part.
double LargestMagnitudeOf(const PanelsView& view);

// Called on the way by the thread that packs, when that many of the n rows are
// done; false ends it, Cancelled. Null is nobody.
using PackWatch = std::function<bool(size_t)>;

// Owns a matrix in that layout, in the type that it was stored in.
class Panels {
 public:
  Panels() = default;

  // From row-major [n][k], `data` aligned to its element. ResourceExhausted,
  // with the size, if there is no memory for them.
  static absl::StatusOr<Panels> Pack(DType dtype, const void* data, size_t n,
                                     size_t k, Parallel& parallel,
                                     const PackWatch& watch = nullptr);
  // The same, which throws bad_alloc instead, as AllocateAlignedBytes does.
  Panels(DType dtype, const void* data, size_t n, size_t k, Parallel& parallel);

  // From n rows of k / elements blocks each, as files have them; k is a
  // multiple of the type's elements.
  static absl::StatusOr<Panels> Pack(const BlockType& type, const void* data,
                                     size_t n, size_t k, Parallel& parallel,
                                     const PackWatch& watch = nullptr);

  PanelsView view() const { return view_; }
  size_t bytes() const { return bytes_; }

  // Row j of B, widened: k values.
  void CopyRow(size_t j, double* row) const;

 private:
  Panels(DType dtype, const BlockType* blocks, size_t n, size_t k);
  // Allocates, and fills what it has allocated.
  absl::Status TryFill(const void* data, Parallel& parallel,
                       const PackWatch& watch);
  // Whether the watch let it end.
  bool Fill(AlignedBytes storage, const void* data, Parallel& parallel,
            const PackWatch& watch);
  // Panels [first, last).
  void FillPanels(const void* data, size_t first, size_t last,
                  Parallel& parallel);
  void FillBlocks(const uint8_t* data, size_t panel);
  void CopyRowOfBlocks(size_t j, double* row) const;

  PanelsView view_;
  size_t bytes_ = 0;
  AlignedBytes storage_;
  std::unique_ptr<LargestMagnitude> largest_;
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_PANELS_H_
