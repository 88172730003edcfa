#include "kernels/ops/block_widen.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/base.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_type.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/block_widen.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// How far ahead of what is widened a panel's bytes are fetched: a group takes
// as long as some of the machine's memory latency.
inline constexpr size_t kAheadBytes = 2048;

using DF = hn::CappedTag<float, kPanelWidth>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;

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

// Values of codes without their scale.
template <const BlockLayout& kLayout, class VI>
HWY_INLINE VF Decoded(VI codes) {
  const DF df;
  const DI di;
  if constexpr (kLayout.table != nullptr) {
    return hn::ConvertTo(df, LookUp(kLayout.table, codes));
  } else if constexpr (kLayout.bias != 0) {
    return hn::ConvertTo(df, hn::Sub(codes, hn::Set(di, kLayout.bias)));
  } else {
    return hn::ConvertTo(df, codes);
  }
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

// A vector of kPanelWidth rows, from row `row` on, over all k of a group. The
// products are exact: which of them comes first, and whether the difference is
// a fused one, does not matter.
template <const BlockLayout& kLayout>
HWY_INLINE void WidenGroup(const uint8_t* HWY_RESTRICT header,
                           const uint8_t* HWY_RESTRICT group, size_t row,
                           float* HWY_RESTRICT to) {
  constexpr size_t kRuns = kGroup / kLayout.run;
  const DF df;
  const DI di;
  const DU du;
  VF d, min = hn::Zero(df);
  if constexpr (kLayout.is_wide) {
    d = hn::LoadU(df, reinterpret_cast<const float*>(header) + row);
  } else {
    d = LoadHalves(header + row * 2);
  }
  if constexpr (kLayout.has_min) {
    min =
        LoadHalves(header + kPanelWidth * (kLayout.is_wide ? 4 : 2) + row * 2);
  }
  const uint8_t* const codes = group + kLayout.scale_bytes();
  HWY_UNROLL(2)
  for (size_t run = 0; run < kRuns; ++run) {
    VF scale = d, run_min = min;
    if constexpr (kLayout.has_run_scales) {
      scale = hn::Mul(d, LoadBytes<int8_t>(group + run * kPanelWidth + row));
      if constexpr (kLayout.has_min) {
        run_min = hn::Mul(
            min, LoadBytes<uint8_t>(group + (kRuns + run) * kPanelWidth + row));
      }
    }
    const auto put = [&](size_t i, VF value) HWY_ATTR {
      if constexpr (kLayout.has_min) {
        value = hn::MulSub(scale, value, run_min);
      } else {
        value = hn::Mul(scale, value);
      }
      hn::Store(value, df, to + i * kPanelWidth + row);
    };
    if constexpr (kLayout.low_bits == 8) {
      HWY_UNROLL(8)
      for (size_t i = 0; i < kGroup; ++i) {
        put(i, LoadBytes<int8_t>(codes + i * kPanelWidth + row));
      }
    } else {
      constexpr size_t kPerWord = 32 / static_cast<size_t>(kLayout.low_bits);
      constexpr size_t kWords = kLayout.run / kPerWord;
      const auto low_mask = hn::Set(du, (1u << kLayout.low_bits) - 1);
      const auto high_mask = hn::Set(du, (1u << kLayout.high_bits) - 1);
      const uint8_t* const high_words =
          codes +
          kPanelWidth * kGroup / 8 * static_cast<size_t>(kLayout.low_bits);
      HWY_UNROLL(4)
      for (size_t w = 0; w < kWords; ++w) {
        const size_t word = run * kWords + w;
        auto low = hn::LoadU(du, reinterpret_cast<const uint32_t*>(codes) +
                                     word * kPanelWidth + row);
        auto high = hn::Zero(du);
        if constexpr (kLayout.high_bits > 0) {
          // Neighbouring words of low bits share one.
          const size_t bit = word * kPerWord * kLayout.high_bits;
          high = hn::ShiftRightSame(
              hn::LoadU(du, reinterpret_cast<const uint32_t*>(high_words) +
                                bit / 32 * kPanelWidth + row),
              static_cast<int>(bit % 32));
        }
        HWY_UNROLL(16)
        for (size_t i = 0; i < kPerWord; ++i) {
          auto code = hn::And(low, low_mask);
          low = hn::ShiftRight<kLayout.low_bits>(low);
          if constexpr (kLayout.high_bits > 0) {
            code = hn::Or(code, hn::ShiftLeft<kLayout.low_bits>(
                                    hn::And(high, high_mask)));
            high = hn::ShiftRight<kLayout.high_bits>(high);
          }
          put(word * kPerWord + i, Decoded<kLayout>(hn::BitCast(di, code)));
        }
      }
    }
  }
}

template <const BlockLayout& kLayout>
void Widen(const uint8_t* panel, size_t first, size_t last, float* to) {
  constexpr size_t kGroups = kLayout.elements / kGroup;
  constexpr size_t kGroupBytes = kLayout.group_bytes();
  constexpr size_t kHeaderBytes = kLayout.header_bytes();
  constexpr size_t kBlockBytes = kHeaderBytes + kGroups * kGroupBytes;
  constexpr size_t kLanes = HWY_MAX_LANES_D(DF);
  for (size_t g = first; g < last; ++g, to += kGroup * kPanelWidth) {
    const uint8_t* const header = panel + g / kGroups * kBlockBytes;
    const uint8_t* const group =
        header + kHeaderBytes + g % kGroups * kGroupBytes;
    for (size_t at = 0; at < kGroupBytes; at += 64) {
      hwy::Prefetch(group + kAheadBytes + at);
    }
    for (size_t row = 0; row < kPanelWidth; row += kLanes) {
      WidenGroup<kLayout>(header, group, row, to);
    }
  }
}

// In the order of BlockTypes().
const WidenBlocksFn* WidenTable() {
  static constexpr WidenBlocksFn kTable[] = {
      &Widen<kQ4_0Layout>,  &Widen<kQ4_1Layout>,   &Widen<kQ5_0Layout>,
      &Widen<kQ5_1Layout>,  &Widen<kQ8_0Layout>,   &Widen<kQ2_KLayout>,
      &Widen<kQ3_KLayout>,  &Widen<kQ4_KLayout>,   &Widen<kQ5_KLayout>,
      &Widen<kQ6_KLayout>,  &Widen<kIQ4_NLLayout>, &Widen<kIQ4_XSLayout>,
      &Widen<kMXFP4Layout>,
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
