#include "tests/kernels/strategy/engine_models.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/log/check.h"
#include "kernels/measure/exact.h"

namespace ulpscope::engine_models {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// One operation on f32 numbers, or a sum of a few integers below 2^53.
double F32(double x) { return RoundToNearest(kF32, x); }

double FmaF32(double a, double b, double c) {
  return std::fma(static_cast<float>(a), static_cast<float>(b),
                  static_cast<float>(c));
}

std::vector<double> Rounded(const FloatFormat& format, Values x) {
  std::vector<double> rounded;
  for (const double value : x) {
    rounded.push_back(RoundToNearest(format, value));
  }
  return rounded;
}

// The aligned, truncated sum of terms, truncated again.
double AlignedSum(int aligned_bits, int result_bits,
                  const std::vector<Decomposed>& terms) {
  int largest = terms[0].exponent;
  for (const Decomposed& term : terms) {
    largest = std::max(largest, term.exponent);
  }
  int64_t total = 0;
  for (const Decomposed& term : terms) {
    // Far below the largest, ldexp may round or underflow: below 1, so to 0.
    total += static_cast<int64_t>(
        std::ldexp(term.significand, aligned_bits + term.exponent - largest));
  }
  CHECK_LT(std::abs(total), int64_t{1} << 53);
  const double sum =
      std::ldexp(static_cast<double>(total), largest - aligned_bits);
  // Adding +0 takes the sign from a sum that was truncated to -0.
  const double truncated =
      Truncate(result_bits, kF32.least_exponent, sum) + 0.0;
  if (std::fabs(truncated) < 0x1p128) return truncated;
  return std::copysign(kInfinity, truncated);
}

int ScaleExponent(double scale) { return std::ilogb(scale); }

}  // namespace

double TensorCoreStep(const TensorCore& core, const FloatFormat& format,
                      Values a, Values b, double c, int scale_exponent) {
  CHECK_EQ(a.size(), b.size());
  CHECK_LE(a.size(), core.products);
  std::vector<Decomposed> terms = {Decompose(kF32, c)};
  double non_finite = std::isfinite(c) ? 0 : c;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      non_finite += a[i] * b[i];
      continue;
    }
    const Decomposed x = Decompose(format, a[i]);
    const Decomposed y = Decompose(format, b[i]);
    terms.push_back({x.significand * y.significand,
                     x.exponent + y.exponent + scale_exponent});
  }
  if (non_finite != 0) return non_finite;  // NaN is not equal to 0 either
  return AlignedSum(core.aligned_bits, core.result_bits, terms);
}

namespace {

// Of operands that are numbers of `format`.
double SumOfGroups(const TensorCore& core, const FloatFormat& format, Values a,
                   Values b) {
  double c = 0;
  for (size_t i = 0; i < a.size(); i += core.products) {
    c = TensorCoreStep(core, format, a.subspan(i, core.products),
                       b.subspan(i, core.products), c);
  }
  return c;
}

// Products of 32 with scales that are powers of two.
double MxDot(const MxRow& a, const MxRow& b) {
  double c = 0;
  for (size_t i = 0; i < a.values.size(); i += 32) {
    const double a_scale = a.scales[i / 32];
    const double b_scale = b.scales[i / 32];
    if (std::isnan(a_scale) || std::isnan(b_scale)) return kNan;
    c = TensorCoreStep(kB200Fp8, a.element, Values(a.values).subspan(i, 32),
                       Values(b.values).subspan(i, 32), c,
                       ScaleExponent(a_scale) + ScaleExponent(b_scale));
  }
  return c;
}

}  // namespace

double TensorCoreDot(const TensorCore& core, const FloatFormat& format,
                     Values a, Values b) {
  return SumOfGroups(core, format, Rounded(format, a), Rounded(format, b));
}

double Tf32Dot(Values a, Values b) {
  std::vector<double> x, y;
  for (const double value : a) x.push_back(Truncate(10, -126, value));
  for (const double value : b) y.push_back(Truncate(10, -126, value));
  return SumOfGroups(kH100Tf32, kTf32, x, y);
}

double Fp8FastDot(Values a, Values b) {
  return TensorCoreDot(kH100Fp8, kE4m3, a, b);
}

double Fp8B200Dot(Values a, Values b) {
  return TensorCoreDot(kB200Fp8, kE4m3, a, b);
}

double Fp8RowScaledDot(const TensorCore& core, const Fp8Row& a,
                       const Fp8Row& b) {
  if (a.values.empty()) return 0;
  CHECK_EQ(a.scales.size(), 1u);
  CHECK_EQ(b.scales.size(), 1u);
  const double c = SumOfGroups(core, kE4m3, a.values, b.values);
  return F32(a.scales[0] * F32(b.scales[0] * c));
}

double Fp8PromotedDot(const Fp8Row& a, const Fp8Row& b) {
  CHECK_EQ(a.block, b.block);
  double sum = 0;
  for (size_t i = 0; i < a.values.size(); i += a.block) {
    const double c =
        SumOfGroups(kH100Fp8, kE4m3, Values(a.values).subspan(i, a.block),
                    Values(b.values).subspan(i, a.block));
    const double scale = F32(a.scales[i / a.block] * b.scales[i / a.block]);
    sum = FmaF32(c, scale, sum);
  }
  return sum;
}

double Fp8H100(Values a, ValueMatrix b, size_t j) {
  return Fp8PromotedDot(QuantizeFp8(a), QuantizeFp8Weights(b).Row(j));
}

double MxFp8Dot(const MxRow& a, const MxRow& b) { return MxDot(a, b); }

double MxFp8(Values a, Values b) {
  return MxFp8Dot(QuantizeMxFp8(a), QuantizeMxFp8(b));
}

double Fp4ScaledDot(Values a, Values a_scales, Values b, Values b_scales,
                    size_t block) {
  double c = 0;
  for (size_t step = 0; step < a.size(); step += 64) {
    std::vector<Decomposed> terms = {Decompose(kF32, c)};
    const size_t end = std::min(step + 64, a.size());
    for (size_t first = step; first < end; first += 16) {
      double sum = 0;  // exact: multiples of 1/4 up to 16 * 36
      for (size_t i = first; i < std::min(first + 16, end); ++i) {
        sum += a[i] * b[i];
      }
      const double a_scale = a_scales[first / block];
      const double b_scale = b_scales[first / block];
      if (std::isnan(a_scale) || std::isnan(b_scale)) return kNan;
      // Scales are powers of two or normal E4M3: both are normal to f64.
      const FloatFormat any = {"", 52, -1022, kInfinity, true};
      const Decomposed x = Decompose(any, a_scale);
      const Decomposed y = Decompose(any, b_scale);
      terms.push_back(
          {sum * x.significand * y.significand, x.exponent + y.exponent});
    }
    if (std::isfinite(c)) c = AlignedSum(35, 23, terms);
  }
  return c;
}

double MxFp4Dot(const MxRow& a, const MxRow& b) {
  return Fp4ScaledDot(a.values, a.scales, b.values, b.scales, 32);
}

double MxFp4(Values a, Values b) {
  return MxFp4Dot(QuantizeMxFp4(a), QuantizeMxFp4(b));
}

double MxFp4AsFp8Dot(const MxRow& a, const MxRow& b) { return MxDot(a, b); }

double NvFp4Dot(const NvFp4Row& a, const NvFp4Row& b) {
  const double sum = Fp4ScaledDot(a.values, a.scales, b.values, b.scales, 16);
  return F32(sum * F32(a.global * b.global));
}

double NvFp4(Values a, ValueMatrix b, size_t j) {
  const double a_global = NvFp4Global(ValueMatrix(a.data(), 1, a.size()));
  return NvFp4Dot(QuantizeNvFp4(a, a_global),
                  QuantizeNvFp4({b.Row(j), b.cols}, NvFp4Global(b)));
}

double Int8Dot(const Int8Row& a, const Int8Row& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    sum += int64_t{a.values[i]} * b.values[i];
  }
  CHECK_LE(std::abs(sum), std::numeric_limits<int32_t>::max());
  return F32(a.scale * F32(b.scale * F32(static_cast<double>(sum))));
}

double Int8(Values a, Values b) {
  return Int8Dot(QuantizeInt8(a), QuantizeInt8(b));
}

double SplitK(size_t slices, const FloatFormat& partial, Values a, Values b,
              const std::function<double(Values, Values)>& base) {
  const size_t length = (a.size() + slices - 1) / slices;
  double sum = 0;
  for (size_t i = 0; i < a.size(); i += length) {
    const double slice = base(a.subspan(i, length), b.subspan(i, length));
    sum = F32(sum + RoundToNearest(partial, slice));
  }
  return sum;
}

double F16AccumulatedDot(Values a, Values b, F16Rounding rounding) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = RoundToNearest(kF16, a[i]);
    const double y = RoundToNearest(kF16, b[i]);
    if (rounding == F16Rounding::kF32ThenF16) {
      sum = RoundToNearest(kF16, FmaF32(x, y, sum));
      continue;
    }
    // The product is exact. To odd, a sum in f64 keeps on which side of a tie
    // it was (Boldo and Melquiond 2008).
    const double product = x * y;
    double wide = product + sum;
    if (std::isfinite(wide)) {
      ExactSum exact;
      exact.Add(product);
      exact.Add(sum);
      const double error = exact.ErrorOf(wide);
      int64_t bits;
      static_assert(sizeof(bits) == sizeof(wide));
      std::memcpy(&bits, &wide, sizeof(bits));
      if (error != 0 && bits % 2 == 0) {
        wide = std::nextafter(wide, error > 0 ? -kInfinity : kInfinity);
      }
    }
    sum = RoundToNearest(kF16, wide);
  }
  return sum;
}

double Q8Dot(const Q8Row& a, Values weights) { return Q8Dot(a, weights, {}); }

double Q8Dot(const Q8Row& a, Values weights, Values minima) {
  double sum = 0;
  for (size_t i = 0, block = 0; i < a.values.size(); i += a.block, ++block) {
    ExactSum exact;
    exact.Add(sum);
    int integers = 0;
    for (size_t l = i; l < std::min(i + a.block, a.values.size()); ++l) {
      exact.AddProduct(a.scales[block] * a.values[l], weights[l]);
      integers += a.values[l];
    }
    sum = exact.RoundToFloat();
    if (minima.empty()) continue;
    ExactSum with_minimum;
    with_minimum.Add(sum);
    with_minimum.AddProduct(minima[block],
                            a.sums[block] - a.scales[block] * integers);
    sum = with_minimum.RoundToFloat();
  }
  return sum;
}

}  // namespace ulpscope::engine_models
