#include "kernels/matmul.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "hwy/cache_control.h"
#include "kernels/dtype.h"
#include "kernels/matrix.h"
#include "kernels/panels.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/accumulation-inl.h"
#include "kernels/rounding-inl.h"
#include "kernels/sum_driver-inl.h"
#include "kernels/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors of outputs per row of a register tile: each is an independent
// chain, and a broadcast element of A serves both.
inline constexpr size_t kTileVectors = 2;

// Rows of a register tile, so that its sums, two vectors of B and what a
// compensated step needs besides fit into the registers.
template <class Sum>
constexpr size_t MaxTileRows() {
  constexpr bool k32Registers = HWY_MAX_BYTES == 64 || HWY_ARCH_ARM_A64;
  if (Sum::kCompensated) return k32Registers ? 6 : 2;
  return k32Registers ? 12 : 6;
}

// From this many rows on, panels are widened once into a scratch buffer, and
// not in registers by every tile of rows.
inline constexpr size_t kBlockedRows = 8;

// k-steps of a block: its widened panel (16 KiB of f32) stays in L1. Sums are
// carried from block to block without loss. A multiple of every kBlock.
inline constexpr size_t kBlockSteps = 128;

// Rows of a block: kBlockSteps of their operands stay in L2.
inline constexpr size_t kBlockRows = 240;

// How far ahead of one row's sums the panel is fetched, in k-steps: 12 KiB of
// bf16. Decoding reads each weight once, and without it a compensated sum
// leaves the memory idle: on two threads of an AVX-512 Xeon, //benchmarks with
// MatMul/kahan/lm_head/rows:1 went from 20.8 to 13.9 ms, with f32 from 14.5 to
// 12.2. There f32 took 64 to 256 steps alike, and dot2 the longer ones better.
inline constexpr size_t kPrefetchSteps = 192;
inline constexpr size_t kCacheLine = 64;

// The states of a tile's sums, row by row: c is null unless compensated.
template <typename Lane>
struct States {
  Lane* s;
  Lane* c;
  size_t stride;

  States At(size_t row, size_t col) const {
    const size_t offset = row * stride + col;
    return {s + offset, c == nullptr ? nullptr : c + offset, stride};
  }
};

// Adds k products to each of R x (NV vectors) sums. b has rows of b_stride, of
// which the first NV vectors are read and rounded to kOperand.
template <class Sum, Format kOperand, typename B, size_t R, size_t NV>
HWY_NOINLINE void AddProducts(const typename Sum::Lane* HWY_RESTRICT a,
                              size_t a_stride, const void* b_data,
                              size_t b_stride, size_t k,
                              const States<typename Sum::Lane>& states) {
  using Lane = typename Sum::Lane;
  using D = hn::CappedTag<Lane, kPanelWidth>;
  using V = hn::Vec<D>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  const D d;
  const B* HWY_RESTRICT b = static_cast<const B*>(b_data);

  V s[R * NV], c[R * NV];
  SetZero(d, s);
  SetZero(d, c);
  if constexpr (!Sum::kTree) {
    HWY_UNROLL(32)
    for (size_t j = 0; j < R * NV; ++j) {
      const size_t at = j / NV * states.stride + j % NV * kLanes;
      s[j] = hn::LoadU(d, states.s + at);
      if constexpr (Sum::kCompensated) c[j] = hn::LoadU(d, states.c + at);
    }
  }
  RunSteps<Sum>(d, k, s, c, [&](size_t i) HWY_ATTR {
    if constexpr (R == 1) {
      const B* ahead = b + (i + kPrefetchSteps) * b_stride;
      HWY_UNROLL(32)
      for (size_t at = 0; at < NV * kLanes; at += kCacheLine / sizeof(B)) {
        hwy::Prefetch(ahead + at);
      }
    }
    V bv[NV];
    HWY_UNROLL(32)
    for (size_t v = 0; v < NV; ++v) {
      bv[v] = LoadOperand<kOperand>(d, b + i * b_stride + v * kLanes);
    }
    HWY_UNROLL(32)
    for (size_t r = 0; r < R; ++r) {
      const V av = hn::Set(d, a[r * a_stride + i]);
      HWY_UNROLL(32)
      for (size_t v = 0; v < NV; ++v) {
        Sum::MulAdd(d, av, bv[v], s[r * NV + v], c[r * NV + v]);
      }
    }
  });
  HWY_UNROLL(32)
  for (size_t j = 0; j < R * NV; ++j) {
    const size_t at = j / NV * states.stride + j % NV * kLanes;
    hn::StoreU(s[j], d, states.s + at);
    if constexpr (Sum::kCompensated) hn::StoreU(c[j], d, states.c + at);
  }
}

template <typename Lane>
using AddProductsFn = void (*)(const Lane*, size_t, const void*, size_t, size_t,
                               const States<Lane>&);

// AddProducts for 1, 2, ... rows of widened operands.
template <class Sum, size_t... kRowsLess1>
AddProductsFn<typename Sum::Lane> TileOfRows(
    size_t rows, std::index_sequence<kRowsLess1...> /*rows*/) {
  using Lane = typename Sum::Lane;
  constexpr Format kLane = sizeof(Lane) == 8 ? Format::kF64 : Format::kF32;
  static constexpr AddProductsFn<Lane> kFns[] = {
      &AddProducts<Sum, kLane, Lane, kRowsLess1 + 1, kTileVectors>...};
  return kFns[rows - 1];
}

// One panel in its stored type for a few rows: 1, 2 or 4 at a time.
template <class S, class Sum, typename B>
void FewRows(size_t rows, const typename Sum::Lane* a, size_t a_stride,
             const void* panel, size_t k,
             const States<typename Sum::Lane>& states) {
  using D = hn::CappedTag<typename Sum::Lane, kPanelWidth>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  constexpr Format kOperand = S::kInfo.operand;
  // One row has few chains: take up to four vectors. More rows share two.
  constexpr size_t kWide = std::min<size_t>(kPanelWidth / kLanes, 4);
  for (size_t r = 0; r < rows;) {
    const size_t left = rows - r;
    const auto run = [&](auto add, size_t width) {
      for (size_t col = 0; col < kPanelWidth; col += width) {
        add(a + r * a_stride, a_stride, static_cast<const B*>(panel) + col,
            kPanelWidth, k, states.At(r, col));
      }
    };
    if (left >= 4) {
      run(&AddProducts<Sum, kOperand, B, 4, kTileVectors>,
          kTileVectors * kLanes);
      r += 4;
    } else if (left >= 2) {
      run(&AddProducts<Sum, kOperand, B, 2, kTileVectors>,
          kTileVectors * kLanes);
      r += 2;
    } else {
      run(&AddProducts<Sum, kOperand, B, 1, kWide>, kWide * kLanes);
      r += 1;
    }
  }
}

// Widens steps [0, k) of a panel, rounded to the operand format, and lays each
// tile's columns out one after the other: k groups of kTileVectors vectors.
template <class S, class Sum, typename B>
void WidenPanel(const void* panel, size_t k,
                typename Sum::Lane* HWY_RESTRICT widened) {
  using D = hn::CappedTag<typename Sum::Lane, kPanelWidth>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  constexpr size_t kWidth = kTileVectors * kLanes;
  const D d;
  const B* HWY_RESTRICT b = static_cast<const B*>(panel);
  for (size_t i = 0; i < k; ++i) {
    HWY_UNROLL(32)
    for (size_t col = 0; col < kPanelWidth; col += kLanes) {
      hn::Store(
          LoadOperand<S::kInfo.operand>(d, b + i * kPanelWidth + col), d,
          widened + col / kWidth * (kWidth * k) + i * kWidth + col % kWidth);
    }
  }
}

// What depends on the type that B is stored in.
template <typename Lane>
struct StoredFns {
  void (*few_rows)(size_t, const Lane*, size_t, const void*, size_t,
                   const States<Lane>&);
  void (*widen)(const void*, size_t, Lane*);
};

template <class S, class Sum>
StoredFns<typename Sum::Lane> FnsFor(DType b) {
  switch (b) {
    case DType::kF64:
      return {&FewRows<S, Sum, double>, &WidenPanel<S, Sum, double>};
    case DType::kF32:
      return {&FewRows<S, Sum, float>, &WidenPanel<S, Sum, float>};
    case DType::kF16:
      return {&FewRows<S, Sum, hwy::float16_t>,
              &WidenPanel<S, Sum, hwy::float16_t>};
    case DType::kBF16:
      return {&FewRows<S, Sum, hwy::bfloat16_t>,
              &WidenPanel<S, Sum, hwy::bfloat16_t>};
  }
  HWY_ABORT("DType %d", static_cast<int>(b));
}

// Kept from call to call, as a decode step makes hundreds of them, and shared
// by the strategies: no call of MatMul runs within another on the same thread.
enum class Scratch { kOperands, kWidened, kSums, kCompensations };

template <typename Lane, Scratch>
Lane* ScratchOf(size_t count) {
  thread_local hwy::AlignedVector<Lane> scratch;
  if (scratch.size() < count) scratch.resize(count);
  return scratch.data();
}

// One MatMul: its operands, and the parts that tasks compute.
template <class S, class Sum, typename T>
class MatMulRun {
 public:
  using Lane = typename Sum::Lane;

  MatMulRun(const MatMulArgs<T>& args, Parallel& parallel)
      : args_(args),
        fns_(FnsFor<S, Sum>(args.b.dtype)),
        m_(args.a.rows),
        k_(args.b.k),
        // An odd multiple of 16: rows a page apart, or a power of two of them,
        // would compete for the same lines of L1.
        a_stride_(hwy::RoundUpTo(k_, size_t{16}) | 16),
        a_(ScratchOf<Lane, Scratch::kOperands>(m_ * a_stride_)) {
    PackOperands(parallel);
    const size_t panels = hwy::DivCeil(args.b.n, kPanelWidth);
    if (m_ < kBlockedRows) {
      parallel.For(panels, [this](size_t p) { FewRowsPanel(p); });
      return;
    }
    // Blocks of rows of nearly equal size, and groups of panels, few enough
    // that every thread gets several tasks.
    const size_t row_blocks = hwy::DivCeil(m_, kBlockRows);
    const size_t group = std::clamp<size_t>(
        panels * row_blocks / (4 * parallel.num_threads()), 1, 16);
    const size_t groups = hwy::DivCeil(panels, group);
    // Neighbouring tasks, which a thread takes together, read the same panels.
    parallel.For(groups * row_blocks, [&](size_t task) {
      const size_t block = task % row_blocks;
      const size_t first = task / row_blocks * group;
      Block(m_ * block / row_blocks, m_ * (block + 1) / row_blocks, first,
            std::min(panels, first + group));
    });
  }

 private:
  const void* Panel(size_t p, size_t step) const {
    return static_cast<const unsigned char*>(args_.b.data) +
           (p * args_.b.panel_stride + step * kPanelWidth) *
               DTypeSize(args_.b.dtype);
  }

  // The m x k operands, rounded and widened to the accumulators' type.
  void PackOperands(Parallel& parallel) {
    const auto pack = [this](size_t r) HWY_ATTR {
      const T* HWY_RESTRICT from = args_.a.Row(r);
      Lane* HWY_RESTRICT to = a_ + r * a_stride_;
      ForEachVector<Lane>(k_, [&](auto d, size_t i) HWY_ATTR {
        hn::StoreU(LoadOperand<S::kInfo.operand>(d, from + i), d, to + i);
      });
    };
    if (m_ < kBlockedRows) {
      for (size_t r = 0; r < m_; ++r) pack(r);
    } else {
      parallel.For(m_, pack);
    }
  }

  States<Lane> ZeroStates(size_t rows, size_t cols) const {
    const size_t count = rows * cols;
    States<Lane> states = {ScratchOf<Lane, Scratch::kSums>(count), nullptr,
                           cols};
    std::fill(states.s, states.s + count, Lane{0});
    if constexpr (Sum::kCompensated) {
      states.c = ScratchOf<Lane, Scratch::kCompensations>(count);
      std::fill(states.c, states.c + count, Lane{0});
    }
    return states;
  }

  void FewRowsPanel(size_t p) const {
    const States<Lane> states = ZeroStates(m_, kPanelWidth);
    fns_.few_rows(m_, a_, a_stride_, Panel(p, 0), k_, states);
    Finish(0, m_, p, p + 1, states);
  }

  // Rows [r0, r1) of panels [p0, p1).
  void Block(size_t r0, size_t r1, size_t p0, size_t p1) const {
    using D = hn::CappedTag<Lane, kPanelWidth>;
    constexpr size_t kWidth = kTileVectors * HWY_MAX_LANES_D(D);
    constexpr size_t kMaxRows = MaxTileRows<Sum>();
    // A tree of block sums is not carried on.
    const size_t block_steps =
        Sum::kTree ? k_ : std::min(k_, size_t{kBlockSteps});
    const size_t rows = r1 - r0;
    const size_t tiles = hwy::DivCeil(rows, kMaxRows);
    const States<Lane> states = ZeroStates(rows, (p1 - p0) * kPanelWidth);
    Lane* b = ScratchOf<Lane, Scratch::kWidened>(block_steps * kPanelWidth);
    for (size_t step = 0; step < k_; step += block_steps) {
      const size_t steps = std::min(block_steps, k_ - step);
      for (size_t p = p0; p < p1; ++p) {
        fns_.widen(Panel(p, step), steps, b);
        for (size_t col = 0; col < kPanelWidth; col += kWidth) {
          for (size_t t = 0; t < tiles; ++t) {
            // Tiles of nearly equal size: a small last one would be slow.
            const size_t first = rows * t / tiles;
            const size_t tile_rows = rows * (t + 1) / tiles - first;
            const auto add = TileOfRows<Sum>(
                tile_rows, std::make_index_sequence<kMaxRows>());
            add(a_ + (r0 + first) * a_stride_ + step, a_stride_,
                b + col * steps, kWidth, steps,
                states.At(first, (p - p0) * kPanelWidth + col));
          }
        }
      }
    }
    Finish(r0, r1, p0, p1, states);
  }

  // Bias, scale and rounding of rows [r0, r1) of panels [p0, p1), and the
  // stores.
  void Finish(size_t r0, size_t r1, size_t p0, size_t p1,
              const States<Lane>& sums) const {
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    const size_t col = p0 * kPanelWidth;
    const size_t cols = std::min(p1 * kPanelWidth, args_.b.n) - col;
    const Lane scale = static_cast<Lane>(args_.scale);
    for (size_t r = r0; r < r1; ++r) {
      const States<Lane> row = sums.At(r - r0, 0);
      T* HWY_RESTRICT to = args_.c.Row(r) + col;
      ForEachVector<Lane>(cols, [&](auto d, size_t i) HWY_ATTR {
        auto s = hn::LoadU(d, row.s + i);
        auto c = hn::Zero(d);
        if constexpr (Sum::kCompensated) c = hn::LoadU(d, row.c + i);
        if (args_.bias != nullptr) {
          Sum::Add(d, LoadOperand<kOperand>(d, args_.bias + col + i), s, c);
        }
        auto value = Sum::Value(d, s, c);
        if (args_.scale != 1) {
          if constexpr (kResult == Format::kBF16) value = RoundToBF16(d, value);
          value = hn::Mul(value, hn::Set(d, scale));
        }
        StoreResult(d, RoundTo<kResult>(d, value), to + i);
      });
    }
  }

  const MatMulArgs<T>& args_;
  const StoredFns<Lane> fns_;
  const size_t m_, k_, a_stride_;
  Lane* const a_;
};

template <class S, typename T>
struct MatMulImpl {
  static void Run(const MatMulArgs<T>& args, Parallel& parallel) {
    ChooseSum<S>(args.b.k, [&](auto sum) HWY_ATTR {
      MatMulRun<S, decltype(sum), T>(args, parallel);
    });
  }
};

template <typename T>
using MatMulFn = void (*)(const MatMulArgs<T>&, Parallel&);

const MatMulFn<float>* MatMulTableF32() {
  return TableOf<MatMulImpl, float, Kernel::kMatMul, MatMulFn<float>>(
      AllStrategies());
}
const MatMulFn<double>* MatMulTableF64() {
  return TableOf<MatMulImpl, double, Kernel::kMatMul, MatMulFn<double>>(
      AllStrategies());
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(MatMulTableF32);
HWY_EXPORT(MatMulTableF64);

template <typename T>
void MatMul(Strategy strategy, const MatMulArgs<T>& args, Parallel& parallel) {
  HWY_ASSERT(args.a.rows > 0 && args.b.n > 0 && args.b.k > 0);
  HWY_ASSERT(args.a.cols == args.b.k && args.c.cols == args.b.n);
  HWY_ASSERT(args.c.rows == args.a.rows);
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(MatMulTableF32)()[strategy.index()](args, parallel);
  } else {
    HWY_DYNAMIC_DISPATCH(MatMulTableF64)()[strategy.index()](args, parallel);
  }
}

template void MatMul<float>(Strategy, const MatMulArgs<float>&, Parallel&);
template void MatMul<double>(Strategy, const MatMulArgs<double>&, Parallel&);

}  // namespace ulpscope
#endif  // HWY_ONCE
