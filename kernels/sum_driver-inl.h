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

// The sum of add(d, x, s, c) over the n values of x, which arrive widened to
// Sum::Lane and rounded to kOperand. Lanes l and l + 8 are merged, then l and
// l + 4, l + 2, l + 1.
template <class Sum, Format kOperand, typename T, class AddTerm>
HWY_INLINE typename Sum::Lane RowSum(const T* HWY_RESTRICT x, size_t n,
                                     const AddTerm& add) {
  using Lane = typename Sum::Lane;
  using D = hn::CappedTag<Lane, kRowLanes>;
  using V = hn::Vec<D>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  constexpr size_t kVectors = kRowLanes / kLanes;
  const D d;

  T last[kRowLanes] = {};
  const size_t whole = n / kRowLanes * kRowLanes;
  std::copy(x + whole, x + n, last);

  V s[kVectors], c[kVectors];
  SetZero(d, s);
  SetZero(d, c);
  const size_t steps = hwy::DivCeil(n, kRowLanes);
  RunSteps<Sum>(d, steps, s, c, [&](size_t i) HWY_ATTR {
    const T* HWY_RESTRICT from =
        i * kRowLanes < whole ? x + i * kRowLanes : last;
    HWY_UNROLL(32)
    for (size_t v = 0; v < kVectors; ++v) {
      add(d, LoadOperand<kOperand>(d, from + v * kLanes), s[v], c[v]);
    }
  });

  HWY_ALIGN Lane sums[kRowLanes];
  HWY_ALIGN Lane comps[kRowLanes];
  for (size_t v = 0; v < kVectors; ++v) {
    hn::Store(s[v], d, sums + v * kLanes);
    hn::Store(c[v], d, comps + v * kLanes);
  }
  const hn::CappedTag<Lane, 1> d1;
  for (size_t width = kRowLanes / 2; width > 0; width /= 2) {
    for (size_t l = 0; l < width; ++l) {
      auto sum = hn::Load(d1, sums + l);
      auto comp = hn::Load(d1, comps + l);
      Sum::Merge(d1, hn::LoadU(d1, sums + l + width),
                 hn::LoadU(d1, comps + l + width), sum, comp);
      hn::Store(sum, d1, sums + l);
      hn::Store(comp, d1, comps + l);
    }
  }
  return hn::GetLane(Sum::Value(d1, hn::Load(d1, sums), hn::Load(d1, comps)));
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
