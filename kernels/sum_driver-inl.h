// The loops over a sum's terms, shared by all kernels: blocks, trees of block
// sums, and the 16 virtual lanes of a sum over one row.
#if defined(KERNELS_SUM_DRIVER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_SUM_DRIVER_INL_H_
#undef KERNELS_SUM_DRIVER_INL_H_
#else
#define KERNELS_SUM_DRIVER_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/accumulation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <size_t N, class D, class V>
HWY_INLINE void SetZero(D d, V (&v)[N]) {
  HWY_UNROLL(32)
  for (size_t j = 0; j < N; ++j) v[j] = hn::Zero(d);
}

// Adds step(0), step(1), ... step(steps - 1) to the states s and c of N vectors
// of sums; each step adds one term to every sum of every vector. A sum may be
// continued by a further call after a multiple of kBlock steps, but not one
// with a tree, which starts from zero.
template <class Sum, size_t N, class D, class V, class Step>
HWY_INLINE void RunSteps(D d, size_t steps, V (&s)[N], V (&c)[N],
                         const Step& step) {
  if constexpr (Sum::kBlock == 0) {
    for (size_t i = 0; i < steps; ++i) step(i);
  } else if constexpr (!Sum::kTree) {
    size_t i = 0;
    for (; i + Sum::kBlock <= steps; i += Sum::kBlock) {
      for (size_t j = 0; j < Sum::kBlock; ++j) step(i + j);
      HWY_UNROLL(32)
      for (size_t v = 0; v < N; ++v) Sum::EndBlock(d, s[v], c[v]);
    }
    for (; i < steps; ++i) step(i);
  } else {
    // A binary counter of pending sums: pending[l] holds 2^l blocks while bit l
    // of `blocks` is set. Equal to adding neighbours level by level.
    using Lane = hn::TFromD<D>;
    constexpr size_t kLanes = HWY_MAX_LANES_D(D);
    constexpr size_t kLevels = 40;  // 2^40 blocks of 64
    HWY_ALIGN Lane pending[kLevels][N * kLanes];
    size_t blocks = 0;
    for (size_t i = 0; i < steps; ++blocks) {
      SetZero(d, s);
      const size_t end = std::min(steps, i + Sum::kBlock);
      for (; i < end; ++i) step(i);
      size_t level = 0;
      for (; (blocks >> level) & 1; ++level) {
        HWY_UNROLL(32)
        for (size_t v = 0; v < N; ++v) {
          s[v] = hn::Add(hn::Load(d, pending[level] + v * kLanes), s[v]);
        }
      }
      HWY_UNROLL(32)
      for (size_t v = 0; v < N; ++v) {
        hn::Store(s[v], d, pending[level] + v * kLanes);
      }
    }
    SetZero(d, s);
    bool first = true;
    for (size_t level = 0; level < kLevels; ++level) {
      if (!((blocks >> level) & 1)) continue;
      HWY_UNROLL(32)
      for (size_t v = 0; v < N; ++v) {
        const V older = hn::Load(d, pending[level] + v * kLanes);
        s[v] = first ? older : hn::Add(older, s[v]);
      }
      first = false;
    }
  }
}

// A sum over one row has this many lanes on every target: lane l sums the terms
// l, l + 16, l + 32, ... of the row, padded with zeros to a multiple of 16.
inline constexpr size_t kRowLanes = 16;

// The sum of N lanes: l and l + N/2 are merged, then l and l + N/4, ...
template <class Sum, class D, class V = hn::Vec<D>>
HWY_INLINE typename Sum::Lane MergeLanes(D d, V s, V c) {
  if constexpr (HWY_MAX_LANES_D(D) == 1) {
    return hn::GetLane(Sum::Value(d, s, c));
  } else {
    const hn::Half<D> dh;
    auto half_s = hn::LowerHalf(dh, s);
    auto half_c = hn::LowerHalf(dh, c);
    Sum::Merge(dh, hn::UpperHalf(dh, s), hn::UpperHalf(dh, c), half_s, half_c);
    return MergeLanes<Sum>(dh, half_s, half_c);
  }
}

// How many rows' sums fill the adders: a target with 16 lanes in one vector has
// one chain of additions per row, each of which waits for the last.
template <class Sum>
constexpr size_t RowsAtOnce() {
  using D = hn::CappedTag<typename Sum::Lane, kRowLanes>;
  constexpr size_t kVectors = kRowLanes / HWY_MAX_LANES_D(D);
  return kVectors < 4 ? 4 / kVectors : 1;
}

// sums[r] = the sum of n terms of each of kRows rows. add(d, r, i, s, c) adds
// terms i, i + 1, ... of row r, Lanes(d) of them, to the state. Of a row's last
// 16, if they are fewer, it is add(d, r, i, s, c, left): the row ends `left`
// terms after i, and any lanes beyond add zeros.
template <class Sum, size_t kRows, class AddTerms>
HWY_INLINE void RowSums(size_t n, const AddTerms& add,
                        typename Sum::Lane (&sums)[kRows]) {
  using Lane = typename Sum::Lane;
  using D = hn::CappedTag<Lane, kRowLanes>;
  using V = hn::Vec<D>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  constexpr size_t kVectors = kRowLanes / kLanes;
  const D d;

  V s[kRows * kVectors], c[kRows * kVectors];
  SetZero(d, s);
  SetZero(d, c);
  const size_t whole = n / kRowLanes;
  const size_t steps = hwy::DivCeil(n, kRowLanes);
  const auto add_whole = [&](size_t step) HWY_ATTR {
    HWY_UNROLL(32)
    for (size_t j = 0; j < kRows * kVectors; ++j) {
      const size_t at = step * kRowLanes + j % kVectors * kLanes;
      add(d, j / kVectors, at, s[j], c[j]);
    }
  };
  const auto add_rest = [&]() HWY_ATTR {
    HWY_UNROLL(32)
    for (size_t j = 0; j < kRows * kVectors; ++j) {
      const size_t at = whole * kRowLanes + j % kVectors * kLanes;
      if (at < n) add(d, j / kVectors, at, s[j], c[j], n - at);
    }
  };
  if constexpr (Sum::kTree) {
    RunSteps<Sum>(d, steps, s, c, [&](size_t step) HWY_ATTR {
      if (HWY_LIKELY(step < whole)) {
        add_whole(step);
      } else {
        add_rest();
      }
    });
  } else {
    // The same, but the loop has no branch that would cost it registers.
    RunSteps<Sum>(d, whole, s, c, add_whole);
    if (whole < steps) {
      add_rest();
      if constexpr (Sum::kBlock != 0) {
        if (steps % Sum::kBlock == 0) {
          HWY_UNROLL(32)
          for (size_t j = 0; j < kRows * kVectors; ++j) {
            Sum::EndBlock(d, s[j], c[j]);
          }
        }
      }
    }
  }
  HWY_UNROLL(32)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(32)
    for (size_t width = kVectors / 2; width > 0; width /= 2) {
      HWY_UNROLL(32)
      for (size_t l = 0; l < width; ++l) {
        const size_t into = r * kVectors + l;
        Sum::Merge(d, s[into + width], c[into + width], s[into], c[into]);
      }
    }
    sums[r] = MergeLanes<Sum>(d, s[r * kVectors], c[r * kVectors]);
  }
}

// Calls with_sum(sum policy) for the policy that a row of n terms takes.
template <class S, class WithSum>
HWY_INLINE void ChooseSum(size_t n, const WithSum& with_sum) {
  if constexpr (!std::is_same_v<typename S::Sum, typename S::LongSum>) {
    if (n >= kOracleLongRow) return with_sum(typename S::LongSum());
  }
  with_sum(typename S::Sum());
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
