#ifndef KERNELS_OPS_PANELS_H_
#define KERNELS_OPS_PANELS_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"

namespace ulpscope {

// Outputs per panel. 32 bf16 fill a cache line; every target's vectors of f32
// and f64 divide it.
inline constexpr size_t kPanelWidth = 32;

// An n x k matrix B as MatMul reads it: panels of 32 rows of B, and within a
// panel k groups of 32 neighbours, so that neighbouring lanes are neighbouring
// outputs:
//   B[j][i] is element (j / 32) * panel_stride + i * 32 + j % 32.
// The rows that fill up the last panel are zero.
struct PanelsView {
  DType dtype = DType::kF32;
  const void* data = nullptr;
  size_t n = 0;
  size_t k = 0;
  size_t panel_stride = 0;  // elements
};

// Owns a matrix in that layout, in the type that it was stored in.
class Panels {
 public:
  Panels() = default;

  // From row-major [n][k], `data` aligned to its element. ResourceExhausted,
  // with the size, if there is no memory for them.
  static absl::StatusOr<Panels> Pack(DType dtype, const void* data, size_t n,
                                     size_t k, Parallel& parallel);
  // The same, which throws bad_alloc instead, as AllocateAlignedBytes does.
  Panels(DType dtype, const void* data, size_t n, size_t k, Parallel& parallel);

  PanelsView view() const { return view_; }
  size_t bytes() const { return bytes_; }

  // Row j of B, widened: k values.
  void CopyRow(size_t j, double* row) const;

 private:
  Panels(DType dtype, size_t n, size_t k);
  void Fill(AlignedBytes storage, const void* data, Parallel& parallel);

  PanelsView view_;
  size_t bytes_ = 0;
  AlignedBytes storage_;
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_PANELS_H_
