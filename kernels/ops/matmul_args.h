#ifndef KERNELS_OPS_MATMUL_ARGS_H_
#define KERNELS_OPS_MATMUL_ARGS_H_

#include <cstddef>

#include "kernels/base/matrix.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {

// From this many rows on, panels are widened once into a buffer, and not in
// registers by every tile of rows; a tuning then divides other things. (Fewer
// rows do so too where nothing is widened, as in attention, or B is of blocks.)
inline constexpr size_t kBlockedRows = 8;

// C = (A B^T + bias) * scale, A m x k, B n x k in panels, C m x n. m, n, k
// >= 1.
struct MatMulArgs {
  Matrix<const double> a;
  PanelsView b;
  const double* bias = nullptr;  // n values, or null
  double scale = 1;
  Matrix<double> c;  // must not overlap a
  // Whether C keeps the sums as the accumulators have them, f32 or f64, rather
  // than rounded to the strategy's format: what a fused kernel goes on with.
  bool unrounded = false;
  // Null: what the Parallel knows of this shape.
  const MatMulTuning* tuning = nullptr;
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_ARGS_H_
