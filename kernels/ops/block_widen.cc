#include "kernels/ops/block_widen.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "hwy/base.h"
#include "hwy/cache_control.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/matmul_prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/block_widen.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kPanelWidth>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VU = hn::Vec<DU>;

// 16 values for any lane's low four bits.
template <class VI>
HWY_INLINE VI LookUp(const int8_t* table, VI codes) {
  const DI di;
  const hn::Repartition<uint8_t, DI> d8;
  const auto of_bytes =
      hn::LoadDup128(d8, reinterpret_cast<const uint8_t*>(table));
  const auto found = hn::TableLookupBytes(of_bytes, hn::BitCast(d8, codes));
  return hn::ShiftRight<24>(hn::ShiftLeft<24>(hn::BitCast(di, found)));
}

HWY_INLINE VF LoadHalves(const uint8_t* from) {
  const DF df;
  const hn::Rebind<hwy::float16_t, DF> dh;
  return hn::PromoteTo(
      df, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(from)));
}

template <typename T>
HWY_INLINE VF LoadBytes(const uint8_t* from) {
  const DF df;
  const DI di;
  const hn::Rebind<T, DF> d8;
  return hn::ConvertTo(
      df, hn::PromoteTo(di, hn::LoadU(d8, reinterpret_cast<const T*>(from))));
}

// Bytes that are FP8 E4M3: their exponent and mantissa as those of an f32,
// which is then too small by 2^120, subnormal ones included.
HWY_INLINE VF LoadE4M3(const uint8_t* from) {
  const DF df;
  const DU du;
  const hn::Rebind<uint8_t, DF> d8;
  const VU bits = hn::PromoteTo(du, hn::LoadU(d8, from));
  const VU sign = hn::ShiftLeft<24>(hn::And(bits, hn::Set(du, 0x80u)));
  const VU magnitude = hn::And(bits, hn::Set(du, 0x7Fu));
  const VF value = hn::Mul(hn::BitCast(df, hn::ShiftLeft<20>(magnitude)),
                           hn::Set(df, 0x1p120f));
  const auto is_nan = hn::RebindMask(df, hn::Eq(magnitude, hn::Set(du, 0x7Fu)));
  return hn::Or(hn::IfThenElse(is_nan, hn::NaN(df), value),
                hn::BitCast(df, sign));
}

// Calls f with 0, 1, ... as constants.
template <size_t... kI, class F>
HWY_INLINE void ForEachIndex(std::index_sequence<kI...> /*indices*/,
                             const F& f) {
  (f(std::integral_constant<size_t, kI>()), ...);
}

// A vector of kPanelWidth rows, from row `row` on, over all k of a group. The
// products are exact: which of them comes first, and whether the difference is
// a fused one, does not matter.
template <const BlockLayout& kLayout>
class GroupWidener {
 public:
  HWY_INLINE GroupWidener(const uint8_t* header, const uint8_t* group,
                          size_t row, float* to, const uint8_t* ahead)
      : to_(to + row), ahead_(ahead + row / kLanes * kAheadOfRow) {
    const DF df;
    VF d, min = hn::Zero(df);
    if constexpr (kLayout.is_wide) {
      d = hn::LoadU(df, reinterpret_cast<const float*>(header) + row);
    } else {
      d = LoadHalves(header + row * 2);
    }
    if constexpr (kLayout.has_min) {
      constexpr size_t kAfterD = kPanelWidth * (kLayout.is_wide ? 4 : 2);
      min = LoadHalves(header + kAfterD + row * 2);
    }
    HWY_UNROLL(2)
    for (size_t run = 0; run < kRuns; ++run) {
      VF scale = d;
      mins_[run] = min;
      if constexpr (kLayout.has_run_scales) {
        scale = hn::Mul(d, LoadBytes<int8_t>(group + run * kPanelWidth + row));
        if constexpr (kLayout.has_min) {
          mins_[run] = hn::Mul(
              min,
              LoadBytes<uint8_t>(group + (kRuns + run) * kPanelWidth + row));
        }
      }
      HWY_UNROLL(4)
      for (size_t j = 0; j < kPlaces; ++j) {
        scales_[run * kPlaces + j] =
            j == 0 ? scale
                   : hn::Mul(scale, hn::Set(df, 1.0f / static_cast<float>(
                                                           1 << (j * kBits))));
      }
    }
    const uint8_t* const codes = group + kLayout.scale_bytes();
    if constexpr (kLayout.bits == 8) {
      HWY_UNROLL(8)
      for (size_t i = 0; i < kGroup; ++i) {
        if (i % 4 == 0) FetchAhead(i / 4);
        const uint8_t* const of_k = codes + i * kPanelWidth + row;
        Put(i, 0, kLayout.is_e4m3 ? LoadE4M3(of_k) : LoadBytes<int8_t>(of_k));
      }
    } else {
      AddWords(reinterpret_cast<const uint32_t*>(codes) + row);
    }
  }

 private:
  static constexpr size_t kBits = static_cast<size_t>(kLayout.bits);
  static constexpr size_t kRuns = kGroup / kLayout.run;
  static constexpr size_t kPerWord = 32 / kBits;
  static constexpr bool kIsPlain = kLayout.bits < 8 && kLayout.table == nullptr;
  // Codes that are widened where they stand in a word, which is below 2^23.
  static constexpr size_t kPlaces = !kIsPlain ? 1 : kBits == 6 ? 3 : 4;

  // A vector of rows fetches its share, in kBits parts: all at once would fill
  // the CPU's buffers, and what is computed would wait.
  static constexpr size_t kLanes = HWY_MAX_LANES_D(DF);
  static constexpr size_t kLinesOfPart = hwy::DivCeil(
      kLayout.group_bytes() * kLanes, kPanelWidth* kBits* kCacheLine);
  static constexpr size_t kAheadOfRow = kLinesOfPart * kBits * kCacheLine;

  HWY_INLINE void FetchAhead(size_t part) const {
    HWY_UNROLL(4)
    for (size_t i = 0; i < kLinesOfPart; ++i) {
      hwy::Prefetch(ahead_ + (part * kLinesOfPart + i) * kCacheLine);
    }
  }

  // Element i of the group, whose value without the scale is `value` times 2 to
  // the bits below its place.
  HWY_INLINE void Put(size_t i, size_t place, VF value) const {
    const DF df;
    const size_t run = i / kLayout.run;
    const VF scale = scales_[run * kPlaces + place];
    hn::Store(kLayout.has_min ? hn::MulSub(scale, value, mins_[run])
                              : hn::Mul(scale, value),
              df, to_ + i * kPanelWidth);
  }

  // Elements from i on, `count` of them, from a word's lowest bit on. Their
  // bits become those of a float's mantissa: 2^23 and the code, as an integer.
  template <size_t kCount>
  HWY_INLINE void PutPlaces(size_t i, VU word) const {
    const DF df;
    const DU du;
    static_assert(kCount <= kPlaces);
    HWY_UNROLL(4)
    for (size_t j = 0; j < kCount; ++j) {
      const uint32_t ones = ((1u << kBits) - 1) << (j * kBits);
      const float zero =
          0x1p23f + static_cast<float>(kLayout.bias << (j * kBits));
      const VU bits =
          hn::OrAnd(hn::Set(du, 0x4B000000u), word, hn::Set(du, ones));
      Put(i + j, j, hn::Sub(hn::BitCast(df, bits), hn::Set(df, zero)));
    }
  }

  HWY_INLINE void AddWords(const uint32_t* words) const {
    const DF df;
    const DI di;
    const DU du;
    VU last_two = hn::Zero(du);
    ForEachIndex(std::make_index_sequence<kBits>(), [&](auto w) HWY_ATTR {
      const VU word = hn::LoadU(du, words + w * kPanelWidth);
      constexpr size_t kFirst = decltype(w)::value * kPerWord;
      FetchAhead(w);
      if constexpr (kIsPlain) {
        constexpr size_t kChunks = hwy::DivCeil(kPerWord, kPlaces);
        ForEachIndex(std::make_index_sequence<kChunks>(), [&](auto c) HWY_ATTR {
          constexpr size_t kAt = decltype(c)::value * kPlaces;
          PutPlaces<std::min(kPlaces, kPerWord - kAt)>(
              kFirst + kAt, hn::ShiftRight<kAt * kBits>(word));
        });
        if constexpr (32 % kBits != 0) {
          last_two = hn::Or(last_two, hn::ShiftLeft<2 * decltype(w)::value>(
                                          hn::ShiftRight<30>(word)));
        }
      } else {
        ForEachIndex(
            std::make_index_sequence<kPerWord>(), [&](auto c) HWY_ATTR {
              const VU code =
                  hn::And(hn::ShiftRight<decltype(c)::value * kBits>(word),
                          hn::Set(du, (1u << kBits) - 1));
              Put(kFirst + c, 0,
                  hn::ConvertTo(df,
                                LookUp(kLayout.table, hn::BitCast(di, code))));
            });
      }
    });
    if constexpr (kIsPlain && 32 % kBits != 0) {
      PutPlaces<2>(kGroup - 2, last_two);
    }
  }

  float* HWY_RESTRICT to_;
  const uint8_t* const ahead_;
  VF scales_[kRuns * kPlaces];  // times 2 to minus the bits below each place
  VF mins_[kRuns];
};

template <const BlockLayout& kLayout>
void Widen(const uint8_t* panel, size_t first, size_t last, float* to,
           const uint8_t* ahead) {
  constexpr size_t kGroups = kLayout.elements / kGroup;
  constexpr size_t kGroupBytes = kLayout.group_bytes();
  constexpr size_t kHeaderBytes = kLayout.header_bytes();
  constexpr size_t kBlockBytes = kHeaderBytes + kGroups * kGroupBytes;
  constexpr size_t kLanes = HWY_MAX_LANES_D(DF);
  for (size_t g = first; g < last;
       ++g, to += kGroup * kPanelWidth, ahead += kGroupBytes) {
    const uint8_t* const header = panel + g / kGroups * kBlockBytes;
    const uint8_t* const group =
        header + kHeaderBytes + g % kGroups * kGroupBytes;
    for (size_t row = 0; row < kPanelWidth; row += kLanes) {
      GroupWidener<kLayout>(header, group, row, to, ahead);
    }
  }
}

// In the order of BlockTypes().
const WidenBlocksFn* WidenTable() {
  static constexpr WidenBlocksFn kTable[] = {
      &Widen<kQ4_0Layout>,  &Widen<kQ4_1Layout>,    &Widen<kQ5_0Layout>,
      &Widen<kQ5_1Layout>,  &Widen<kQ8_0Layout>,    &Widen<kQ2_KLayout>,
      &Widen<kQ3_KLayout>,  &Widen<kQ4_KLayout>,    &Widen<kQ5_KLayout>,
      &Widen<kQ6_KLayout>,  &Widen<kIQ4_NLLayout>,  &Widen<kIQ4_XSLayout>,
      &Widen<kMXFP4Layout>, &Widen<kF8_E4M3Layout>,
  };
  return kTable;
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(WidenTable);

WidenBlocksFn WidenBlocksOf(const BlockType& type) {
  return HWY_DYNAMIC_DISPATCH(WidenTable)()[&type - BlockTypes().data()];
}

}  // namespace ulpscope
#endif  // HWY_ONCE
