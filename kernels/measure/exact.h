#ifndef KERNELS_MEASURE_EXACT_H_
#define KERNELS_MEASURE_EXACT_H_

#include <array>
#include <cstdint>

#include "absl/numeric/int128.h"
#include "absl/types/span.h"

namespace ulpscope {

// A sum without rounding: a fixed-point number wide enough for every finite
// double and every product of two (Kulisch and Miranker 1986). Terms are
// integers shifted into place, so no order, underflow or cancellation changes a
// bit, and up to 2^64 terms cannot overflow it.
//
// Infinities and NaN are sticky and follow IEEE 754: once one was added, Round
// and the like return the infinity, or NaN after opposite ones or inf * 0.
class ExactSum {
 public:
  void Add(double x);
  void AddProduct(double a, double b);  // a * b, not rounded
  void Merge(const ExactSum& other);    // += other
  void Negate();

  // -1, 0 or 1: the sign of the exact sum, which may round to 0 although it is
  // not. 0 for a non-finite sum.
  int Sign() const;

  // The exact sum rounded once, to nearest with ties to even; subnormals are
  // rounded to, overflow gives an infinity, an exact zero is +0.
  double Round() const;
  float RoundToFloat() const;
  float RoundToBf16() const;  // the bf16 value, widened

  // approx - exact sum, rounded once. Not finite where either is not.
  double ErrorOf(double approx) const;

 private:
  // 32 bits per limb, the rest of each int64 collects carries. Limb 0 counts
  // units of 2^kLowest; products reach down to 2^-2148 and up to 2^2048, and
  // the 128 bits above hold the sum of 2^64 of them and the sign.
  static constexpr int kLowest = -2176;
  static constexpr int kNumLimbs = 136;

  void AddShifted(absl::uint128 mantissa, int exponent, bool negative);
  void Carry();
  double RoundTo(int precision, int lowest_exponent) const;

  std::array<int64_t, kNumLimbs> limbs_ = {};
  int64_t additions_since_carry_ = 0;
  double non_finite_ = 0.0;  // 0 as long as every term was finite
};

// Sum of a[i] * b[i]; sizes must agree. Empty gives 0.
ExactSum ExactDot(absl::Span<const float> a, absl::Span<const float> b);
ExactSum ExactDot(absl::Span<const double> a, absl::Span<const double> b);

// Sum of |a[i] * b[i]|, to which the error bounds of dot products are relative.
ExactSum ExactAbsDot(absl::Span<const float> a, absl::Span<const float> b);
ExactSum ExactAbsDot(absl::Span<const double> a, absl::Span<const double> b);

// Sum of x[i].
ExactSum ExactTotal(absl::Span<const float> x);
ExactSum ExactTotal(absl::Span<const double> x);

// cond = 2 sum |a[i] b[i]| / |sum a[i] b[i]| (Ogita, Rump and Oishi 2005):
// never below 2, and an infinity where the dot product is zero.
double ConditionNumber(absl::Span<const float> a, absl::Span<const float> b);

}  // namespace ulpscope

#endif  // KERNELS_MEASURE_EXACT_H_
