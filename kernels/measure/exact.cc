#include "kernels/measure/exact.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

#include "absl/log/check.h"

namespace ulpscope {
namespace {

constexpr int kLimbBits = 32;
constexpr int64_t kLimbMask = 0xFFFFFFFF;

// One addition puts less than 2^33 into a limb of less than 2^33 (Merge), so
// that many keep it below 2^62.
constexpr int64_t kMaxAdditionsSinceCarry = int64_t{1} << 28;

// A finite double is (-1)^negative * mantissa * 2^exponent.
struct Decomposed {
  uint64_t mantissa;  // < 2^53
  int exponent;       // >= -1074
  bool negative;
};

Decomposed Decompose(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const int biased = static_cast<int>((bits >> 52) & 0x7FF);
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  const uint64_t implicit_bit = biased == 0 ? 0 : uint64_t{1} << 52;
  return {fraction | implicit_bit, std::max(biased, 1) - 1075,
          (bits >> 63) != 0};
}

// A float, or beyond the range of floats, whose conversion would be undefined.
float Narrow(double x) {
  if (std::fabs(x) < 0x1p128) return static_cast<float>(x);
  if (std::isnan(x)) return std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  return x < 0.0 ? -infinity : infinity;
}

template <typename T>
ExactSum DotOf(absl::Span<const T> a, absl::Span<const T> b) {
  CHECK_EQ(a.size(), b.size());
  ExactSum sum;
  for (size_t i = 0; i < a.size(); ++i) sum.AddProduct(a[i], b[i]);
  return sum;
}

template <typename T>
ExactSum AbsDotOf(absl::Span<const T> a, absl::Span<const T> b) {
  CHECK_EQ(a.size(), b.size());
  ExactSum sum;
  for (size_t i = 0; i < a.size(); ++i) {
    sum.AddProduct(std::fabs(a[i]), std::fabs(b[i]));
  }
  return sum;
}

template <typename T>
ExactSum TotalOf(absl::Span<const T> x) {
  ExactSum sum;
  for (const T value : x) sum.Add(value);
  return sum;
}

}  // namespace

void ExactSum::AddShifted(absl::uint128 mantissa, int exponent, bool negative) {
  const int position = exponent - kLowest;
  const int shift = position % kLimbBits;
  for (size_t i = position / kLimbBits; mantissa != 0; ++i) {
    const uint64_t piece = (absl::Uint128Low64(mantissa) & kLimbMask) << shift;
    const int64_t low = static_cast<int64_t>(piece & kLimbMask);
    const int64_t high = static_cast<int64_t>(piece >> kLimbBits);
    limbs_[i] += negative ? -low : low;
    limbs_[i + 1] += negative ? -high : high;
    mantissa >>= kLimbBits;
  }
  if (++additions_since_carry_ >= kMaxAdditionsSinceCarry) Carry();
}

// Leaves every limb in [0, 2^32) but the last, which has the sign.
void ExactSum::Carry() {
  for (size_t i = 0; i + 1 < limbs_.size(); ++i) {
    limbs_[i + 1] += limbs_[i] >> kLimbBits;  // rounds down, also negatives
    limbs_[i] &= kLimbMask;
  }
  additions_since_carry_ = 0;
}

void ExactSum::Add(double x) {
  if (!std::isfinite(x)) {
    non_finite_ += x;
    return;
  }
  const Decomposed term = Decompose(x);
  AddShifted(term.mantissa, term.exponent, term.negative);
}

void ExactSum::AddProduct(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b)) {
    non_finite_ += a * b;
    return;
  }
  const Decomposed x = Decompose(a);
  const Decomposed y = Decompose(b);
  AddShifted(absl::uint128(x.mantissa) * y.mantissa, x.exponent + y.exponent,
             x.negative != y.negative);
}

void ExactSum::Merge(const ExactSum& other) {
  ExactSum carried = other;  // also right when other is *this
  carried.Carry();
  Carry();
  for (size_t i = 0; i < limbs_.size(); ++i) limbs_[i] += carried.limbs_[i];
  non_finite_ += carried.non_finite_;
}

void ExactSum::Negate() {
  Carry();
  for (int64_t& limb : limbs_) limb = -limb;
  non_finite_ = -non_finite_;
}

int ExactSum::Sign() const {
  if (non_finite_ != 0.0) return 0;
  ExactSum carried = *this;
  carried.Carry();
  if (carried.limbs_.back() < 0) return -1;
  for (const int64_t limb : carried.limbs_) {
    if (limb != 0) return 1;
  }
  return 0;
}

// Rounds to `precision` bits, of which the last may not weigh less than
// 2^lowest_exponent. Does not know the largest exponent of the format.
double ExactSum::RoundTo(int precision, int lowest_exponent) const {
  if (non_finite_ != 0.0) return non_finite_;
  ExactSum magnitude = *this;
  magnitude.Carry();
  const bool negative = magnitude.limbs_.back() < 0;
  if (negative) {
    magnitude.Negate();
    magnitude.Carry();
  }
  const auto& limbs = magnitude.limbs_;

  int top = kNumLimbs - 1;
  while (top >= 0 && limbs[top] == 0) --top;
  if (top < 0) return 0.0;
  int highest_bit = top * kLimbBits;
  for (int64_t rest = limbs[top] >> 1; rest != 0; rest >>= 1) ++highest_bit;

  const auto bit = [&limbs](int i) {
    return static_cast<uint64_t>(limbs[i / kLimbBits] >> (i % kLimbBits)) & 1;
  };
  const int last_bit =
      std::max(highest_bit - precision + 1, lowest_exponent - kLowest);
  uint64_t mantissa = 0;
  for (int i = highest_bit; i >= last_bit; --i)
    mantissa = 2 * mantissa + bit(i);

  // The part cut off is compared with half of the last bit kept: formats end
  // far above limb 0, so that bit exists.
  if (bit(last_bit - 1) != 0) {
    const int half = last_bit - 1;
    bool above_half = (limbs[half / kLimbBits] &
                       ((int64_t{1} << (half % kLimbBits)) - 1)) != 0;
    for (int i = 0; i < half / kLimbBits && !above_half; ++i) {
      above_half = limbs[i] != 0;
    }
    if (above_half || mantissa % 2 == 1) ++mantissa;
  }
  const double rounded =
      std::ldexp(static_cast<double>(mantissa), last_bit + kLowest);
  return negative ? -rounded : rounded;
}

double ExactSum::Round() const { return RoundTo(53, -1074); }

float ExactSum::RoundToFloat() const { return Narrow(RoundTo(24, -149)); }

float ExactSum::RoundToBf16() const { return Narrow(RoundTo(8, -133)); }

double ExactSum::ErrorOf(double approx) const {
  ExactSum error = *this;
  error.Negate();
  error.Add(approx);
  return error.Round();
}

ExactSum ExactDot(absl::Span<const float> a, absl::Span<const float> b) {
  return DotOf(a, b);
}

ExactSum ExactDot(absl::Span<const double> a, absl::Span<const double> b) {
  return DotOf(a, b);
}

ExactSum ExactAbsDot(absl::Span<const float> a, absl::Span<const float> b) {
  return AbsDotOf(a, b);
}

ExactSum ExactAbsDot(absl::Span<const double> a, absl::Span<const double> b) {
  return AbsDotOf(a, b);
}

ExactSum ExactTotal(absl::Span<const float> x) { return TotalOf(x); }

ExactSum ExactTotal(absl::Span<const double> x) { return TotalOf(x); }

double ConditionNumber(absl::Span<const float> a, absl::Span<const float> b) {
  const ExactSum dot = ExactDot(a, b);
  if (dot.Sign() == 0) return std::numeric_limits<double>::infinity();
  return 2.0 * ExactAbsDot(a, b).Round() / std::fabs(dot.Round());
}

}  // namespace ulpscope
