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
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kPanelWidth>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VU = hn::Vec<DU>;

inline constexpr size_t kLanes = HWY_MAX_LANES_D(DF);

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

// Of 16 values those that lanes of 0 to 15 name.
HWY_INLINE VF LookUp(const int8_t* table, VU codes) {
  const DF df;
  const DI di;
  if constexpr (kLanes == 16) {
    return hn::TableLookupLanes(
        LoadBytes<int8_t>(reinterpret_cast<const uint8_t*>(table)),
        hn::IndicesFromVec(df, codes));
  }
  const hn::Repartition<uint8_t, DI> d8;
  const auto of_bytes =
      hn::LoadDup128(d8, reinterpret_cast<const uint8_t*>(table));
  const auto found = hn::TableLookupBytes(of_bytes, hn::BitCast(d8, codes));
  return hn::ConvertTo(
      df, hn::ShiftRight<24>(hn::ShiftLeft<24>(hn::BitCast(di, found))));
}

// Two vectors of bytes that are FP8 E4M3, by way of f16: their exponent and
// mantissa as those of an f16, which is then too small by 2^8. Subnormal ones,
// which are common, stay exact there; as f32 they would be subnormal too, which
// CPUs multiply many times more slowly (docs/performance.md).
HWY_INLINE void LoadE4M3(const uint8_t* from, VF (&values)[2]) {
  const DF df;
  const hn::Repartition<int16_t, DF> d16;
  const hn::Repartition<hwy::float16_t, DF> dh;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const auto codes =
      hn::PromoteTo(d16, hn::LoadU(d8, reinterpret_cast<const int8_t*>(from)));
  const auto ones = hn::Set(d16, int16_t{0x3F80});
  // Bit 14 is a copy of the sign.
  const auto shifted = hn::ShiftLeft<7>(codes);
  const auto nan = hn::IfThenElseZero(hn::Eq(hn::And(shifted, ones), ones),
                                      hn::Set(d16, int16_t{0x7E00}));
  const auto halves = hn::BitCast(
      dh, hn::Or(hn::AndNot(hn::Set(d16, int16_t{0x4000}), shifted), nan));
  const VF scale = hn::Set(df, 0x1p8f);
  values[0] = hn::Mul(hn::PromoteLowerTo(df, halves), scale);
  values[1] = hn::Mul(hn::PromoteUpperTo(df, halves), scale);
}

// Calls f with 0, 1, ... as constants.
template <size_t... kI, class F>
HWY_INLINE void ForEachIndex(std::index_sequence<kI...> /*indices*/,
                             const F& f) {
  (f(std::integral_constant<size_t, kI>()), ...);
}

// Vectors of a panel's rows that are computed side by side: two chains of
// additions at once, where their scales need not many registers.
template <const BlockLayout& kLayout>
inline constexpr size_t kSideBySide = kLayout.bits == 8 ? 2 : 1;

// What is fetched ahead in a group's time, in parts: all at once would fill the
// CPU's buffers, and what is computed would wait. Vectors of rows have their
// shares.
template <const BlockLayout& kLayout>
class GroupFetch {
 public:
  static constexpr size_t kParts = static_cast<size_t>(kLayout.bits);

  HWY_INLINE GroupFetch(const uint8_t* ahead, size_t row)
      : ahead_(ahead + row / kRows * (kLines * kCacheLine)) {}

  HWY_INLINE void Part(size_t part) const {
    HWY_UNROLL(4)
    for (size_t line = part * kLines / kParts;
         line < (part + 1) * kLines / kParts; ++line) {
      hwy::Prefetch(ahead_ + line * kCacheLine);
    }
  }

 private:
  static constexpr size_t kRows = kSideBySide<kLayout> * kLanes;
  // With a share of the block's header.
  static constexpr size_t kLines =
      hwy::DivCeil(kLayout.panel_bytes() * kGroup / kLayout.elements * kRows,
                   kPanelWidth* kCacheLine);

  const uint8_t* const ahead_;
};

template <const BlockLayout& kLayout>
HWY_INLINE VF LoadD(const uint8_t* header, size_t row) {
  if constexpr (kLayout.is_wide) {
    const DF df;
    return hn::LoadU(df, reinterpret_cast<const float*>(header) + row);
  } else {
    return LoadHalves(header + row * 2);
  }
}

// Codes that are bytes: put(i, v, value) takes the values of k = i in the v-th
// of the vectors that are computed side by side, from row `row` on.
template <const BlockLayout& kLayout, class Put>
HWY_INLINE void WidenBytes(const uint8_t* header, const uint8_t* group,
                           size_t row, const uint8_t* ahead, const Put& put) {
  static_assert(!kLayout.has_min && !kLayout.has_run_scales);
  constexpr size_t kVectors = kSideBySide<kLayout>;
  static_assert(kVectors == 2 && kPanelWidth % (kVectors * kLanes) == 0);
  const GroupFetch<kLayout> fetch(ahead, row);
  const VF d[kVectors] = {LoadD<kLayout>(header, row),
                          LoadD<kLayout>(header, row + kLanes)};
  HWY_UNROLL(32)
  for (size_t i = 0; i < kGroup; ++i) {
    if (i % (kGroup / fetch.kParts) == 0) {
      fetch.Part(i / (kGroup / fetch.kParts));
    }
    const uint8_t* const codes = group + i * kPanelWidth + row;
    VF values[kVectors];
    if constexpr (kLayout.is_e4m3) {
      LoadE4M3(codes, values);
    } else {
      values[0] = LoadBytes<int8_t>(codes);
      values[1] = LoadBytes<int8_t>(codes + kLanes);
    }
    put(i, 0, hn::Mul(d[0], values[0]));
    put(i, 1, hn::Mul(d[1], values[1]));
  }
}

// A vector of kPanelWidth rows, from row `row` on, over all k of a group, whose
// codes are in words: put(i, 0, value) takes the values of k = i. The products
// are exact: which of them comes first, and whether the difference is a fused
// one, does not matter.
template <const BlockLayout& kLayout, class Put>
class GroupWidener {
 public:
  HWY_INLINE GroupWidener(const uint8_t* header, const uint8_t* group,
                          size_t row, const uint8_t* ahead, const Put& put)
      : put_(put), fetch_(ahead, row) {
    const DF df;
    const VF d = LoadD<kLayout>(header, row);
    VF min = hn::Zero(df);
    if constexpr (kLayout.has_min) {
      static_assert(!kLayout.is_wide);
      min = LoadHalves(header + kPanelWidth * 2 + row * 2);
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
    AddWords(reinterpret_cast<const uint32_t*>(group + kLayout.scale_bytes()) +
             row);
  }

 private:
  static constexpr size_t kBits = static_cast<size_t>(kLayout.bits);
  static constexpr size_t kRuns = kGroup / kLayout.run;
  static constexpr size_t kPerWord = 32 / kBits;
  static constexpr bool kIsPlain = kLayout.table == nullptr;
  // Codes that are widened where they stand in a word, which is below 2^23.
  static constexpr size_t kPlaces = !kIsPlain ? 1 : kBits == 6 ? 3 : 4;

  // Element i of the group, whose value without the scale is `value` times 2 to
  // the bits below its place.
  HWY_INLINE void PutScaled(size_t i, size_t place, VF value) const {
    const size_t run = i / kLayout.run;
    const VF scale = scales_[run * kPlaces + place];
    put_(i, 0,
         kLayout.has_min ? hn::MulSub(scale, value, mins_[run])
                         : hn::Mul(scale, value));
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
      PutScaled(i + j, j, hn::Sub(hn::BitCast(df, bits), hn::Set(df, zero)));
    }
  }

  HWY_INLINE void AddWords(const uint32_t* words) const {
    const DU du;
    VU last_two = hn::Zero(du);
    ForEachIndex(std::make_index_sequence<kBits>(), [&](auto w) HWY_ATTR {
      const VU word = hn::LoadU(du, words + w * kPanelWidth);
      constexpr size_t kFirst = decltype(w)::value * kPerWord;
      fetch_.Part(w);
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
              PutScaled(kFirst + c, 0, LookUp(kLayout.table, code));
            });
      }
    });
    if constexpr (kIsPlain && 32 % kBits != 0) {
      PutPlaces<2>(kGroup - 2, last_two);
    }
  }

  const Put& put_;
  const GroupFetch<kLayout> fetch_;
  VF scales_[kRuns * kPlaces];  // times 2 to minus the bits below each place
  VF mins_[kRuns];
};

// Calls with_group(g, header, group) for groups [first, last) of a panel.
template <const BlockLayout& kLayout, class WithGroup>
HWY_INLINE void ForEachGroup(const uint8_t* panel, size_t first, size_t last,
                             const WithGroup& with_group) {
  constexpr size_t kGroups = kLayout.elements / kGroup;
  for (size_t g = first; g < last; ++g) {
    const uint8_t* const header = panel + g / kGroups * kLayout.panel_bytes();
    with_group(
        g, header,
        header + kLayout.header_bytes() + g % kGroups * kLayout.group_bytes());
  }
}

// put(i, v, value) as above, for whatever a layout's codes are in.
template <const BlockLayout& kLayout, class Put>
HWY_INLINE void WidenGroup(const uint8_t* header, const uint8_t* group,
                           size_t row, const uint8_t* ahead, const Put& put) {
  if constexpr (kLayout.bits == 8) {
    WidenBytes<kLayout>(header, group, row, ahead, put);
  } else {
    GroupWidener<kLayout, Put>(header, group, row, ahead, put);
  }
}

template <const BlockLayout& kLayout>
void Widen(const uint8_t* panel, size_t first, size_t last, float* to,
           const uint8_t* ahead) {
  const DF df;
  ForEachGroup<kLayout>(
      panel, first, last,
      [&](size_t g, const uint8_t* header, const uint8_t* group) HWY_ATTR {
        constexpr size_t kRows = kSideBySide<kLayout> * kLanes;
        float* HWY_RESTRICT group_to = to + (g - first) * kGroup * kPanelWidth;
        for (size_t row = 0; row < kPanelWidth; row += kRows) {
          WidenGroup<kLayout>(
              header, group, row, ahead + (g - first) * kLayout.group_bytes(),
              [&](size_t i, size_t v, VF value) HWY_ATTR {
                hn::Store(value, df,
                          group_to + i * kPanelWidth + row + v * kLanes);
              });
        }
      });
}

// The vectors of a panel are chains of additions that wait for each other only
// from group to group: the CPU overlaps one's end with the next one's start.
template <const BlockLayout& kLayout>
void AddProducts(const uint8_t* panel, size_t first, size_t last,
                 const float* HWY_RESTRICT a, float* HWY_RESTRICT sums,
                 const uint8_t* ahead) {
  const DF df;
  ForEachGroup<kLayout>(
      panel, first, last,
      [&](size_t g, const uint8_t* header, const uint8_t* group) HWY_ATTR {
        constexpr size_t kVectors = kSideBySide<kLayout>;
        const float* HWY_RESTRICT of_group = a + (g - first) * kGroup;
        for (size_t row = 0; row < kPanelWidth; row += kVectors * kLanes) {
          VF s[kVectors], c = hn::Zero(df);
          HWY_UNROLL(2)
          for (size_t v = 0; v < kVectors; ++v) {
            s[v] = hn::Load(df, sums + row + v * kLanes);
          }
          WidenGroup<kLayout>(
              header, group, row, ahead + (g - first) * kLayout.group_bytes(),
              [&](size_t i, size_t v, VF value) HWY_ATTR {
                F32::Sum::MulAdd(df, hn::Set(df, of_group[i]), value, s[v], c);
              });
          HWY_UNROLL(2)
          for (size_t v = 0; v < kVectors; ++v) {
            hn::Store(s[v], df, sums + row + v * kLanes);
          }
        }
      });
}

template <const BlockLayout& kLayout>
constexpr BlockFns FnsOf() {
  return {&Widen<kLayout>, &AddProducts<kLayout>};
}

// In the order of BlockTypes().
const BlockFns* BlockFnsTable() {
#if ULPSCOPE_HAS_AVX3_TABLES
  return N_AVX3::BlockFnsTable();
#else
  static constexpr BlockFns kTable[] = {
      FnsOf<kQ4_0Layout>(),  FnsOf<kQ4_1Layout>(),    FnsOf<kQ5_0Layout>(),
      FnsOf<kQ5_1Layout>(),  FnsOf<kQ8_0Layout>(),    FnsOf<kQ2_KLayout>(),
      FnsOf<kQ3_KLayout>(),  FnsOf<kQ4_KLayout>(),    FnsOf<kQ5_KLayout>(),
      FnsOf<kQ6_KLayout>(),  FnsOf<kIQ4_NLLayout>(),  FnsOf<kIQ4_XSLayout>(),
      FnsOf<kMXFP4Layout>(), FnsOf<kF8_E4M3Layout>(),
  };
  return kTable;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(BlockFnsTable);

const BlockFns& BlockFnsOf(const BlockType& type) {
  return HWY_DYNAMIC_DISPATCH(BlockFnsTable)()[&type - BlockTypes().data()];
}

}  // namespace ulpscope
#endif  // HWY_ONCE
