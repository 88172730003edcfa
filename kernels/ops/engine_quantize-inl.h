// The operands of engines: what their quantisers make of panels of lines.
#if defined(KERNELS_OPS_ENGINE_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_ENGINE_QUANTIZE_INL_H_
#undef KERNELS_OPS_ENGINE_QUANTIZE_INL_H_
#else
#define KERNELS_OPS_ENGINE_QUANTIZE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/engine_operands.h"
#include "kernels/strategy/minifloat-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// kPanelWidth lines of k values each, as panels of f32 have them, and what
// belongs to them: rows of kPanelWidth.
struct EnginePanel {
  float* values;
  float* scales;   // for each block of k
  float* offsets;  // likewise; of Code::kQ8_1, and B's minima
  float* outer;    // NVFP4's scales
};

using LineTag = hn::CappedTag<float, kPanelWidth>;
using LineVec = hn::Vec<LineTag>;
inline constexpr size_t kLineLanes = HWY_MAX_LANES_D(LineTag);

// The number of largest magnitude among `count` of each line, the first of
// equals, and its magnitude; both are NaN if one of them is not finite.
struct Extremes {
  LineVec value, magnitude;
};

HWY_INLINE Extremes ExtremesOf(const float* values, size_t count) {
  const LineTag d;
  Extremes extremes = {hn::Zero(d), hn::Zero(d)};
  LineVec poison = hn::Zero(d);  // NaN once there is an infinity or a NaN
  for (size_t i = 0; i < count; ++i) {
    const LineVec v = hn::LoadU(d, values + i * kPanelWidth);
    const LineVec magnitude = hn::Abs(v);
    poison = hn::MulAdd(v, hn::Zero(d), poison);
    const auto larger = hn::Gt(magnitude, extremes.magnitude);
    extremes.value = hn::IfThenElse(larger, v, extremes.value);
    extremes.magnitude = hn::IfThenElse(larger, magnitude, extremes.magnitude);
  }
  extremes.value = hn::Add(extremes.value, poison);
  extremes.magnitude = hn::Add(extremes.magnitude, poison);
  return extremes;
}

// x where it is greater than zero, and 1 where it is zero: what is divided by.
HWY_INLINE LineVec OneIfZero(LineVec x) {
  const LineTag d;
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, 1.0f), x);
}

// To nearest integers, ties to even.
HWY_INLINE LineVec RoundToInt8(LineVec v) {
  const LineTag d;
  const LineVec limit = hn::Set(d, 127.0f);
  const LineVec rounded = hn::Round(v);
  const LineVec clamped = hn::IfThenElse(hn::Gt(hn::Abs(rounded), limit),
                                         hn::CopySign(limit, rounded), rounded);
  return hn::IfThenElse(hn::IsNaN(v), v, clamped);
}

// 2^(floor(log2 x) - largest_exponent), 2^-127 at least, and 2^-127 of zero:
// OCP MX v1.0, section 6.3. f32 has 2^-127 as a subnormal number.
HWY_INLINE LineVec PowersOfBlocks(LineVec magnitude, int largest_exponent) {
  const LineTag d;
  HWY_ALIGN float lanes[kLineLanes];
  hn::Store(magnitude, d, lanes);
  for (float& x : lanes) {
    if (std::isnan(x)) continue;
    int exponent = 0;
    std::frexp(x, &exponent);
    exponent = x == 0 ? -127 : exponent - 1 - largest_exponent;
    x = std::ldexp(1.0f, std::max(exponent, -127));
  }
  return hn::Load(d, lanes);
}

// A block's scale, and what its values are multiplied by before they are
// rounded.
struct BlockScale {
  LineVec scale, inverse;
};

// Of blocks with the given extremes; `outer` is NVFP4's.
inline BlockScale ScaleOf(Code code, const Extremes& x, LineVec outer) {
  const LineTag d;
  const LineVec one = hn::Set(d, 1.0f);
  const LineVec most = hn::Set(d, 127.0f);
  switch (code) {
    case Code::kE4M3: {
      // DeepGEMM's per_token_cast_to_fp8 and per_block_cast_to_fp8.
      const LineVec floor = hn::Set(d, 1e-4f);
      const LineVec amax =
          hn::IfThenElse(hn::Lt(x.magnitude, floor), floor, x.magnitude);
      const LineVec scale = hn::Div(amax, hn::Set(d, kE4M3.largest));
      return {scale, hn::Div(one, scale)};
    }
    case Code::kMXE4M3:
    case Code::kMXE2M1: {
      const LineVec scale =
          PowersOfBlocks(x.magnitude, code == Code::kMXE4M3 ? 8 : 2);
      return {scale, hn::Div(one, scale)};
    }
    case Code::kNVE2M1: {
      // pytorch/ao's nvfp4_quantize, by the reciprocal too.
      LineVec scale =
          hn::Div(hn::Div(x.magnitude, hn::Set(d, kE2M1.largest)), outer);
      const LineVec least = hn::Set(d, 0x1p-6f);
      scale = hn::IfThenElse(hn::Lt(scale, least), least, scale);
      scale = RoundToMinifloat(d, kE4M3, scale);
      return {scale, hn::Div(hn::Div(one, outer), scale)};
    }
    case Code::kInt8: {
      // vLLM's dynamic_scaled_int8_quant.
      const LineVec amax = OneIfZero(x.magnitude);
      return {hn::Div(x.magnitude, most), hn::Div(most, amax)};
    }
    case Code::kQ8_0:
    case Code::kQ8_1: {
      // ggml's quantize_row_q8_0 on x86-64.
      const LineVec amax = OneIfZero(x.magnitude);
      return {RoundToF16(d, hn::Div(x.magnitude, most)), hn::Div(most, amax)};
    }
    case Code::kQ8_K: {
      // ggml's quantize_row_q8_K.
      const LineVec inverse = hn::Div(hn::Neg(most), OneIfZero(x.value));
      const auto is_zero = hn::Eq(x.value, hn::Zero(d));
      return {hn::IfThenZeroElse(is_zero, hn::Div(one, inverse)), inverse};
    }
    case Code::kF32:
    case Code::kBF16:
    case Code::kF16:
    case Code::kTF32:
    case Code::kTF32Nearest:
      break;
  }
  return {one, one};
}

HWY_INLINE LineVec Rounded(Code code, LineVec v) {
  const LineTag d;
  switch (code) {
    case Code::kF32:
      return v;
    case Code::kBF16:
      return RoundToBF16(d, v);
    case Code::kF16:
      return RoundToF16(d, v);
    case Code::kTF32: {
      const hn::RebindToUnsigned<LineTag> du;
      const LineVec cut =
          hn::BitCast(d, hn::And(hn::BitCast(du, v), hn::Set(du, 0xFFFFE000u)));
      return hn::IfThenElse(hn::IsNaN(v), v, cut);
    }
    case Code::kTF32Nearest: {
      // Half a spacing more in magnitude, cut off: ties go away from zero.
      const hn::RebindToUnsigned<LineTag> du;
      const auto more = hn::Add(hn::BitCast(du, v), hn::Set(du, 0x1000u));
      const LineVec cut =
          hn::BitCast(d, hn::And(more, hn::Set(du, 0xFFFFE000u)));
      return hn::IfThenElse(hn::IsFinite(v), cut, v);
    }
    case Code::kE4M3:
    case Code::kMXE4M3:
      return RoundToMinifloat(d, kE4M3, v);
    case Code::kMXE2M1:
    case Code::kNVE2M1:
      return RoundToMinifloat(d, kE2M1, v);
    case Code::kInt8:
    case Code::kQ8_0:
    case Code::kQ8_1:
    case Code::kQ8_K:
      return RoundToInt8(v);
  }
  return v;
}

// ggml's quantize_row_q8_1 keeps the sum of a block's values as an f16: the sum
// of its integers times the scale before that is rounded to f16. Less what
// those integers are by the rounded scale: what a minimum of B is multiplied by
// besides.
inline LineVec OffsetOf(const float* integers, size_t rows, LineVec magnitude,
                        LineVec scale) {
  const LineTag d;
  LineVec sum = hn::Zero(d);
  for (size_t r = 0; r < rows; ++r) {
    sum = hn::Add(sum, hn::LoadU(d, integers + r * kPanelWidth));
  }
  const LineVec unrounded = hn::Div(magnitude, hn::Set(d, 127.0f));
  return hn::Sub(RoundToF16(d, hn::Mul(unrounded, sum)), hn::Mul(scale, sum));
}

// NVFP4's scale of a tensor, or of a line: amax / (448 * 6), and 1 of zeros.
HWY_INLINE LineVec OuterScale(LineVec amax) {
  const LineTag d;
  return OneIfZero(hn::Div(amax, hn::Set(d, kE4M3.largest * kE2M1.largest)));
}

// The largest magnitude of a block of all lines of some panels, in every lane;
// NaN if one is not finite.
inline LineVec SharedMagnitude(const EnginePanel* panels, size_t count,
                               size_t first, size_t rows) {
  const LineTag d;
  float most = 0;
  for (size_t p = 0; p < count; ++p) {
    for (size_t lane = 0; lane < kPanelWidth; lane += kLineLanes) {
      HWY_ALIGN float lanes[kLineLanes];
      hn::Store(ExtremesOf(panels[p].values + first * kPanelWidth + lane, rows)
                    .magnitude,
                d, lanes);
      for (const float x : lanes) {
        if (std::isnan(x) || x > most) most = x;  // a NaN stays: nothing is >
      }
    }
  }
  return hn::Set(d, most);
}

inline bool HasScales(Code code) {
  return code != Code::kF32 && code != Code::kBF16 && code != Code::kF16 &&
         code != Code::kTF32 && code != Code::kTF32Nearest;
}

// Block b, `rows` of k from `first` on, of the lines from `lane` on, whose
// extremes are `x`.
inline void QuantizeBlock(Code code, const EnginePanel& panel, size_t b,
                          size_t first, size_t rows, size_t lane,
                          const Extremes& x) {
  const LineTag d;
  BlockScale scale = {hn::Set(d, 1.0f), hn::Set(d, 1.0f)};
  if (HasScales(code)) {
    scale = ScaleOf(code, x, hn::LoadU(d, panel.outer + lane));
  }
  hn::StoreU(scale.scale, d, panel.scales + b * kPanelWidth + lane);
  if (code == Code::kF32) return;
  float* const values = panel.values + first * kPanelWidth + lane;
  for (size_t r = 0; r < rows; ++r) {
    float* const at = values + r * kPanelWidth;
    hn::StoreU(Rounded(code, hn::Mul(hn::LoadU(d, at), scale.inverse)), d, at);
  }
  if (code == Code::kQ8_1) {
    hn::StoreU(OffsetOf(values, rows, x.magnitude, scale.scale), d,
               panel.offsets + b * kPanelWidth + lane);
  }
}

// Quantises panels that lie side by side, where they are. Those of a tile share
// their scales. `amax` is that of B's tensor, for forms that need it.
inline void QuantizePanels(const OperandForm& form, size_t k, float amax,
                           const EnginePanel* panels, size_t count) {
  const LineTag d;
  for (size_t p = 0; p < count; ++p) {
    for (size_t lane = 0; lane < kPanelWidth; lane += kLineLanes) {
      LineVec outer = hn::Set(d, 1.0f);
      if (form.code == Code::kNVE2M1) {
        outer = OuterScale(
            form.of_tensor ? hn::Set(d, amax)
                           : ExtremesOf(panels[p].values + lane, k).magnitude);
      }
      hn::StoreU(outer, d, panels[p].outer + lane);
    }
  }
  const size_t block = form.block == 0 ? k : form.block;
  for (size_t first = 0, b = 0; first < k; first += block, ++b) {
    const size_t rows = std::min(block, k - first);
    Extremes x = {hn::Zero(d), hn::Zero(d)};
    if (form.tile_panels > 1) {
      x.magnitude = SharedMagnitude(panels, count, first, rows);
    }
    for (size_t p = 0; p < count; ++p) {
      for (size_t lane = 0; lane < kPanelWidth; lane += kLineLanes) {
        if (HasScales(form.code) && form.tile_panels == 1) {
          x = ExtremesOf(panels[p].values + first * kPanelWidth + lane, rows);
        }
        QuantizeBlock(form.code, panels[p], b, first, rows, lane, x);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
