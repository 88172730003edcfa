#ifndef BENCHMARKS_WEIGHTS_H_
#define BENCHMARKS_WEIGHTS_H_

#include <cstddef>
#include <map>
#include <vector>

#include "absl/strings/string_view.h"
#include "benchmarks/shapes.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/panels.h"
#include "kernels/tune/matmul_check.h"

namespace ulpscope {

// The weights of one shape in the forms that kernels read, each made on first
// use: the large ones take seconds and gigabytes.
class Weights {
 public:
  explicit Weights(const MatMulShape& shape);

  const MatMulShape& shape() const { return shape_; }
  const std::vector<hwy::bfloat16_t>& row_major() const { return row_major_; }

  // What C = A B^T is to be, at some 256 places.
  MatMulCheck Check(Matrix<const double> a) const;

  // `copies` of the panels, in bf16 or f32.
  std::vector<PanelsView> PanelCopies(DType dtype, size_t copies,
                                      Parallel& parallel);

  // `copies` of other weights: random blocks.
  std::vector<PanelsView> BlockCopies(const BlockType& type, size_t copies,
                                      Parallel& parallel);
  // What those are to make.
  MatMulCheck BlocksCheck(const BlockType& type, Matrix<const double> a) const;

  // `copies` of the row-major matrix in f32.
  std::vector<Matrix<const float>> WideCopies(size_t copies);

 private:
  // One wide copy, if there is none.
  void Widen();

  MatMulShape shape_;
  std::vector<hwy::bfloat16_t> row_major_;
  std::vector<Panels> bf16_, f32_;
  std::map<absl::string_view, std::vector<Panels>> blocks_;  // by type
  std::vector<AlignedBytes> wide_;
};

// The weights of the shape that was asked for last are kept: benchmarks of a
// shape follow each other.
Weights& WeightsOf(const MatMulShape& shape);

}  // namespace ulpscope

#endif  // BENCHMARKS_WEIGHTS_H_
