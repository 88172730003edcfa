#include "model/decoder/variant_ops.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "hwy/base.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/rounding.h"
#include "model/architecture/variant.h"
#include "model/decoder/layer_ops.h"

namespace ulpscope {
namespace {

// An elementwise strategy between operands and results of this format: RoundRow
// under it rounds to the format. Every format that a strategy reads or writes
// has one.
Strategy RounderTo(Format format) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const StrategyInfo& info = Strategies()[i];
    if (Strategy(i).Takes(Kernel::kElementwise) && info.operand == format &&
        info.result == format) {
      return Strategy(i);
    }
  }
  HWY_ABORT("no elementwise strategy rounds to the format");
}

double Activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
    case Activation::kGeluTanh: {
      constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
      const double inner = kSqrtTwoOverPi * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1 + std::tanh(inner));
    }
  }
  return x;
}

// From 0 1 2 3 4 5 to 0 2 4 1 3 5, and back.
void NeighboursToHalves(const std::vector<double>& from, double* to) {
  const size_t half = from.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    to[i] = from[2 * i];
    to[half + i] = from[2 * i + 1];
  }
}

void HalvesToNeighbours(const std::vector<double>& from, double* to) {
  const size_t half = from.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    to[2 * i] = from[i];
    to[2 * i + 1] = from[half + i];
  }
}

// The weight of a norm of heads in the order of what it multiplies.
std::vector<double> Ordered(const std::vector<int32_t>& rows,
                            const std::vector<double>& weight) {
  const std::vector<int32_t> order = OrderOfHeads(rows, weight.size());
  if (order.empty()) return weight;
  std::vector<double> ordered;
  for (const int32_t row : order) {
    ordered.push_back(weight[static_cast<size_t>(row)]);
  }
  return ordered;
}

}  // namespace

void VariantNorm(Strategy strategy, const Variant& variant, const NormInput& in,
                 const std::vector<double>& stored_weight, double eps,
                 Matrix<double> y, Parallel& parallel) {
  const Matrix<const double> x = in.x;
  const std::vector<double> weight = Ordered(
      variant.q_rows.empty() ? variant.k_rows : variant.q_rows, stored_weight);
  if (variant.norm_eps >= 0) eps = variant.norm_eps;
  const Format result = strategy.info().result;
  const bool cast_once = variant.norm_weight_before_cast &&
                         UnitRoundoff(result) > UnitRoundoff(Format::kF32);
  if (!cast_once && !variant.norm_weight_plus_one) {
    NormRows(strategy, in, weight, eps, y, parallel);
    return;
  }
  std::vector<double> w = weight;
  const Strategy operand = RounderTo(strategy.info().operand);
  RoundRow(operand, weight.data(), w.size(), w.data());
  if (variant.norm_weight_plus_one) {
    for (double& value : w) value += 1;
  }
  if (!cast_once) {
    NormRows(strategy, in, w, eps, y, parallel);
    return;
  }
  for (size_t r = 0; r < x.rows; ++r) {
    RoundRow(operand, x.Row(r), x.cols, y.Row(r));
  }
  NormRows(RounderTo(Format::kF32), {y}, w, eps, y, parallel);
  for (size_t r = 0; r < y.rows; ++r) {
    const std::vector<double> row(y.Row(r), y.Row(r) + y.cols);
    RoundRow(RounderTo(result), row.data(), y.cols, y.Row(r));
  }
}

void VariantRotate(Strategy strategy, const Variant& variant,
                   const RopeAngles& angles, size_t i, Matrix<double> heads) {
  if (variant.rope_pairs == RopePairs::kHalves) {
    angles.Rotate(strategy, i, heads);
    return;
  }
  std::vector<double> head;
  for (size_t h = 0; h < heads.rows; ++h) {
    head.assign(heads.Row(h), heads.Row(h) + heads.cols);
    NeighboursToHalves(head, heads.Row(h));
  }
  angles.Rotate(strategy, i, heads);
  for (size_t h = 0; h < heads.rows; ++h) {
    head.assign(heads.Row(h), heads.Row(h) + heads.cols);
    HalvesToNeighbours(head, heads.Row(h));
  }
}

void VariantSwiGlu(Strategy strategy, const Variant& variant,
                   Matrix<const double> gate, Matrix<const double> up,
                   Matrix<double> y, Parallel& parallel) {
  const bool swapped = variant.gate_and_up_swapped;
  const Matrix<const double> g = swapped ? up : gate;
  const Matrix<const double> u = swapped ? gate : up;
  if (variant.activation == Activation::kSilu) {
    SwiGlu(strategy, g, u, y, parallel);
    return;
  }
  const Strategy operand = RounderTo(strategy.info().operand);
  const Strategy result = RounderTo(strategy.info().result);
  const size_t n = y.cols;
  parallel.For(y.rows, [&](size_t r) {
    std::vector<double> x(n), factor(n), product(n);
    RoundRow(operand, g.Row(r), n, x.data());
    for (double& value : x) value = Activate(variant.activation, value);
    RoundRow(result, x.data(), n, factor.data());
    RoundRow(operand, u.Row(r), n, x.data());
    // Exact but under oracle: other factors have at most 24 bits.
    for (size_t i = 0; i < n; ++i) product[i] = factor[i] * x[i];
    RoundRow(result, product.data(), n, y.Row(r));
  });
}

void Hide(const KeyMask& mask, size_t position, Matrix<double> scores) {
  if (mask.LeavesNothing(position) && mask.unseeing == Unseeing::kUniform) {
    for (size_t h = 0; h < scores.rows; ++h) {
      std::fill_n(scores.Row(h), scores.cols, 0.0);
    }
    return;
  }
  const size_t first = mask.First(position, scores.cols);
  for (size_t h = 0; h < scores.rows; ++h) {
    std::fill_n(scores.Row(h), first, -std::numeric_limits<double>::infinity());
  }
}

void OrderColumns(const std::vector<int32_t>& rows, Matrix<double> y) {
  std::vector<double> row;
  for (size_t r = 0; r < y.rows; ++r) {
    row.assign(y.Row(r), y.Row(r) + y.cols);
    for (size_t i = 0; i < y.cols; ++i) {
      y.Row(r)[i] = row[static_cast<size_t>(rows[i])];
    }
  }
}

std::vector<int32_t> OrderOfHeads(const std::vector<int32_t>& rows,
                                  size_t head_dim) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const int32_t head = static_cast<int32_t>(i / head_dim * head_dim);
    const int32_t in_head = rows[i] - head;
    if (in_head < 0 || in_head >= static_cast<int32_t>(head_dim) ||
        in_head != rows[i % head_dim]) {
      return {};
    }
  }
  return {rows.begin(), rows.begin() + static_cast<ptrdiff_t>(
                                           std::min(head_dim, rows.size()))};
}

void ScaleProduct(Strategy strategy, double factor, const double* bias,
                  Matrix<double> y) {
  const Strategy result = RounderTo(strategy.info().result);
  for (size_t r = 0; r < y.rows; ++r) {
    double* const row = y.Row(r);
    for (size_t i = 0; i < y.cols; ++i) {
      row[i] = row[i] * factor + (bias == nullptr ? 0 : bias[i]);
    }
    RoundRow(result, row, y.cols, row);
  }
}

void VariantLogits(Strategy strategy, const Variant& variant,
                   Matrix<double> logits, Parallel& parallel) {
  const Strategy result = RounderTo(strategy.info().result);
  const double scale = variant.logits_scale;
  const double cap = variant.logits_cap;
  if (scale == 1 && cap == 0 && !variant.log_softmax) return;
  parallel.For(logits.rows, [&](size_t r) {
    double* const row = logits.Row(r);
    const size_t n = logits.cols;
    const auto each = [&](const auto& f) {
      for (size_t i = 0; i < n; ++i) row[i] = f(row[i]);
      RoundRow(result, row, n, row);
    };
    if (scale != 1) each([scale](double x) { return scale * x; });
    if (cap != 0) {
      each([cap](double x) { return x / cap; });
      each([](double x) { return std::tanh(x); });
      each([cap](double x) { return cap * x; });
    }
    if (!variant.log_softmax) return;
    const double most = *std::max_element(row, row + n);
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::exp(row[i] - most);
    const double log_sum = most + std::log(sum);
    each([log_sum](double x) { return x - log_sum; });
  });
}

void SoftmaxInF16(Strategy strategy, Matrix<double> scores) {
  const Strategy result = RounderTo(strategy.info().result);
  std::vector<double> row(scores.cols);
  for (size_t r = 0; r < scores.rows; ++r) {
    double sum = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const double score = RoundedToF16(scores.Row(r)[i]);
      row[i] = RoundedToF16(std::exp(score));
      sum = RoundedToF16(sum + row[i]);
    }
    for (double& value : row) value = RoundedToF16(value / sum);
    RoundRow(result, row.data(), row.size(), scores.Row(r));
  }
}

}  // namespace ulpscope
