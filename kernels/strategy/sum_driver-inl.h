// The loops over a sum's terms, shared by all kernels: blocks, trees of block
// sums, and the 16 virtual lanes of a sum over one row.
#if defined(KERNELS_STRATEGY_SUM_DRIVER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_SUM_DRIVER_INL_H_
#undef KERNELS_STRATEGY_SUM_DRIVER_INL_H_
#else
#define KERNELS_STRATEGY_SUM_DRIVER_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/strategy/accumulation-inl.h"

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

// The upper half of each group of kBytes of v in place of its lower half. (What
// then stands in the upper halves is of no use.)
template <size_t kBytes, class D, class V = hn::Vec<D>>
HWY_INLINE V UpperHalves(D d, V v) {
  if constexpr (kBytes == 64) {
    return hn::ConcatUpperUpper(d, v, v);
  } else if constexpr (kBytes == 32) {
    return hn::SwapAdjacentBlocks(v);
  } else if constexpr (kBytes == 16) {
    const hn::Repartition<uint64_t, D> d64;
    return hn::BitCast(d, hn::Reverse2(d64, hn::BitCast(d64, v)));
  } else {
    static_assert(kBytes == 8, "two f32");
    return hn::Reverse2(d, v);
  }
}

// Vectors a and b hold sums of kBytes each. Those of a and b in turn, first
// their lower halves, then their upper ones.
template <size_t kBytes, class D, class V = hn::Vec<D>>
HWY_INLINE void SplitHalves(D d, V a, V b, V& lower, V& upper) {
  if constexpr (kBytes == sizeof(V)) {
    lower = hn::ConcatLowerLower(d, b, a);
    upper = hn::ConcatUpperUpper(d, b, a);
  } else {
    static_assert(kBytes == 32, "two blocks of 128 bits");
    lower = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
    upper = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
  }
}

// sums[r] = the sum of the lanes of kRows rows, whose N = kBytes / sizeof(Lane)
// lanes each stand one row after the other in the vectors s and c: l and
// l + N/2 are merged, then l and l + N/4, ... A merge takes as long for one row
// as for all that fit into a vector, so rows move together as they shrink:
// vector v goes with the one that follows it by half of the vectors, and thus
// the rows of vector v are v, v + kVectors, ...
template <class Sum, size_t kBytes, size_t kVectors, class D, class V,
          size_t kRows>
HWY_INLINE void MergeLanes(D d, V (&s)[kVectors], V (&c)[kVectors],
                           typename Sum::Lane (&sums)[kRows]) {
  if constexpr (kBytes == sizeof(typename Sum::Lane)) {
    constexpr size_t kLanes = HWY_MAX_LANES_D(D);
    constexpr size_t kRowsOfVector = kRows / kVectors;
    HWY_UNROLL(32)
    for (size_t v = 0; v < kVectors; ++v) {
      HWY_ALIGN typename Sum::Lane lanes[kLanes];
      hn::Store(Sum::Value(d, s[v], c[v]), d, lanes);
      for (size_t r = 0; r < kRowsOfVector; ++r) {
        sums[v + r * kVectors] = lanes[r * (kLanes / kRowsOfVector)];
      }
    }
  } else if constexpr (kVectors > 1) {
    constexpr size_t kHalf = kVectors / 2;
    V half_s[kHalf], half_c[kHalf];
    HWY_UNROLL(32)
    for (size_t v = 0; v < kHalf; ++v) {
      V upper_s, upper_c;
      SplitHalves<kBytes>(d, s[v], s[v + kHalf], half_s[v], upper_s);
      SplitHalves<kBytes>(d, c[v], c[v + kHalf], half_c[v], upper_c);
      Sum::Merge(d, upper_s, upper_c, half_s[v], half_c[v]);
    }
    MergeLanes<Sum, kBytes / 2>(d, half_s, half_c, sums);
  } else {
    Sum::Merge(d, UpperHalves<kBytes>(d, s[0]), UpperHalves<kBytes>(d, c[0]),
               s[0], c[0]);
    MergeLanes<Sum, kBytes / 2>(d, s, c, sums);
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
  V row_s[kRows], row_c[kRows];
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
    row_s[r] = s[r * kVectors];
    row_c[r] = c[r * kVectors];
  }
  MergeLanes<Sum, kLanes * sizeof(Lane)>(d, row_s, row_c, sums);
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
