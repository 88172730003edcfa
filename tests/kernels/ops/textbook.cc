#include "tests/kernels/ops/textbook.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/format.h"

namespace ulpscope {
namespace {

using Operands = absl::Span<const double>;

// The nearest multiple of the spacing of bf16 at x: 8 bits of precision down to
// 2^-126, then multiples of 2^-133. nearbyint rounds ties to even.
double RoundedToBf16(double x) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), -126);
  const double spacing = std::ldexp(1.0, exponent - 7);
  const double rounded = std::nearbyint(x / spacing) * spacing;
  if (std::fabs(rounded) < 0x1p128) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

// The same of IEEE 754's binary16: 11 bits of precision down to 2^-14, then
// multiples of 2^-24; the largest number is 65504.
double RoundedToF16(double x) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), -14);
  const double spacing = std::ldexp(1.0, exponent - 10);
  const double rounded = std::nearbyint(x / spacing) * spacing;
  if (std::fabs(rounded) < 0x1p16) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

// Recursive summation, a fused multiply-add per product.
template <typename Real>
PartialSum RecursiveProducts(Operands a, Operands b) {
  Real sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum = std::fma(static_cast<Real>(a[i]), static_cast<Real>(b[i]), sum);
  }
  return {sum, 0};
}

template <typename Real>
void PlainAdd(double x, PartialSum& partial) {
  const Real sum = static_cast<Real>(partial.sum) + static_cast<Real>(x);
  partial.sum = sum;
}

template <typename Real>
void PlainMerge(const PartialSum& from, PartialSum& into) {
  PlainAdd<Real>(from.sum, into);
}

double PlainValue(const PartialSum& partial) { return partial.sum; }

// Blocks of 64, whose sums are added neighbour to neighbour, level by level; an
// odd last one moves up.
PartialSum PairwiseProducts(Operands a, Operands b) {
  std::vector<float> level;
  for (size_t i = 0; i < a.size(); i += 64) {
    const PartialSum block =
        RecursiveProducts<float>(a.subspan(i, 64), b.subspan(i, 64));
    level.push_back(static_cast<float>(block.sum));
  }
  while (level.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i + 1 < level.size(); i += 2) {
      next.push_back(level[i] + level[i + 1]);
    }
    if (level.size() % 2 == 1) next.push_back(level.back());
    level = next;
  }
  return {level.empty() ? 0 : level[0], 0};
}

// Neumaier 1974: the error of an addition is recovered from the larger operand.
template <typename Real>
Real NeumaierError(Real s, Real x, Real total) {
  if (std::fabs(s) >= std::fabs(x)) return (s - total) + x;
  return (x - total) + s;
}

template <typename Real>
void CompensatedAdd(double x_in, PartialSum& partial) {
  const Real x = static_cast<Real>(x_in);
  const Real s = static_cast<Real>(partial.sum);
  const Real total = s + x;
  const Real error = NeumaierError(s, x, total);
  const Real compensation = static_cast<Real>(partial.compensation) + error;
  partial = {total, compensation};
}

template <typename Real>
void CompensatedMerge(const PartialSum& from, PartialSum& into) {
  const Real both = static_cast<Real>(into.compensation) +
                    static_cast<Real>(from.compensation);
  into.compensation = both;
  CompensatedAdd<Real>(from.sum, into);
}

template <typename Real>
double CompensatedValue(const PartialSum& partial) {
  const Real value =
      static_cast<Real>(partial.sum) + static_cast<Real>(partial.compensation);
  return value;
}

// Kahan-Babuska-Neumaier: products are rounded, then added with compensation.
PartialSum NeumaierProducts(Operands a, Operands b) {
  PartialSum partial;
  for (size_t i = 0; i < a.size(); ++i) {
    const float product = static_cast<float>(a[i]) * static_cast<float>(b[i]);
    CompensatedAdd<float>(product, partial);
  }
  return partial;
}

// Dot2, algorithm 5.3 of Ogita, Rump, Oishi 2005, s from 0.
template <typename Real>
PartialSum Dot2Products(Operands a, Operands b) {
  Real p = 0;
  Real s = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const Real x = static_cast<Real>(a[i]);
    const Real y = static_cast<Real>(b[i]);
    const Real h = x * y;
    const Real r = std::fma(x, y, -h);
    const Real total = p + h;
    const Real q = NeumaierError(p, h, total);
    p = total;
    s = s + (q + r);
  }
  return {p, s};
}

// The running sum is rounded to bf16 after every 32 products.
PartialSum Bf16RunningProducts(Operands a, Operands b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum = std::fma(static_cast<float>(a[i]), static_cast<float>(b[i]), sum);
    if (i % 32 == 31) sum = static_cast<float>(RoundedToBf16(sum));
  }
  return {sum, 0};
}

void Bf16RunningMerge(const PartialSum& from, PartialSum& into) {
  PlainMerge<float>(from, into);
  into.sum = RoundedToBf16(into.sum);
}

constexpr TextbookSum kRecursiveF32 = {&RecursiveProducts<float>,
                                       &PlainAdd<float>, &PlainMerge<float>,
                                       &PlainValue};
constexpr TextbookSum kRecursiveF64 = {&RecursiveProducts<double>,
                                       &PlainAdd<double>, &PlainMerge<double>,
                                       &PlainValue};
constexpr TextbookSum kPairwise = {&PairwiseProducts, &PlainAdd<float>,
                                   &PlainMerge<float>, &PlainValue};
constexpr TextbookSum kNeumaier = {&NeumaierProducts, &CompensatedAdd<float>,
                                   &CompensatedMerge<float>,
                                   &CompensatedValue<float>};
constexpr TextbookSum kDot2F32 = {&Dot2Products<float>, &CompensatedAdd<float>,
                                  &CompensatedMerge<float>,
                                  &CompensatedValue<float>};
constexpr TextbookSum kDot2F64 = {
    &Dot2Products<double>, &CompensatedAdd<double>, &CompensatedMerge<double>,
    &CompensatedValue<double>};
constexpr TextbookSum kBf16Running = {&Bf16RunningProducts, &PlainAdd<float>,
                                      &Bf16RunningMerge, &PlainValue};

constexpr Format kF64 = Format::kF64;
constexpr Format kF32 = Format::kF32;
constexpr Format kBF16 = Format::kBF16;
constexpr Format kF16 = Format::kF16;

constexpr Textbook kTextbooks[] = {
    {"f32", kF32, kF32, kF32, kRecursiveF32, kRecursiveF32, Carry::kNone},
    {"pairwise", kF32, kF32, kF32, kPairwise, kPairwise, Carry::kNone},
    {"kahan", kF32, kF32, kF32, kNeumaier, kNeumaier, Carry::kF32Compensation},
    {"dot2", kF32, kF32, kF32, kDot2F32, kDot2F32, Carry::kNone},
    {"f64", kF32, kF64, kF32, kRecursiveF64, kRecursiveF64, Carry::kF64},
    {"bf16", kBF16, kF32, kBF16, kRecursiveF32, kRecursiveF32, Carry::kNone},
    {"bf16_f32", kBF16, kF32, kF32, kRecursiveF32, kRecursiveF32, Carry::kNone},
    {"f16_f32", kF16, kF32, kF32, kRecursiveF32, kRecursiveF32, Carry::kNone},
    {"bf16_late", kBF16, kF32, kBF16, kRecursiveF32, kRecursiveF32,
     Carry::kNone, true},
    {"bf16_once", kF32, kF32, kBF16, kRecursiveF32, kRecursiveF32, Carry::kNone,
     true},
    {"f16_late", kF16, kF32, kF16, kRecursiveF32, kRecursiveF32, Carry::kNone,
     true},
    {"f16_once", kF32, kF32, kF16, kRecursiveF32, kRecursiveF32, Carry::kNone,
     true},
    {"bf16_fused", kBF16, kF32, kBF16, kRecursiveF32, kRecursiveF32,
     Carry::kLeft, false, true},
    {"bf16_lanes256", kBF16, kF32, kBF16, kRecursiveF32, kRecursiveF32,
     Carry::kNone, false, false, 256},
    {"bf16_lanes1024", kBF16, kF32, kBF16, kRecursiveF32, kRecursiveF32,
     Carry::kNone, false, false, 1024},
    {"bf16_acc", kBF16, kF32, kBF16, kBf16Running, kBf16Running, Carry::kNone},
    {"f16", kF16, kF32, kF16, kRecursiveF32, kRecursiveF32, Carry::kNone},
    {"oracle", kF64, kF64, kF64, kRecursiveF64, kDot2F64, Carry::kTaken},
};

// Single operations. The sum, product, quotient or square root of f32 numbers,
// computed in f64 and rounded to f32, is what f32 arithmetic gives: 53 >= 2 *
// 24
// + 2 bits make the first rounding harmless (Figueroa 1995).
double Step(const Textbook& t, double exact_or_f64) {
  return Rounded(t.lane, exact_or_f64);
}

// What PyTorch's bf16 and float16 round between two ops, and other formats do
// not, nor fused kernels.
double BetweenOps(const Textbook& t, double x) {
  if (t.rounds_once) return x;
  if (t.result == kBF16) return RoundedToBf16(x);
  if (t.result == kF16) return RoundedToF16(x);
  return x;
}

}  // namespace

double Rounded(Format format, double x) {
  switch (format) {
    case Format::kF64:
      return x;
    case Format::kF32:
      return static_cast<float>(x);
    case Format::kBF16:
      return RoundedToBf16(static_cast<float>(x));
    case Format::kF16:
      return RoundedToF16(static_cast<float>(x));
  }
  return x;
}

std::vector<double> Rounded(Format format, absl::Span<const double> x) {
  std::vector<double> rounded;
  rounded.reserve(x.size());
  for (const double value : x) rounded.push_back(Rounded(format, value));
  return rounded;
}

const Textbook* FindTextbook(absl::string_view name) {
  for (const Textbook& textbook : kTextbooks) {
    if (textbook.name == name) return &textbook;
  }
  return nullptr;
}

double TextbookDot(const Textbook& t, absl::Span<const double> a,
                   absl::Span<const double> b, const double* bias,
                   double scale) {
  const TextbookSum& sum = t.SumOf(a.size());
  PartialSum partial =
      sum.products(Rounded(t.operand, a), Rounded(t.operand, b));
  if (bias != nullptr) sum.add(Rounded(t.operand, *bias), partial);
  double value = sum.value(partial);
  if (scale != 1) {
    value = Step(t, BetweenOps(t, value) * Rounded(t.lane, scale));
  }
  return Rounded(t.result, value);
}

double TextbookRowSum(const Textbook& t, absl::Span<const double> a,
                      absl::Span<const double> b, size_t num_lanes) {
  const size_t steps = (a.size() + num_lanes - 1) / num_lanes;
  const TextbookSum& sum = t.SumOf(a.size());
  std::vector<PartialSum> lanes;
  for (size_t lane = 0; lane < num_lanes; ++lane) {
    std::vector<double> lane_a(steps, 0.0);
    std::vector<double> lane_b(steps, 0.0);
    for (size_t i = lane, step = 0; i < a.size(); i += num_lanes, ++step) {
      lane_a[step] = a[i];
      lane_b[step] = b[i];
    }
    lanes.push_back(sum.products(lane_a, lane_b));
  }
  for (size_t distance = num_lanes / 2; distance > 0; distance /= 2) {
    for (size_t lane = 0; lane < distance; ++lane) {
      sum.merge(lanes[lane + distance], lanes[lane]);
    }
  }
  return sum.value(lanes[0]);
}

std::vector<double> TextbookRmsNorm(const Textbook& t,
                                    absl::Span<const double> x,
                                    absl::Span<const double> weight, double eps,
                                    absl::Span<const double> carry) {
  std::vector<double> in = Rounded(t.reads_carry ? t.lane : t.operand, x);
  if (t.reads_carry) {
    for (size_t i = 0; i < carry.size(); ++i) {
      in[i] = Step(t, in[i] + Rounded(t.lane, carry[i]));
    }
  }
  const double n = static_cast<double>(in.size());
  const double mean = Step(t, TextbookRowSum(t, in, in, t.partial_sums) / n);
  const double root = Step(t, std::sqrt(Step(t, mean + Rounded(t.lane, eps))));
  const double inverse = Step(t, 1.0 / root);
  std::vector<double> y;
  for (size_t i = 0; i < in.size(); ++i) {
    const double normed = BetweenOps(t, Step(t, in[i] * inverse));
    const double weighted = Step(t, Rounded(t.operand, weight[i]) * normed);
    y.push_back(Rounded(t.result, weighted));
  }
  return y;
}

std::vector<double> TextbookLogits(const Textbook& t,
                                   absl::Span<const double> x) {
  std::vector<double> logits = Rounded(t.operand, x);
  const double max = *std::max_element(logits.begin(), logits.end());
  for (double& logit : logits) logit = Step(t, logit - max);
  return logits;
}

std::vector<double> TextbookSoftmax(const Textbook& t,
                                    absl::Span<const double> exps) {
  const std::vector<double> ones(exps.size(), 1.0);
  const double sum = TextbookRowSum(t, exps, ones);
  std::vector<double> y;
  for (const double exp : exps) {
    y.push_back(Rounded(t.result, Step(t, exp / sum)));
  }
  return y;
}

void TextbookRope(const Textbook& t, absl::Span<const double> cos,
                  absl::Span<const double> sin, absl::Span<double> x) {
  const auto product = [&t](double a, double b) {
    return BetweenOps(t, Step(t, a * b));
  };
  const std::vector<double> in = Rounded(t.operand, x);
  const size_t half = x.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    const double c = Rounded(t.operand, cos[i]);
    const double s = Rounded(t.operand, sin[i]);
    x[i] = Rounded(t.result,
                   Step(t, product(in[i], c) + product(-in[i + half], s)));
    x[i + half] = Rounded(
        t.result, Step(t, product(in[i + half], c) + product(in[i], s)));
  }
}

double TextbookSwiGlu(const Textbook& t, double gate, double up, double exp) {
  const double silu = Step(t, Rounded(t.operand, gate) / Step(t, 1.0 + exp));
  const double product = BetweenOps(t, silu) * Rounded(t.operand, up);
  return Rounded(t.result, Step(t, product));
}

void TextbookAddResidual(const Textbook& t, double update, double& stream,
                         double& carry) {
  const double x = Rounded(t.operand, stream);
  const double u = Rounded(t.operand, update);
  switch (t.carry) {
    case Carry::kLeft: {
      const double sum = Step(t, x + u);
      stream = Rounded(t.result, sum);
      carry = std::isfinite(stream) ? Step(t, sum - stream) : 0;
      return;
    }
    case Carry::kNone:
      stream = Rounded(t.result, Step(t, x + u));
      carry = 0;
      return;
    case Carry::kTaken:
      stream = (x + carry) + u;
      carry = 0;
      return;
    case Carry::kF32Compensation: {
      const float a = static_cast<float>(x);
      const float b = static_cast<float>(u);
      const float total = a + b;
      const float rest = NeumaierError(a, b, total) + static_cast<float>(carry);
      const float renormalized = total + rest;
      stream = renormalized;
      carry = rest - (renormalized - total);
      return;
    }
    case Carry::kF64: {
      const double full = (x + carry) + u;
      stream = static_cast<float>(full);
      carry = full - stream;
      return;
    }
  }
}

}  // namespace ulpscope
