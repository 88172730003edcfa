#include "tests/kernels/measure/inputs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/log/check.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

// Every draw below is a statement of its own: the order in which operands of
// an expression are evaluated differs between compilers.

// The spacing of f16 at x, a finite number in its range.
double SpacingOfF16(double x) {
  const int exponent = x == 0 ? -14 : std::max(std::ilogb(x), -14);
  return std::ldexp(1.0, exponent - 10);
}

// Only for finite numbers far from overflow, as they are here.
float RoundTo(Operands operands, double x) {
  const float narrow = static_cast<float>(x);
  if (operands == Operands::kF32) return narrow;
  if (operands == Operands::kF16) {
    const double spacing = SpacingOfF16(narrow);
    return static_cast<float>(std::nearbyint(narrow / spacing) * spacing);
  }
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof(bits));
  bits += 0x7FFF + ((bits >> 16) & 1);  // half a unit, ties to even
  bits &= 0xFFFF0000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof(rounded));
  return rounded;
}

void FillGaussian(double /*condition*/, Operands operands, uint64_t seed,
                  absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = RoundTo(operands, random.Gaussian());
    b[i] = RoundTo(operands, random.Gaussian());
  }
}

void FillPositive(double /*condition*/, Operands operands, uint64_t seed,
                  absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = RoundTo(operands, random.Uniform());
    b[i] = RoundTo(operands, random.Uniform());
  }
}

// Magnitudes of operands whose products swamp, or are swamped. The gaps to the
// ends of (1/2, 1) and [1, 1.25) are wider than bf16 rounds. All are normal
// f16.
float Swamping(Operands operands, Random& random) {
  return RoundTo(operands, random.Uniform(1.0, 1.1));
}

float Swamped(Operands operands, Random& random) {
  return RoundTo(operands, random.Uniform(0.75, 0.98) * 0x1p-12);
}

void FillSwampedEvery(size_t period, Operands operands, uint64_t seed,
                      absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  for (size_t i = 0; i < a.size(); ++i) {
    const auto magnitude = i % period == 0 ? &Swamping : &Swamped;
    const auto sign = static_cast<float>(random.Sign());
    a[i] = sign * magnitude(operands, random);
    b[i] = sign * magnitude(operands, random);
  }
}

void FillSwamped(double /*condition*/, Operands operands, uint64_t seed,
                 absl::Span<float> a, absl::Span<float> b) {
  FillSwampedEvery(std::max<size_t>(a.size(), 1), operands, seed, a, b);
}

void FillSwampedBlocks(double /*condition*/, Operands operands, uint64_t seed,
                       absl::Span<float> a, absl::Span<float> b) {
  FillSwampedEvery(64, operands, seed, a, b);
}

// Fisher-Yates.
void Shuffle(Random& random, absl::Span<float> a, absl::Span<float> b) {
  for (size_t i = a.size(); i > 1; --i) {
    const size_t j = random.Below(i);
    std::swap(a[i - 1], a[j]);
    std::swap(b[i - 1], b[j]);
  }
}

// Moves x away from zero by `steps` units in the last place of its format.
float Nudge(Operands operands, float x, uint32_t steps) {
  if (operands == Operands::kF16 && std::fabs(x) < 0x1p-14F) {
    return static_cast<float>(x + std::copysign(steps * 0x1p-24, x));
  }
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const int places = operands == Operands::kF32    ? 0
                     : operands == Operands::kBF16 ? 16
                                                   : 13;
  bits += steps << places;
  float moved;
  std::memcpy(&moved, &bits, sizeof(moved));
  return moved;
}

void FillCancelling(double /*condition*/, Operands operands, uint64_t seed,
                    absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  const size_t n = a.size();
  for (size_t i = 0; i + 1 < n; i += 2) {
    a[i] = RoundTo(operands, random.Gaussian());
    b[i] = RoundTo(operands, random.Gaussian());
    const auto steps = static_cast<uint32_t>(random.Below(4));
    a[i + 1] = -Nudge(operands, a[i], steps);
    b[i + 1] = b[i];
  }
  if (n % 2 == 1) {  // so small beside the first pair that the rest cancels
    a[n - 1] = RoundTo(operands, n > 1 ? a[0] * 0x1p-20 : random.Gaussian());
    b[n - 1] = n > 1 ? b[0] : RoundTo(operands, random.Gaussian());
  }
  Shuffle(random, a, b);
}

double Outlier(Random& random) {
  const double sign = random.Sign();
  return sign * random.Uniform(800.0, 1200.0);
}

void FillOutlierChannel(double /*condition*/, Operands operands, uint64_t seed,
                        absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  const size_t outlier = random.Below(std::max<size_t>(a.size(), 1));
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] =
        RoundTo(operands, i == outlier ? Outlier(random) : random.Gaussian());
    b[i] = RoundTo(operands, 0.02 * random.Gaussian());
  }
}

// A number of random sign and magnitude in (1/2, 1) * 2^exponent.
double OfExponent(Random& random, int exponent) {
  const double sign = random.Sign();
  return sign * std::ldexp(random.Uniform(0.5, 1.0), exponent);
}

// The first half are products of any exponent up to log2(condition). Each of
// the second half then moves the exact sum so far to a goal nearer to what the
// condition number asks for. GenDot draws the last goal at random near 1; here
// it is the one asked for, so that the condition number does not depend on
// luck.
void FillCondition(double condition, Operands operands, uint64_t seed,
                   absl::Span<float> a, absl::Span<float> b) {
  Random random(seed);
  const size_t n = a.size();
  if (condition <= 2.0) {
    for (size_t i = 0; i < n; ++i) {
      const double sign = random.Sign();
      a[i] = RoundTo(operands, sign * random.Uniform(0.5, 1.0));
      b[i] = RoundTo(operands, sign * random.Uniform(0.5, 1.0));
    }
    return;
  }
  const int bits = std::ilogb(condition);
  // f16 ends at 2^16: there the same times a power of 2, so that one product,
  // which is all that a short sum has, is below 2^16.
  const int shift = operands == Operands::kF16 ? std::min(0, 7 - bits / 2) : 0;
  const size_t first_half = (n + 1) / 2;
  ExactSum dot;
  double sum_abs = 0.0;
  for (size_t i = 0; i < n; ++i) {
    if (i < first_half) {
      const int exponent =
          i == 0 ? bits : static_cast<int>(random.Below(bits + 1));
      a[i] = RoundTo(operands, OfExponent(random, exponent / 2 + shift));
      b[i] = RoundTo(operands,
                     OfExponent(random, exponent - exponent / 2 + shift));
    } else {
      const size_t remaining = n - 1 - i;
      const int exponent =
          static_cast<int>(bits * remaining / (n - first_half));
      double goal = 2.0 * sum_abs / condition;
      if (remaining > 0) goal += OfExponent(random, exponent + 2 * shift);
      a[i] = RoundTo(operands, OfExponent(random, exponent / 2 + shift));
      const double product = dot.ErrorOf(goal);
      if (operands == Operands::kF16) {
        while (std::fabs(product / a[i]) >= 0x1p15) a[i] *= 2;
      }
      b[i] = RoundTo(operands, product / a[i]);
    }
    dot.AddProduct(a[i], b[i]);
    sum_abs += std::fabs(static_cast<double>(a[i]) * b[i]);
  }
  Shuffle(random, a, b);
}

void FillGaussianRow(Operands operands, uint64_t seed, absl::Span<float> x) {
  Random random(seed);
  for (float& value : x) value = RoundTo(operands, random.Gaussian());
}

void FillOutlierRow(Operands operands, uint64_t seed, absl::Span<float> x) {
  FillGaussianRow(operands, seed, x);
  if (x.empty()) return;
  Random random(~seed);
  const size_t outlier = random.Below(x.size());
  x[outlier] = RoundTo(operands, Outlier(random));
}

void FillSwampedRowEvery(size_t period, Operands operands, uint64_t seed,
                         absl::Span<float> x) {
  Random random(seed);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto magnitude = i % period == 0 ? &Swamping : &Swamped;
    const auto sign = static_cast<float>(random.Sign());
    x[i] = sign * magnitude(operands, random);
  }
}

void FillSwampedRow(Operands operands, uint64_t seed, absl::Span<float> x) {
  FillSwampedRowEvery(std::max<size_t>(x.size(), 1), operands, seed, x);
}

void FillSwampedBlocksRow(Operands operands, uint64_t seed,
                          absl::Span<float> x) {
  FillSwampedRowEvery(64, operands, seed, x);
}

void FillGaussianLogits(Operands operands, uint64_t seed, absl::Span<float> x) {
  Random random(seed);
  for (float& value : x) value = RoundTo(operands, 3.0 * random.Gaussian());
}

void FillEqualLogits(Operands operands, uint64_t seed, absl::Span<float> x) {
  Random random(seed);
  const float logit = RoundTo(operands, 3.0 * random.Gaussian());
  for (float& value : x) value = logit;
}

void FillWideLogits(Operands operands, uint64_t seed, absl::Span<float> x) {
  Random random(seed);
  for (float& value : x) value = RoundTo(operands, -120.0 * random.Uniform());
}

void FillSwampedLogits(Operands operands, uint64_t seed, absl::Span<float> x) {
  Random random(seed);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = i == 0 ? 0.0F : RoundTo(operands, random.Uniform(-17.25, -16.75));
  }
}

constexpr InputFamily kInputFamilies[] = {
    {"gaussian", "both operands normal", 0.0, &FillGaussian},
    {"positive", "both operands uniform in (0, 1]", 0.0, &FillPositive},
    {"swamped", "one product of 1, the rest too small to add to it", 0.0,
     &FillSwamped},
    {"swamped_blocks", "swamped anew every 64 products", 0.0,
     &FillSwampedBlocks},
    {"cancelling", "pairs that cancel up to the last bits", 0.0,
     &FillCancelling},
    {"outlier_channel", "one activation about 1000 times the rest", 0.0,
     &FillOutlierChannel},
    {"condition_1e0", "condition number 2, the least", 1e0, &FillCondition},
    {"condition_1e2", "condition number 1e2", 1e2, &FillCondition},
    {"condition_1e4", "condition number 1e4", 1e4, &FillCondition},
    {"condition_1e6", "condition number 1e6", 1e6, &FillCondition},
    {"condition_1e8", "condition number 1e8", 1e8, &FillCondition},
    {"condition_1e10", "condition number 1e10", 1e10, &FillCondition},
    {"condition_1e12", "condition number 1e12", 1e12, &FillCondition},
};

constexpr RowFamily kNormRowFamilies[] = {
    {"gaussian", "normal", &FillGaussianRow},
    {"outlier_channel", "one activation about 1000 times the rest",
     &FillOutlierRow},
    {"swamped", "one square of 1, the rest too small to add to it",
     &FillSwampedRow},
    {"swamped_blocks", "swamped anew every 64 squares", &FillSwampedBlocksRow},
};

constexpr RowFamily kSoftmaxRowFamilies[] = {
    {"gaussian", "normal, standard deviation 3", &FillGaussianLogits},
    {"equal", "all the same", &FillEqualLogits},
    {"wide", "uniform in (-120, 0)", &FillWideLogits},
    {"swamped", "one 0, the rest near -17", &FillSwampedLogits},
};

}  // namespace

absl::Span<const InputFamily> InputFamilies() { return kInputFamilies; }

void FillDot(const InputFamily& family, Operands operands, uint64_t seed,
             absl::Span<float> a, absl::Span<float> b) {
  CHECK_EQ(a.size(), b.size());
  family.fill(family.condition, operands, seed, a, b);
}

absl::Span<const RowFamily> NormRowFamilies() { return kNormRowFamilies; }

absl::Span<const RowFamily> SoftmaxRowFamilies() { return kSoftmaxRowFamilies; }

void FillRow(const RowFamily& family, Operands operands, uint64_t seed,
             absl::Span<float> x) {
  family.fill(operands, seed, x);
}

}  // namespace ulpscope
