#ifndef KERNELS_TUNE_MATMUL_CHECK_H_
#define KERNELS_TUNE_MATMUL_CHECK_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/base/matrix.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Whether operands are rounded to the strategy's operand format and no further,
// so that its bound is of any operands of that format. What engines quantise is
// held to models of them by tests instead.
bool BoundsAnyOperands(Strategy strategy);

// Judges outputs of C = A B^T without bias and scale against plain f64 sums,
// at places that are spread over C.
class MatMulCheck {
 public:
  // The sums of some `count` outputs; of all, if C has no more. What A and B
  // hold must be representable in the operand format of every strategy that is
  // judged. copy_row(j, row) writes the a.cols values of row j of B, which has
  // n.
  MatMulCheck(Matrix<const double> a, size_t n,
              absl::FunctionRef<void(size_t, double*)> copy_row, size_t count);
  MatMulCheck(Matrix<const double> a, const Panels& b, size_t count)
      : MatMulCheck(
            a, b.view().n, [&b](size_t j, double* row) { b.CopyRow(j, row); },
            count) {}

  // The largest |computed - f64| over the strategy's error bound (and f64's
  // own): more than 1 is wrong. Infinite where a result is NaN.
  double WorstOverBound(Strategy strategy, Matrix<const double> c) const;

 private:
  struct Place {
    size_t row, col;
    double sum;
    SumTerms terms;
  };
  std::vector<Place> places_;
};

}  // namespace ulpscope

#endif  // KERNELS_TUNE_MATMUL_CHECK_H_
