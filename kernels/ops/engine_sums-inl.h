// The sums of engines: how they add the products of quantised operands.
#if defined(KERNELS_OPS_ENGINE_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_ENGINE_SUMS_INL_H_
#undef KERNELS_OPS_ENGINE_SUMS_INL_H_
#else
#define KERNELS_OPS_ENGINE_SUMS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/engine_operands.h"
#include "kernels/ops/engine_quantize-inl.h"
#include "kernels/ops/matmul_states-inl.h"
#include "kernels/strategy/engine.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of A times columns of B that are summed at once; products are f64, in
// which they and their sums within a step are exact.
inline constexpr size_t kEngineRows = k32Registers ? 4 : 2;
inline constexpr size_t kEngineVectors = 2;
using EngineTag = hn::CappedTag<double, kPanelWidth>;
using EngineVec = hn::Vec<EngineTag>;
inline constexpr size_t kEngineLanes = HWY_MAX_LANES_D(EngineTag);
inline constexpr size_t kEngineColumns = kEngineVectors * kEngineLanes;

// f32 next to the lanes of EngineVec.
using EngineNarrowTag = hn::Rebind<float, EngineTag>;
using EngineNarrowVec = hn::Vec<EngineNarrowTag>;

// Two operands of an engine's MatMul, and the tile of it that is computed:
// kEngineRows lines of A's panel from `row` on, and kEngineColumns of B's from
// `column` on.
struct EngineTile {
  const Engine& engine;
  const OperandForm& a_form;
  const OperandForm& b_form;
  size_t k;
  EnginePanel a, b;
  size_t row, column;

  float A(size_t i, size_t r) const {
    return a.values[i * kPanelWidth + row + r];
  }
  EngineVec B(size_t i, size_t v) const {
    return Widened(b.values + i * kPanelWidth, v);
  }
  // Of the block that begins at k = i.
  EngineVec ScaleOfA(size_t i, size_t r) const {
    const size_t block = a_form.block == 0 ? 0 : i / a_form.block;
    return hn::Set(EngineTag(), a.scales[block * kPanelWidth + row + r]);
  }
  EngineVec ScaleOfB(size_t i, size_t v) const {
    const size_t block = b_form.block == 0 ? 0 : i / b_form.block;
    return Widened(b.scales + block * kPanelWidth, v);
  }
  EngineVec OffsetOfA(size_t i, size_t r) const {
    const float* const line = a.offsets + i / a_form.block * kPanelWidth;
    return hn::Set(EngineTag(), line[row + r]);
  }
  // Of a B whose blocks are A's.
  EngineVec OffsetOfB(size_t i, size_t v) const {
    return Widened(b.offsets + i / a_form.block * kPanelWidth, v);
  }
  EngineVec Widened(const float* line, size_t v) const {
    return hn::PromoteTo(
        EngineTag(),
        hn::LoadU(EngineNarrowTag(), line + column + v * kEngineLanes));
  }
};

// The sums of a tile, f32.
struct EngineSums {
  EngineNarrowVec at[kEngineRows * kEngineVectors];
};

HWY_INLINE EngineNarrowVec Narrowed(EngineVec v) {
  return hn::DemoteTo(EngineNarrowTag(), v);
}

// 2^e of numbers in [2^e, 2^(e+1)); of zero, zero.
HWY_INLINE EngineVec PowerOf(EngineVec v) {
  const EngineTag d;
  const hn::RebindToUnsigned<EngineTag> du;
  return hn::BitCast(
      d, hn::And(hn::BitCast(du, v), hn::Set(du, uint64_t{0x7FF} << 52)));
}

// What aligns a product: 2^e of an operand whose subnormals have the exponent
// of the format's least normal number, `least`, and zero -126.
HWY_INLINE EngineVec AlignmentOf(EngineVec v, EngineVec least) {
  const EngineTag d;
  const EngineVec power = hn::Max(PowerOf(v), least);
  return hn::IfThenElse(hn::Eq(v, hn::Zero(d)), hn::Set(d, 0x1p-126), power);
}

inline double LeastNormal(Code code) {
  switch (code) {
    case Code::kF16:
      return 0x1p-14;
    case Code::kE4M3:
    case Code::kMXE4M3:
      return 0x1p-6;
    default:
      return 0x1p-126;
  }
}

// Sums cut off at `bits` fraction bits, towards zero, as f32 have them: below
// 2^-126 the bits are those of 2^-126, and from 2^128 on they are infinite.
HWY_INLINE EngineVec CutOff(EngineVec v, int bits) {
  const EngineTag d;
  const hn::RebindToUnsigned<EngineTag> du;
  const auto kept = hn::Set(du, ~((uint64_t{1} << (52 - bits)) - 1));
  const EngineVec normal = hn::BitCast(d, hn::And(hn::BitCast(du, v), kept));
  const EngineVec spacing =
      hn::BitCast(d, hn::Set(du, uint64_t(1023 - 126 - bits) << 52));
  const EngineVec inverse =
      hn::BitCast(d, hn::Set(du, uint64_t(1023 + 126 + bits) << 52));
  // + 0: a negative sum of which nothing is left is +0.
  const EngineVec subnormal =
      hn::Add(hn::Mul(hn::Trunc(hn::Mul(v, inverse)), spacing), hn::Zero(d));
  const EngineVec magnitude = hn::Abs(v);
  const EngineVec cut = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-126)),
                                       subnormal, normal);
  return hn::IfThenElse(hn::Ge(magnitude, hn::Set(d, 0x1p128)),
                        hn::CopySign(hn::Inf(d), v), cut);
}

// Where one of the step's addends or their plain sum is infinite or NaN, so is
// the step's result.
HWY_INLINE EngineVec OrPlain(EngineVec sum, EngineVec plain) {
  return hn::IfThenElse(hn::IsFinite(plain), sum, plain);
}

// Calls add(j, a, b) for the products of k = [first, last) and every sum j: a
// and b are what `of_a` and `of_b` make of the operands.
template <class OfA, class OfB, class Add>
HWY_INLINE void ForProducts(const EngineTile& t, size_t first, size_t last,
                            const OfA& of_a, const OfB& of_b, const Add& add) {
  for (size_t i = first; i < last; ++i) {
    EngineVec b[kEngineVectors];
    HWY_UNROLL(2)
    for (size_t v = 0; v < kEngineVectors; ++v) b[v] = of_b(t.B(i, v));
    HWY_UNROLL(4)
    for (size_t r = 0; r < kEngineRows; ++r) {
      const EngineVec a = of_a(hn::Set(EngineTag(), t.A(i, r)));
      HWY_UNROLL(2)
      for (size_t v = 0; v < kEngineVectors; ++v) {
        add(r * kEngineVectors + v, a, b[v]);
      }
    }
  }
}

// Steps of TC(N, P, K) over k = [begin, end), which add to the sums c, f32 kept
// as f64. kPlain: operands or sums may be infinite or NaN.
template <bool kPlain>
HWY_INLINE void AddSteps(const EngineTile& t, size_t begin, size_t end,
                         EngineVec (&c)[kEngineRows * kEngineVectors]) {
  constexpr size_t kSums = kEngineRows * kEngineVectors;
  const EngineTag d;
  const EngineVec least_a = hn::Set(d, LeastNormal(t.a_form.code));
  const EngineVec least_b = hn::Set(d, LeastNormal(t.b_form.code));
  const EngineVec least_c = hn::Set(d, 0x1p-126);
  const double unit = PowerOfTwo(t.engine.align_bits);
  const bool scaled = t.a_form.code == Code::kMXE4M3;
  for (size_t first = begin; first < end; first += t.engine.step_terms) {
    const size_t last = std::min(end, first + t.engine.step_terms);
    EngineVec largest[kSums], scale[kSums], sum[kSums], plain[kSums];
    for (size_t j = 0; j < kSums; ++j) {
      largest[j] = hn::Zero(d);
      plain[j] = hn::Zero(d);
    }
    ForProducts(
        t, first, last,
        [&](EngineVec a) HWY_ATTR { return AlignmentOf(a, least_a); },
        [&](EngineVec b) HWY_ATTR { return AlignmentOf(b, least_b); },
        [&](size_t j, EngineVec a, EngineVec b)
            HWY_ATTR { largest[j] = hn::Max(largest[j], hn::Mul(a, b)); });
    HWY_UNROLL(8)
    for (size_t j = 0; j < kSums; ++j) {
      EngineVec scales = hn::Set(d, 1.0);
      if (scaled) {
        scales = hn::Mul(t.ScaleOfA(first, j / kEngineVectors),
                         t.ScaleOfB(first, j % kEngineVectors));
      }
      largest[j] =
          hn::Max(hn::Mul(largest[j], scales), hn::Max(PowerOf(c[j]), least_c));
      const EngineVec aligned = hn::Div(hn::Set(d, unit), largest[j]);
      scale[j] = hn::Mul(aligned, scales);
      sum[j] = hn::Trunc(hn::Mul(c[j], aligned));
      if (kPlain) plain[j] = c[j];
    }
    const auto same = [](EngineVec v) HWY_ATTR { return v; };
    ForProducts(t, first, last, same, same,
                [&](size_t j, EngineVec a, EngineVec b) HWY_ATTR {
                  const EngineVec product = hn::Mul(a, b);
                  sum[j] =
                      hn::Add(sum[j], hn::Trunc(hn::Mul(product, scale[j])));
                  if (kPlain) plain[j] = hn::Add(plain[j], product);
                });
    HWY_UNROLL(8)
    for (size_t j = 0; j < kSums; ++j) {
      const EngineVec total =
          hn::Mul(sum[j], hn::Mul(largest[j], hn::Set(d, 1 / unit)));
      c[j] = CutOff(total, t.engine.result_bits);
      if (kPlain) c[j] = OrPlain(c[j], plain[j]);
    }
  }
}

// The same of FP4, whose terms are the exact sums of blocks of 16 products
// times their scales, aligned by the exponents of the scales alone.
template <bool kPlain>
HWY_INLINE void AddBlockSteps(const EngineTile& t, size_t begin, size_t end,
                              EngineVec (&c)[kEngineRows * kEngineVectors]) {
  constexpr size_t kSums = kEngineRows * kEngineVectors;
  constexpr size_t kTerms = 4;  // of a step of 64 products
  const EngineTag d;
  const double unit = std::ldexp(1.0, t.engine.align_bits);
  const EngineVec least_c = hn::Set(d, 0x1p-126);
  for (size_t first = begin; first < end; first += kTerms * kNVBlock) {
    for (size_t j = 0; j < kSums; ++j) {
      const size_t r = j / kEngineVectors, v = j % kEngineVectors;
      EngineVec term[kTerms];
      EngineVec largest = hn::Max(PowerOf(c[j]), least_c);
      size_t terms = 0;
      EngineVec plain = c[j];
      for (size_t block = first;
           block < std::min(end, first + kTerms * kNVBlock);
           block += kNVBlock, ++terms) {
        EngineVec sum = hn::Zero(d);
        for (size_t i = block; i < std::min(end, block + kNVBlock); ++i) {
          sum = hn::MulAdd(hn::Set(d, t.A(i, r)), t.B(i, v), sum);
        }
        const EngineVec a = t.ScaleOfA(block, r), b = t.ScaleOfB(block, v);
        term[terms] = hn::Mul(sum, hn::Mul(a, b));
        largest = hn::Max(largest, hn::Mul(PowerOf(a), PowerOf(b)));
        if (kPlain) plain = hn::Add(plain, term[terms]);
      }
      const EngineVec aligned = hn::Div(hn::Set(d, unit), largest);
      EngineVec sum = hn::Trunc(hn::Mul(c[j], aligned));
      for (size_t i = 0; i < terms; ++i) {
        sum = hn::Add(sum, hn::Trunc(hn::Mul(term[i], aligned)));
      }
      c[j] = CutOff(hn::Mul(sum, hn::Mul(largest, hn::Set(d, 1 / unit))),
                    t.engine.result_bits);
      if (kPlain) c[j] = OrPlain(c[j], plain);
    }
  }
}

template <bool kPlain>
HWY_INLINE EngineSums TensorCoreSums(const EngineTile& t) {
  constexpr size_t kSums = kEngineRows * kEngineVectors;
  const EngineTag d;
  const EngineNarrowTag df;
  const Code code = t.a_form.code;
  const bool in_blocks = code == Code::kMXE2M1 || code == Code::kNVE2M1;
  const size_t promoted = t.engine.promoted != 0 ? t.engine.promoted : t.k;
  EngineSums total;
  for (EngineNarrowVec& sum : total.at) sum = hn::Zero(df);
  for (size_t begin = 0; begin < t.k; begin += promoted) {
    const size_t end = std::min(t.k, begin + promoted);
    EngineVec c[kSums];
    for (EngineVec& sum : c) sum = hn::Zero(d);
    if (in_blocks) {
      AddBlockSteps<kPlain>(t, begin, end, c);
    } else {
      AddSteps<kPlain>(t, begin, end, c);
    }
    for (size_t j = 0; j < kSums; ++j) {
      const EngineNarrowVec sum = Narrowed(c[j]);
      const size_t r = j / kEngineVectors, v = j % kEngineVectors;
      if (code == Code::kE4M3) {
        const EngineNarrowVec a = Narrowed(t.ScaleOfA(begin, r));
        const EngineNarrowVec b = Narrowed(t.ScaleOfB(begin, v));
        total.at[j] = t.engine.promoted != 0
                          ? hn::MulAdd(sum, hn::Mul(a, b), total.at[j])
                          : hn::Mul(a, hn::Mul(b, sum));
      } else if (code == Code::kNVE2M1) {
        const EngineNarrowVec outer =
            hn::Mul(hn::Set(df, t.a.outer[t.row + r]),
                    hn::LoadU(df, t.b.outer + t.column + v * kEngineLanes));
        total.at[j] = hn::Mul(sum, outer);
      } else {
        total.at[j] = sum;
      }
    }
  }
  return total;
}

// sum + a b, rounded once to f32, for a b that f64 holds and an f32 sum. What
// f64 cannot hold of it is told by a last bit that is 1, as if rounded to odd
// (Boldo, Melquiond 2008): then rounding to f32 is as of the exact value.
HWY_INLINE EngineVec AddedOnce(EngineVec a, EngineVec b, EngineVec sum) {
  const EngineTag d;
  const hn::RebindToUnsigned<EngineTag> du;
  EngineVec error;
  const EngineVec total = TwoSum(sum, hn::Mul(a, b), error);
  const auto is_inexact =
      hn::And(hn::Ne(error, hn::Zero(d)), hn::IsFinite(total));
  // Towards zero first, where it was rounded away from it.
  const auto is_beyond =
      hn::Lt(hn::Mul(hn::CopySign(hn::Set(d, 1.0), total), error), hn::Zero(d));
  const auto bits = hn::BitCast(du, total);
  const auto less =
      hn::Sub(bits, hn::IfThenElseZero(hn::RebindMask(du, is_beyond),
                                       hn::Set(du, uint64_t{1})));
  const EngineVec odd = hn::BitCast(d, hn::Or(less, hn::Set(du, uint64_t{1})));
  return RoundTo<Format::kF32>(d, hn::IfThenElse(is_inexact, odd, total));
}

// Sums of blocks, exact but for what f64 cannot hold. Those of int8 are a whole
// line's; ggml's are added one after the other, each times its scale, and
// rounded to f32; and so are, where B's blocks have minima, their products with
// the sums of A's.
HWY_INLINE EngineSums BlockSums(const EngineTile& t) {
  constexpr size_t kSums = kEngineRows * kEngineVectors;
  const EngineTag d;
  const size_t block = t.a_form.block == 0 ? t.k : t.a_form.block;
  const bool one_block = t.a_form.code == Code::kInt8;
  EngineSums total;
  EngineVec sums[kSums];
  for (EngineVec& sum : sums) sum = hn::Zero(d);
  for (size_t first = 0; first < t.k; first += block) {
    const size_t last = std::min(t.k, first + block);
    EngineVec exact[kSums];
    for (EngineVec& sum : exact) sum = hn::Zero(d);
    const auto same = [](EngineVec v) HWY_ATTR { return v; };
    ForProducts(t, first, last, same, same,
                [&](size_t j, EngineVec a, EngineVec b)
                    HWY_ATTR { exact[j] = hn::MulAdd(a, b, exact[j]); });
    for (size_t j = 0; j < kSums; ++j) {
      const size_t r = j / kEngineVectors, v = j % kEngineVectors;
      const EngineVec a = t.ScaleOfA(first, r);
      if (one_block) {
        // As vLLM's epilogue: the scale of B's line first.
        total.at[j] = hn::Mul(
            Narrowed(a),
            hn::Mul(Narrowed(t.ScaleOfB(first, v)), Narrowed(exact[j])));
      } else {
        sums[j] = AddedOnce(exact[j], a, sums[j]);
        if (t.a_form.code == Code::kQ8_1) {
          sums[j] =
              AddedOnce(t.OffsetOfA(first, r), t.OffsetOfB(first, v), sums[j]);
        }
        total.at[j] = Narrowed(sums[j]);
      }
    }
  }
  return total;
}

// f32 FMAs, in parts.
HWY_INLINE EngineSums FmaSums(const EngineTile& t) {
  constexpr size_t kSums = kEngineRows * kEngineVectors;
  const EngineNarrowTag df;
  const size_t part = hwy::DivCeil(t.k, t.engine.parts);
  EngineSums total;
  for (EngineNarrowVec& sum : total.at) sum = hn::Zero(df);
  for (size_t first = 0; first < t.k; first += part) {
    const size_t last = std::min(t.k, first + part);
    EngineNarrowVec sums[kSums];
    for (EngineNarrowVec& sum : sums) sum = hn::Zero(df);
    for (size_t i = first; i < last; ++i) {
      EngineNarrowVec b[kEngineVectors];
      HWY_UNROLL(2)
      for (size_t v = 0; v < kEngineVectors; ++v) {
        b[v] = hn::LoadU(
            df, t.b.values + i * kPanelWidth + t.column + v * kEngineLanes);
      }
      HWY_UNROLL(4)
      for (size_t r = 0; r < kEngineRows; ++r) {
        const EngineNarrowVec a = hn::Set(df, t.A(i, r));
        HWY_UNROLL(2)
        for (size_t v = 0; v < kEngineVectors; ++v) {
          EngineNarrowVec& sum = sums[r * kEngineVectors + v];
          sum = hn::MulAdd(a, b[v], sum);
          if (t.engine.f16_sums) sum = RoundToF16(df, sum);
        }
      }
    }
    HWY_UNROLL(8)
    for (size_t j = 0; j < kSums; ++j) {
      if (t.engine.part == Format::kBF16) sums[j] = RoundToBF16(df, sums[j]);
      total.at[j] =
          t.engine.parts == 1 ? sums[j] : hn::Add(total.at[j], sums[j]);
    }
  }
  return total;
}

// A tile's sums. Those of tensor cores are computed anew where they turn out
// infinite or NaN, with the rules for such operands.
HWY_NOINLINE EngineSums SumsOf(const EngineTile& t) {
  switch (t.engine.accumulator) {
    case Accumulator::kFma:
      return FmaSums(t);
    case Accumulator::kBlocks:
      // ggml's of weights without blocks.
      return HasScales(t.a_form.code) ? BlockSums(t) : FmaSums(t);
    case Accumulator::kTensorCore:
      break;
  }
  const EngineSums sums = TensorCoreSums<false>(t);
  const EngineNarrowTag df;
  for (const EngineNarrowVec& sum : sums.at) {
    if (!hn::AllTrue(df, hn::IsFinite(sum))) return TensorCoreSums<true>(t);
  }
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
