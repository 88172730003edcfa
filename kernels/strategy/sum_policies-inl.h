// Accumulation policies: how the terms of a sum are added, one term per lane
// and step, in ascending order.
//
// A policy has these members; every lane is a sum of its own, so a textbook
// loop over scalars that does the same operations gives the same bits.
//   Lane               float or double: the type of the accumulators
//   kBlock             EndBlock is called after every kBlock terms; 0 = never
//   kTree              blocks are summed alone and added as a balanced tree
//   kCompensated       whether c is used
//   kStepProducts      products per lane and step of a MatMul
//   MulAdd(d, a, b, s, c)    adds a * b to the state: sum s, compensation c
//   AddSquare(d, a, s, c)    the same as MulAdd of a and a, to a sum of squares
//   Add(d, x, s, c)          adds x
//   EndBlock(d, s, c)        at the end of each block, if not kTree
//   Merge(d, s2, c2, s, c)   adds another sum's state
//   Value(d, s, c)           the sum
// The state is passed as two vectors because vectors of some targets cannot be
// members of a class; a policy that ignores c costs nothing.
#if defined(KERNELS_STRATEGY_SUM_POLICIES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_SUM_POLICIES_INL_H_
#undef KERNELS_STRATEGY_SUM_POLICIES_INL_H_
#else
#define KERNELS_STRATEGY_SUM_POLICIES_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Recursive summation (Higham 2002, algorithm 4.1), products by FMA.
template <typename LaneT>
struct Recursive {
  using Lane = LaneT;
  static constexpr size_t kBlock = 0;
  static constexpr bool kTree = false;
  static constexpr bool kCompensated = false;
  static constexpr size_t kStepProducts = 1;

  template <class D, class V>
  static HWY_INLINE void MulAdd(D, V a, V b, V& s, V&) {
    s = hn::MulAdd(a, b, s);
  }
  template <class D, class V>
  static HWY_INLINE void AddSquare(D, V a, V& s, V&) {
    s = hn::MulAdd(a, a, s);
  }
  template <class D, class V>
  static HWY_INLINE void Add(D, V x, V& s, V&) {
    s = hn::Add(s, x);
  }
  template <class D, class V>
  static HWY_INLINE void EndBlock(D, V&, V&) {}
  template <class D, class V>
  static HWY_INLINE void Merge(D, V s2, V, V& s, V&) {
    s = hn::Add(s, s2);
  }
  template <class D, class V>
  static HWY_INLINE V Value(D, V s, V) {
    return s;
  }
};

// Recursive within blocks of 64; the driver adds the block sums pairwise
// (Higham 1993): neighbours first, an odd last one moves up a level.
struct PairwiseBlocks : Recursive<float> {
  static constexpr size_t kBlock = 64;
  static constexpr bool kTree = true;
};

// A sum s of terms and, apart, the sum c of the exact errors of its additions,
// which is added once, at the end: Kahan-Babuska-Neumaier summation (Neumaier
// 1974). Neumaier's branch on |s| >= |x| and TwoSum give the same error; TwoSum
// has no branch.
template <typename LaneT>
struct Compensated {
  using Lane = LaneT;
  static constexpr size_t kBlock = 0;
  static constexpr bool kTree = false;
  static constexpr bool kCompensated = true;
  static constexpr size_t kStepProducts = 1;

  template <class D, class V>
  static HWY_INLINE void Add(D, V x, V& s, V& c) {
    V err;
    s = TwoSum(s, x, err);
    c = AddBesideAdders(c, err);
  }
  template <class D, class V>
  static HWY_INLINE void EndBlock(D, V&, V&) {}
  template <class D, class V>
  static HWY_INLINE void Merge(D d, V s2, V c2, V& s, V& c) {
    c = hn::Add(c, c2);
    Add(d, s2, s, c);
  }
  template <class D, class V>
  static HWY_INLINE V Value(D, V s, V c) {
    return hn::Add(s, c);
  }
};

// Of products that are rounded.
struct KahanBabuskaNeumaier : Compensated<float> {
  template <class D, class V>
  static HWY_INLINE void MulAdd(D d, V a, V b, V& s, V& c) {
    Add(d, hn::Mul(a, b), s, c);
  }
  template <class D, class V>
  static HWY_INLINE void AddSquare(D, V a, V& s, V& c) {
    V err;
    s = TwoSumOfNonNegative(s, hn::Mul(a, a), err);
    c = hn::Add(c, err);
  }
};

// Dot2 of Ogita, Rump, Oishi 2005 (algorithm 5.3, products by TwoProductFMA):
// as if computed in twice the precision and then rounded once.
template <typename LaneT>
struct DotTwice : Compensated<LaneT> {
  template <class D, class V>
  static HWY_INLINE void MulAdd(D, V a, V b, V& s, V& c) {
    V prod_err, sum_err;
    const V prod = TwoProduct(a, b, prod_err);
    s = TwoSum(s, prod, sum_err);
    c = AddBesideAdders(c, hn::Add(sum_err, prod_err));
  }
  template <class D, class V>
  static HWY_INLINE void AddSquare(D, V a, V& s, V& c) {
    V prod_err, sum_err;
    const V prod = TwoProduct(a, a, prod_err);
    s = TwoSumOfNonNegative(s, prod, sum_err);
    c = hn::Add(c, hn::Add(sum_err, prod_err));
  }
};

// f32 FMA, but the running sum is rounded to bf16 after every 32 products.
struct BF16Running : Recursive<float> {
  static constexpr size_t kBlock = 32;

  template <class D, class V>
  static HWY_INLINE void EndBlock(D d, V& s, V&) {
    s = RoundToBF16(d, s);
  }
  template <class D, class V>
  static HWY_INLINE void Merge(D d, V s2, V, V& s, V&) {
    s = RoundToBF16(d, hn::Add(s, s2));
  }
};

// The CPU's own dot product of bf16: a lane of a and of b holds two neighbours
// of k, the first in its lower half. How their products are added is up to the
// CPU.
struct BF16Pairs : Recursive<float> {
  static constexpr size_t kStepProducts = 2;

  template <class D, class V>
  static HWY_INLINE void MulAdd(D d, V a, V b, V& s, V& c) {
    const hn::Repartition<hwy::bfloat16_t, D> dpairs;
    s = hn::ReorderWidenMulAccumulate(d, hn::BitCast(dpairs, a),
                                      hn::BitCast(dpairs, b), s, c);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
