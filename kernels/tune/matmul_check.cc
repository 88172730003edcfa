#include "kernels/tune/matmul_check.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/engine.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

bool BoundsAnyOperands(Strategy strategy) {
  const Engine* const engine = strategy.info().engine;
  return engine == nullptr || engine->quantizer == Quantizer::kNone ||
         engine->quantizer == Quantizer::kBF16 ||
         engine->quantizer == Quantizer::kF16;
}

MatMulCheck::MatMulCheck(Matrix<const double> a, size_t n,
                         absl::FunctionRef<void(size_t, double*)> copy_row,
                         size_t count) {
  std::vector<double> weights(a.cols);
  // A fraction of the columns, the last among them, and in each of those the
  // rows of a diagonal, so that all rows have their turn.
  const size_t per_column = std::max<size_t>(1, std::min(a.rows, count / 16));
  const size_t columns = std::min(n, std::max<size_t>(1, count / per_column));
  for (size_t c = 0; c < columns; ++c) {
    const size_t col = n - 1 - c * n / columns;
    copy_row(col, weights.data());
    for (size_t r = 0; r < per_column; ++r) {
      Place place;
      place.row = (c + r * a.rows / per_column) % a.rows;
      place.col = col;
      place.sum = 0;
      const double* row = a.Row(place.row);
      for (size_t i = 0; i < a.cols; ++i) {
        place.sum += row[i] * weights[i];
        place.terms.abs_terms += std::fabs(row[i] * weights[i]);
      }
      place.terms.n = a.cols;
      place.terms.abs_result = std::fabs(place.sum);
      places_.push_back(place);
    }
  }
}

double MatMulCheck::WorstOverBound(Strategy strategy,
                                   Matrix<const double> c) const {
  double worst = 0;
  for (const Place& place : places_) {
    // The f64 sum has an error of its own.
    const double bound =
        strategy.info().error_bound(place.terms) +
        Gamma(static_cast<double>(place.terms.n), UnitRoundoff(Format::kF64)) *
            place.terms.abs_terms;
    const double error = std::fabs(c.Row(place.row)[place.col] - place.sum);
    if (error == 0) continue;
    if (!(error <= std::numeric_limits<double>::max())) {
      return std::numeric_limits<double>::infinity();
    }
    worst = std::max(worst, error / bound);
  }
  return worst;
}

}  // namespace ulpscope
