// The table that a kernel file exports per target: one function per strategy,
// null where the strategy does not take the kernel.
#if defined(KERNELS_STRATEGY_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_TABLE_INL_H_
#undef KERNELS_STRATEGY_TABLE_INL_H_
#else
#define KERNELS_STRATEGY_TABLE_INL_H_
#endif

#include <array>
#include <cstddef>
#include <type_traits>

#include "kernels/base/cpu.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/strategy_info.h"

// For AVX3_SPR a compiler makes of these kernels what it makes for AVX3 (GCC
// 12: functions of the very same sizes), unless they use dot products of bf16,
// and what AVX3_ZEN4 adds AVX3_SPR has too. Where AVX3 is built, they have its
// functions, but for those of IsOwn: half as much to compile.
#undef ULPSCOPE_HAS_AVX3_TABLES
#if (HWY_TARGET == HWY_AVX3_SPR || HWY_TARGET == HWY_AVX3_ZEN4) && \
    (HWY_TARGETS & HWY_AVX3) && HWY_STATIC_TARGET != HWY_AVX3
#define ULPSCOPE_HAS_AVX3_TABLES 1
#else
#define ULPSCOPE_HAS_AVX3_TABLES 0
#endif

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {

static_assert(TargetHasBf16Dot(HWY_TARGET) == (HWY_NATIVE_DOT_BF16 != 0));

// Whether this target compiles kernel kKernel for strategy S, which takes it,
// though it has AVX3's functions: for an instruction that AVX3 lacks, or
// because sums are computed by other units (error_free-inl.h), which is most of
// what a MatMul does.
template <Kernel kKernel, class S>
constexpr bool IsOwn() {
  if constexpr (!ULPSCOPE_HAS_AVX3_TABLES || S::kInfo.needs_bf16_dot) {
    return true;
  } else if constexpr (kAddersApart && kKernel == Kernel::kMatMul) {
    return S::Sum::kCompensated;
  } else {
    return false;
  }
}

// Implementation<S>::Run is the kernel under strategy S. A strategy that needs
// an instruction is there on the targets that have it; one with an engine has
// no MatMul of its own.
template <template <class> class Implementation, Kernel kKernel, typename Fn,
          class S>
constexpr Fn EntryOf() {
  if constexpr ((S::kInfo.kernels & KernelBit(kKernel)) != 0 &&
                (!S::kInfo.needs_bf16_dot || HWY_NATIVE_DOT_BF16) &&
                (S::kInfo.engine == nullptr || kKernel != Kernel::kMatMul)) {
    if constexpr (IsOwn<kKernel, S>()) return &Implementation<S>::Run;
  }
  return nullptr;
}

template <template <class> class Implementation, Kernel kKernel, typename Fn,
          class... S>
const Fn* TableOf(StrategyList<S...> /*all*/) {
  static constexpr Fn kTable[] = {EntryOf<Implementation, kKernel, Fn, S>()...};
  return kTable;
}

// Its table with AVX3's entries where it has none.
template <template <class> class Implementation, Kernel kKernel, typename Fn,
          class... S>
const Fn* TableOver(const Fn* avx3, StrategyList<S...> all) {
  static const auto table = [&] {
    std::array<Fn, sizeof...(S)> merged;
    const Fn* own = TableOf<Implementation, kKernel, Fn>(all);
    for (size_t i = 0; i < merged.size(); ++i) {
      merged[i] = own[i] != nullptr ? own[i] : avx3[i];
    }
    return merged;
  }();
  return table.data();
}

// The table of what no strategy needs an instruction for: it has every one.
template <template <class> class Implementation, typename Fn, class... S>
const Fn* TableOfEvery(StrategyList<S...> /*all*/) {
  static constexpr Fn kTable[] = {&Implementation<S>::Run...};
  return kTable;
}

// The index of strategy S.
template <class S, class... All>
constexpr size_t IndexOf(StrategyList<All...> /*all*/) {
  constexpr bool kIs[] = {std::is_same_v<S, All>...};
  size_t index = 0;
  while (!kIs[index]) ++index;
  return index;
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
