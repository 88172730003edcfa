#include "kernels/matmul.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
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

// Rows of A that share one pass over a panel.
inline constexpr size_t kTileRows = 4;

template <typename Lane>
struct TileArgs {
  const Lane* a;      // rows of k operands
  const void* panel;  // k groups of 32
  size_t k;
  const Lane* bias;  // 32 operands, or null
  double scale;
  Lane* out;  // rows of 32
};

// R x 32 outputs, NV vectors of each row at a time: R * NV independent chains
// hide the latency of the sum, and each vector of B is widened once for R rows.
template <class S, class Sum, typename B, size_t R, size_t NV>
HWY_NOINLINE void Tile(const TileArgs<typename Sum::Lane>& args) {
  using Lane = typename Sum::Lane;
  using D = hn::CappedTag<Lane, kPanelWidth>;
  using V = hn::Vec<D>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;
  const D d;
  const Lane* HWY_RESTRICT a = args.a;
  const size_t k = args.k;

  for (size_t col = 0; col < kPanelWidth; col += NV * kLanes) {
    const B* HWY_RESTRICT b = static_cast<const B*>(args.panel) + col;
    V s[R * NV], c[R * NV];
    RunSteps<Sum>(d, k, s, c, [&](size_t i) HWY_ATTR {
      V bv[NV];
      HWY_UNROLL(16)
      for (size_t v = 0; v < NV; ++v) {
        bv[v] = LoadOperand<kOperand>(d, b + i * kPanelWidth + v * kLanes);
      }
      HWY_UNROLL(16)
      for (size_t r = 0; r < R; ++r) {
        const V av = hn::Set(d, a[r * k + i]);
        HWY_UNROLL(16)
        for (size_t v = 0; v < NV; ++v) {
          Sum::MulAdd(d, av, bv[v], s[r * NV + v], c[r * NV + v]);
        }
      }
    });
    for (size_t v = 0; v < NV; ++v) {
      for (size_t r = 0; r < R; ++r) {
        V& sum = s[r * NV + v];
        V& comp = c[r * NV + v];
        if (args.bias != nullptr) {
          Sum::Add(d, hn::LoadU(d, args.bias + col + v * kLanes), sum, comp);
        }
        V value = Sum::Value(d, sum, comp);
        if (args.scale != 1) {
          if constexpr (kResult == Format::kBF16) value = RoundToBF16(d, value);
          value = hn::Mul(value, hn::Set(d, static_cast<Lane>(args.scale)));
        }
        value = RoundTo<kResult>(d, value);
        hn::StoreU(value, d, args.out + r * kPanelWidth + col + v * kLanes);
      }
    }
  }
}

// Computes `rows` rows of one panel into `out`.
template <class S, class Sum, typename B>
void TileOfRows(size_t rows, const TileArgs<typename Sum::Lane>& args) {
  using D = hn::CappedTag<typename Sum::Lane, kPanelWidth>;
  constexpr size_t kLanes = HWY_MAX_LANES_D(D);
  // One row has few chains: take up to four vectors. More rows share two.
  constexpr size_t kWide = std::min<size_t>(kPanelWidth / kLanes, 4);
  constexpr size_t kNarrow = std::min<size_t>(kPanelWidth / kLanes, 2);
  TileArgs<typename Sum::Lane> rest = args;
  for (size_t done = 0; done < rows;) {
    rest.a = args.a + done * args.k;
    rest.out = args.out + done * kPanelWidth;
    const size_t left = rows - done;
    if (left >= 4) {
      Tile<S, Sum, B, 4, kNarrow>(rest);
      done += 4;
    } else if (left >= 2) {
      Tile<S, Sum, B, 2, kNarrow>(rest);
      done += 2;
    } else {
      Tile<S, Sum, B, 1, kWide>(rest);
      done += 1;
    }
  }
}

template <typename Lane>
using TileFn = void (*)(size_t, const TileArgs<Lane>&);

template <class S, class Sum>
TileFn<typename Sum::Lane> TileFor(DType b) {
  switch (b) {
    case DType::kF64:
      return &TileOfRows<S, Sum, double>;
    case DType::kF32:
      return &TileOfRows<S, Sum, float>;
    case DType::kF16:
      return &TileOfRows<S, Sum, hwy::float16_t>;
    case DType::kBF16:
      return &TileOfRows<S, Sum, hwy::bfloat16_t>;
  }
  HWY_ABORT("DType %d", static_cast<int>(b));
}

// Copies m x k operands, rounded and widened to the accumulators' type.
template <class S, typename T, typename Lane>
void PackOperands(Matrix<const T> a, Lane* HWY_RESTRICT packed) {
  for (size_t r = 0; r < a.rows; ++r) {
    const T* HWY_RESTRICT from = a.Row(r);
    Lane* HWY_RESTRICT to = packed + r * a.cols;
    ForEachVector<Lane>(a.cols, [&](auto d, size_t i) HWY_ATTR {
      hn::StoreU(LoadOperand<S::kInfo.operand>(d, from + i), d, to + i);
    });
  }
}

// Kept from call to call, as a decode step makes hundreds of them, and shared
// by the strategies: no call of MatMul runs within another on the same thread.
template <typename Lane>
Lane* OperandScratch(size_t count) {
  thread_local hwy::AlignedVector<Lane> scratch;
  if (scratch.size() < count) scratch.resize(count);
  return scratch.data();
}

template <class S, typename T, class Sum>
void MatMulWith(const MatMulArgs<T>& args, Parallel& parallel) {
  using Lane = typename Sum::Lane;
  const size_t m = args.a.rows;
  const size_t k = args.b.k;
  const size_t n = args.b.n;

  Lane* a = OperandScratch<Lane>(m * k);
  PackOperands<S>(args.a, a);

  const TileFn<Lane> tile = TileFor<S, Sum>(args.b.dtype);
  const size_t panel_bytes = args.b.panel_stride * DTypeSize(args.b.dtype);
  parallel.For(hwy::DivCeil(n, kPanelWidth), [&](size_t p) HWY_ATTR {
    const size_t col = p * kPanelWidth;
    const size_t cols = std::min(kPanelWidth, n - col);
    HWY_ALIGN Lane bias[kPanelWidth] = {};
    if (args.bias != nullptr) {
      ForEachVector<Lane>(cols, [&](auto d, size_t i) HWY_ATTR {
        hn::StoreU(LoadOperand<S::kInfo.operand>(d, args.bias + col + i), d,
                   bias + i);
      });
    }
    HWY_ALIGN Lane out[kTileRows * kPanelWidth];
    TileArgs<Lane> tile_args;
    tile_args.panel =
        static_cast<const unsigned char*>(args.b.data) + p * panel_bytes;
    tile_args.k = k;
    tile_args.bias = args.bias != nullptr ? bias : nullptr;
    tile_args.scale = args.scale;
    tile_args.out = out;
    for (size_t r0 = 0; r0 < m; r0 += kTileRows) {
      const size_t rows = std::min(kTileRows, m - r0);
      tile_args.a = a + r0 * k;
      tile(rows, tile_args);
      for (size_t r = 0; r < rows; ++r) {
        const Lane* from = out + r * kPanelWidth;
        T* to = args.c.Row(r0 + r) + col;
        ForEachVector<Lane>(cols, [&](auto d, size_t i) HWY_ATTR {
          StoreResult(d, hn::LoadU(d, from + i), to + i);
        });
      }
    }
  });
}

template <class S, typename T>
struct MatMulImpl {
  static void Run(const MatMulArgs<T>& args, Parallel& parallel) {
    ChooseSum<S>(args.b.k, [&](auto sum) HWY_ATTR {
      MatMulWith<S, T, decltype(sum)>(args, parallel);
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
