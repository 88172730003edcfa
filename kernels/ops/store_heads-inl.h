// What the KV cache keeps of keys and values under a strategy.
#if defined(KERNELS_OPS_STORE_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_STORE_HEADS_INL_H_
#undef KERNELS_OPS_STORE_HEADS_INL_H_
#else
#define KERNELS_OPS_STORE_HEADS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/base/matrix.h"
#include "kernels/ops/store_heads.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/minifloat-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy_info.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// NaN are all the one that no operation made: which bits those have depends on
// the CPU.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V WithOneNaN(D d, V v) {
  return hn::IfThenElse(hn::IsNaN(v), hn::NaN(d), v);
}

HWY_INLINE float F16Of(float x) {
  const hn::CappedTag<float, 1> d;
  return hn::GetLane(RoundToF16(d, hn::Set(d, x)));
}

// Of n values, in f32: the largest magnitude; infinite if one is not finite.
HWY_INLINE float LargestOf(const double* HWY_RESTRICT x, size_t n) {
  float amax = 0;
  ForEachVector<float>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = hn::Abs(LoadWidened(d, x + i, left...));
    // Not all are less than infinity: NaN are not.
    if (!hn::AllTrue(d, hn::Lt(v, hn::Inf(d)))) {
      amax = HUGE_VALF;
    } else {
      amax = std::max(amax, hn::ReduceMax(d, v));
    }
  });
  return amax;
}

// The first of those of that magnitude.
HWY_INLINE float FirstOfMagnitude(const double* HWY_RESTRICT x, size_t n,
                                  float amax) {
  for (size_t i = 0; i < n; ++i) {
    const float value = static_cast<float>(x[i]);
    if (std::fabs(value) == amax) return value;
  }
  return 0;
}

// y = code_of(d, x) * scale, with codes as float lanes.
template <class CodeOf>
HWY_INLINE void StoreCodes(const double* x, size_t n, float scale, double* y,
                           const CodeOf& code_of) {
  ForEachVector<float>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
    const auto code = code_of(d, LoadWidened(d, x + i, left...));
    StoreResult(d, WithOneNaN(d, hn::Mul(code, hn::Set(d, scale))), y + i,
                left...);
  });
}

// The nearest integers, of which a zero has no sign.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V NearestCode(D d, V v) {
  return hn::ConvertTo(d, hn::NearestInt(v));
}

template <KvCodes kCodes>
HWY_INLINE void StoreBlock(const double* x, size_t n, double* y) {
  const float amax = LargestOf(x, n);
  if (std::isinf(amax)) {
    ForEachVector<float>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
      StoreResult(d, hn::NaN(d), y + i, left...);
    });
  } else if constexpr (kCodes == KvCodes::kInt8) {
    const float scale = amax / 127.0f;
    const float divisor = scale == 0 ? HUGE_VALF : scale;
    StoreCodes(x, n, scale, y, [divisor](auto d, auto v) HWY_ATTR {
      const auto most = hn::Set(d, 127.0f);
      const auto q = hn::Div(v, hn::Set(d, divisor));
      return NearestCode(d, hn::Max(hn::Min(q, most), hn::Neg(most)));
    });
  } else if constexpr (kCodes == KvCodes::kQ8_0) {
    const float inverse = 127.0f / amax;
    const float factor = std::isinf(inverse) ? 0 : inverse;
    StoreCodes(x, n, F16Of(amax / 127.0f), y,
               [factor](auto d, auto v) HWY_ATTR {
                 return NearestCode(d, hn::Mul(v, hn::Set(d, factor)));
               });
  } else {
    static_assert(kCodes == KvCodes::kQ4_0);
    const float step = (amax == 0 ? 0 : FirstOfMagnitude(x, n, amax)) / -8.0f;
    const float inverse = 1.0f / step;
    const float factor = std::isinf(inverse) ? 0 : inverse;
    StoreCodes(x, n, F16Of(step), y, [factor](auto d, auto v) HWY_ATTR {
      const hn::RebindToSigned<decltype(d)> di;
      const auto t = hn::Add(hn::Mul(v, hn::Set(d, factor)), hn::Set(d, 8.5f));
      const auto q = hn::Min(hn::ConvertTo(di, t), hn::Set(di, 15));
      return hn::ConvertTo(d, hn::Sub(q, hn::Set(di, 8)));
    });
  }
}

template <class S>
struct StoreHeadsImpl {
  static void Run(Matrix<const double> x, Matrix<double> y) {
    constexpr KvCodes kCodes = S::kInfo.kv_codes;
    constexpr Format kResult = S::kInfo.result;
    for (size_t r = 0; r < x.rows; ++r) {
      const double* const from = x.Row(r);
      double* const to = y.Row(r);
      if constexpr (kCodes == KvCodes::kE4M3) {
        ForEachVector<float>(
            x.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
              const auto v = LoadWidened(d, from + i, left...);
              StoreResult(d, RoundToMinifloat(d, kE4M3, v), to + i, left...);
            });
      } else if constexpr (kCodes != KvCodes::kNone) {
        const size_t block = kCodes == KvCodes::kInt8 ? x.cols : kKvBlock;
        for (size_t i = 0; i < x.cols; i += block) {
          StoreBlock<kCodes>(from + i, std::min(block, x.cols - i), to + i);
        }
      } else if constexpr (Has16Bits(kResult)) {
        ForEachVector<float>(
            x.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
              StoreResult(d, LoadOperand<kResult>(d, from + i, left...), to + i,
                          left...);
            });
      } else if (from != to) {
        std::copy_n(from, x.cols, to);
      }
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
