#include "kernels/ops/matmul.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "hwy/base.h"
#include "hwy/cache_control.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_widen.h"
#include "kernels/ops/engine_matmul.h"
#include "kernels/ops/matmul_division.h"
#include "kernels/ops/matmul_prefetch.h"
#include "kernels/ops/matmul_scratch.h"
#include "kernels/ops/matmul_work.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// One type for all targets.
using MatMulFn = void (*)(absl::Span<const MatMulArgs>, Parallel&);
using MatMulWorkFn = MatMulWork (*)(absl::Span<const MatMulArgs>, size_t,
                                    const MatMulTuning&, size_t);

}  // namespace ulpscope

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/matmul.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/matmul_pack-inl.h"
#include "kernels/ops/matmul_tile-inl.h"
#include "kernels/ops/matmul_work-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/sum_driver-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Several MatMuls with the same A: their operands, and the parts that tasks
// compute.
template <class S, class Sum>
class MatMulRun {
 public:
  using Lane = typename Sum::Lane;
  static constexpr size_t kTileColumns = kPanelWidth / kTileWidth<Sum>;

  MatMulRun(absl::Span<const MatMulArgs> all, Parallel& parallel)
      : a_matrix_(all[0].a),
        m_(a_matrix_.rows),
        k_(a_matrix_.cols),
        steps_(hwy::DivCeil(k_, Sum::kStepProducts)),
        divider_(all),
        tiles_(hwy::DivCeil(m_, kMaxTileRows<Sum>)),
        a_(ScratchOf<Lane, Scratch::kOperands>(
            (divider_.packed() ? tiles_ * kMaxTileRows<Sum> : m_) * steps_)) {
    PackOperands(parallel);
    std::vector<Part> parts;
    size_t tasks = 0;
    size_t threads = 0;
    for (const MatMulArgs& args : all) {
      parts.push_back(PartOf(args, parallel));
      tasks += parts.back().tasks();
      threads = std::max(threads, parts.back().work.threads);
    }
    parallel.For(tasks, threads, [&](size_t task) {
      size_t p = 0;
      for (; task >= parts[p].tasks(); ++p) task -= parts[p].tasks();
      if (divider_.packed()) {
        Block(parts[p], task);
      } else {
        FewRowsPanels(parts[p], task);
      }
    });
  }

 private:
  // One of the MatMuls, and how it is divided.
  struct Part {
    const MatMulArgs& args;
    StoredFns<Lane> fns;
    size_t panels;  // of B
    MatMulWork work;

    const MatMulDivision& division() const { return work.division; }
    // Every group of panels is a task for each block of rows.
    size_t tasks() const {
      return hwy::DivCeil(panels, division().group_panels) *
             division().row_blocks;
    }
  };

  Part PartOf(const MatMulArgs& args, const Parallel& parallel) const {
    const MatMulTuning tuning = args.tuning != nullptr
                                    ? *args.tuning
                                    : TuningOf(args, parallel.tunings());
    return {args, FnsFor<S, Sum>(args.b), hwy::DivCeil(args.b.n, kPanelWidth),
            divider_.Of(args.b, tuning, parallel.num_threads())};
  }

  MatMulTuning TuningOf(const MatMulArgs& args, const Tunings* tunings) const {
    if (tunings == nullptr) return {};
    return tunings->Find({Strategy(IndexOf<S>(AllStrategies())), DType::kF64,
                          args.b.type(), ShapeClass::Of(m_, args.b.n, k_)});
  }

  // Where a step of a panel is; of blocks, about where.
  static const char* Panel(const MatMulArgs& args, size_t p, size_t step) {
    const char* const panel =
        static_cast<const char*>(args.b.data) + p * args.b.panel_bytes();
    const size_t row = step * Sum::kStepProducts;
    return args.b.blocks != nullptr
               ? panel + args.b.panel_bytes() / args.b.k * row
               : panel + row * kPanelWidth * DTypeSize(args.b.dtype);
  }

  // Rows of kPanelWidth from a step on, as tiles read them: of blocks a copy.
  const char* Stored(const MatMulArgs& args, size_t p, size_t step,
                     size_t steps) const {
    if (args.b.blocks == nullptr) return Panel(args, p, step);
    const size_t row = step * Sum::kStepProducts;
    const size_t first = row / kGroup;
    const size_t last = std::min(
        hwy::DivCeil(row + steps * Sum::kStepProducts, kGroup), k_ / kGroup);
    float* const copy = ScratchOf<float, Scratch::kPanel>((last - first) *
                                                          kGroup * kPanelWidth);
    const auto* const panel =
        reinterpret_cast<const uint8_t*>(Panel(args, p, 0));
    BlockFnsOf(*args.b.blocks).widen(panel, first, last, copy, panel);
    return reinterpret_cast<const char*>(copy +
                                         (row - first * kGroup) * kPanelWidth);
  }

  // The operands of A: rows as they are, or interleaved by tiles.
  void PackOperands(Parallel& parallel) {
    if (!divider_.packed()) {
      for (size_t r = 0; r < m_; ++r) {
        PackRow<S, Sum>(a_matrix_.Row(r), k_, a_ + r * steps_);
      }
      return;
    }
    parallel.For(tiles_, [this](size_t tile) {
      constexpr size_t kRows = kMaxTileRows<Sum>;
      const size_t first = FirstRow(tile);
      const double* rows[kRows];
      for (size_t r = 0; r < kRows; ++r) {
        // What follows the tile's last row is never read.
        rows[r] = a_matrix_.Row(std::min(first + r, m_ - 1));
      }
      PackRows<S, Sum>(rows, FirstRow(tile + 1) - first, k_,
                       a_ + tile * kRows * steps_);
    });
  }

  // Of a tile. They are of nearly equal size: a small last one would be slow.
  size_t FirstRow(size_t tile) const { return hwy::DivCeil(m_ * tile, tiles_); }

  static States<Lane> StatesOf(size_t rows, size_t cols) {
    States<Lane> states = {ScratchOf<Lane, Scratch::kSums>(rows * cols),
                           nullptr, cols};
    if constexpr (Sum::kCompensated) {
      states.c = ScratchOf<Lane, Scratch::kCompensations>(rows * cols);
    }
    return states;
  }

  void FewRowsPanels(const Part& part, size_t task) const {
    const size_t p0 = task * part.division().group_panels;
    const size_t p1 = std::min(part.panels, p0 + part.division().group_panels);
    const States<Lane> states = StatesOf(m_, (p1 - p0) * kPanelWidth);
    const RowsTile<Lane> tile = {a_,
                                 steps_,
                                 Panel(part.args, p0, 0),
                                 part.args.b.panel_stride,
                                 k_,
                                 part.work.prefetch_steps,
                                 part.args.b.blocks != nullptr
                                     ? &BlockFnsOf(*part.args.b.blocks)
                                     : nullptr};
    part.fns.few_rows(m_, p1 - p0, tile, states);
    Finish(part.args, 0, m_, p0 * kPanelWidth, p1 * kPanelWidth, states);
  }

  // A task of many rows: a block of them and a group of panels.
  struct BlockTask {
    const Part& part;
    size_t p0, p1;  // panels
    size_t t0, t1;  // tiles of rows
    bool widen;     // whether tiles read a widened copy of B
    // Whether the results are the sums as they are: then these are in C.
    // Otherwise `states` are those of all rows and panels if they are carried
    // from block to block of k, or else just a tile's.
    bool in_c, carried;
    States<Lane> states;
  };

  // Of a block of rows.
  size_t FirstTile(const Part& part, size_t block) const {
    return tiles_ * block / part.division().row_blocks;
  }

  // Neighbouring tasks, which a thread takes together, read the same panels.
  void Block(const Part& part, size_t task) const {
    const MatMulDivision& division = part.division();
    const size_t block = task % division.row_blocks;
    const size_t p0 = task / division.row_blocks * division.group_panels;
    const size_t p1 = std::min(part.panels, p0 + division.group_panels);
    const size_t t0 = FirstTile(part, block);
    const size_t t1 = FirstTile(part, block + 1);
    const size_t rows = FirstRow(t1) - FirstRow(t0);
    const bool carried = division.steps < steps_;
    const BlockTask t = {part,
                         p0,
                         p1,
                         t0,
                         t1,
                         part.fns.widen != nullptr,
                         StoresSums(part.args),
                         carried,
                         carried
                             ? StatesOf(rows, (p1 - p0) * kPanelWidth)
                             : StatesOf(kMaxTileRows<Sum>, kTileWidth<Sum>)};
    PackedTile<Lane> in;
    in.b_stride = t.widen ? kTileWidth<Sum> : kPanelWidth;
    if (t.widen) {
      in.b =
          ScratchOf<Lane, Scratch::kWidened>(division.steps * kTileWidth<Sum>);
    }
    for (size_t step = 0; step < steps_; step += division.steps) {
      in.steps = std::min(division.steps, steps_ - step);
      in.stored_rows = k_ - step * Sum::kStepProducts;
      in.from_zero = step == 0;
      PanelPrefetch prefetch = PrefetchAfter(t, block, step + in.steps);
      prefetch.steps = in.steps;
      const uintptr_t next_block_b = prefetch.b;
      for (size_t p = p0; p < p1; ++p) {
        prefetch.b =
            p + 1 < p1 ? Address(Panel(part.args, p + 1, step)) : next_block_b;
        const char* const stored = Stored(part.args, p, step, in.steps);
        for (size_t col = 0; col < kPanelWidth; col += kTileWidth<Sum>) {
          PanelTiles(t, stored, p, col, step, prefetch, in);
        }
      }
    }
  }

  static uintptr_t Address(const void* p) {
    return reinterpret_cast<uintptr_t>(p);
  }

  // What comes after a block of k that ends at `step`: its next block, or that
  // of the next block of rows, which the same thread most likely takes.
  PanelPrefetch PrefetchAfter(const BlockTask& t, size_t block,
                              size_t step) const {
    const Part& part = t.part;
    size_t p = t.p0;
    if (step == steps_) {
      step = 0;
      block = (block + 1) % part.division().row_blocks;
      if (block == 0) p = std::min(t.p1, part.panels - 1);
    }
    constexpr size_t kTileBytes = kMaxTileRows<Sum> * sizeof(Lane);
    PanelPrefetch next;
    next.tiles = (t.t1 - t.t0) * kTileColumns;
    next.b = Address(Panel(part.args, p, step));
    const PanelsView& b = part.args.b;
    next.b_step_bytes = b.blocks != nullptr ? b.panel_bytes() / steps_
                                            : kPanelWidth * DTypeSize(b.dtype) *
                                                  Sum::kStepProducts;
    next.widened_step_bytes = kPanelWidth * sizeof(Lane);
    if (t.carried) {
      const size_t t0 = FirstTile(part, block);
      next.a = Address(a_ + (t0 * steps_ + step) * kMaxTileRows<Sum>);
      next.a_tiles = FirstTile(part, block + 1) - t0;
      next.a_step_bytes = kTileBytes;
      next.a_tile_bytes = steps_ * kTileBytes;
    }
    return next;
  }

  // All rows' tiles of kTileWidth columns of panel p, whose rows are `stored`
  // from `step` on.
  void PanelTiles(const BlockTask& t, const char* stored, size_t p, size_t col,
                  size_t step, const PanelPrefetch& prefetch,
                  PackedTile<Lane>& in) const {
    const Part& part = t.part;
    stored += col * DTypeSize(part.args.b.dtype);
    in.stored = stored;
    if (!t.widen) {
      in.b = reinterpret_cast<Lane*>(const_cast<char*>(stored));
    }
    const size_t c0 = p * kPanelWidth + col;
    const bool in_c = t.in_c && c0 + kTileWidth<Sum> <= part.args.b.n;
    const size_t block_row = FirstRow(t.t0);
    for (size_t tile = t.t0; tile < t.t1; ++tile) {
      const size_t first = FirstRow(tile);
      const size_t end = FirstRow(tile + 1);
      const size_t column = (p - t.p0) * kTileColumns + col / kTileWidth<Sum>;
      in.prefetch = prefetch.Of(column * (t.t1 - t.t0) + tile - t.t0);
      // One, unless smaller ones are tuned.
      for (size_t r0 = first; r0 < end; r0 += part.division().tile_rows) {
        const size_t rows = std::min(end - r0, part.division().tile_rows);
        const States<Lane> sums =
            in_c ? InC(part.args, r0, c0)
            : t.carried
                ? t.states.At(r0 - block_row, (p - t.p0) * kPanelWidth + col)
                : t.states;
        in.a = a_ + (tile * steps_ + step) * kMaxTileRows<Sum> + (r0 - first);
        const bool last = step + in.steps == steps_;
        // Stores that miss wait one for another: C comes near while the sums
        // run, and its lines all together to L1 before they are written.
        if (last) ForResultLines(part.args, r0, rows, c0, PrefetchToL2);
        AddTile(part.fns, rows, t.widen && r0 == block_row, in, sums);
        if (last && !in_c) {
          ForResultLines(part.args, r0, rows, c0, [](uintptr_t line) {
            hwy::Prefetch(reinterpret_cast<const char*>(line));
          });
          Finish(part.args, r0, rows, c0, c0 + kTileWidth<Sum>, sums);
        }
      }
    }
  }

  // Calls fetch(address) for the cache lines of C that a tile's results go to.
  template <class Fetch>
  static void ForResultLines(const MatMulArgs& args, size_t r0, size_t rows,
                             size_t c0, const Fetch& fetch) {
    if (c0 >= args.b.n) return;
    const size_t bytes =
        std::min(kTileWidth<Sum>, args.b.n - c0) * sizeof(double);
    for (size_t r = r0; r < r0 + rows; ++r) {
      const uintptr_t row = Address(args.c.Row(r) + c0);
      for (size_t at = 0; at < bytes; at += kCacheLine) fetch(row + at);
    }
  }

  static void AddTile(const StoredFns<Lane>& fns, size_t rows, bool widens,
                      const PackedTile<Lane>& in, const States<Lane>& sums) {
    constexpr size_t kRows = kMaxTileRows<Sum>;
    const size_t missing = kRows - rows;
    if (widens && missing < kFusedTiles &&
        fns.widen_and_add[missing] != nullptr) {
      fns.widen_and_add[missing](in, sums);
      return;
    }
    if (widens) fns.widen(in);
    AddWidenedRows<Sum>(rows, std::make_index_sequence<kRows>())(in, sums);
  }

  // Whether results are the sums themselves, unrounded.
  static bool StoresSums(const MatMulArgs& args) {
    constexpr Format kLane = sizeof(Lane) == 8 ? Format::kF64 : Format::kF32;
    return kLane == Format::kF64 && !Sum::kCompensated &&
           S::kInfo.result == kLane && args.bias == nullptr && args.scale == 1;
  }
  static States<Lane> InC(const MatMulArgs& args, size_t row, size_t col) {
    if constexpr (std::is_same_v<double, Lane>) {
      return {args.c.Row(row) + col, nullptr, args.c.stride};
    }
    return {};
  }

  // Bias, scale and rounding of rows [r0, r0 + rows) and columns [c0, c1), and
  // the stores.
  void Finish(const MatMulArgs& args, size_t r0, size_t rows, size_t c0,
              size_t c1, const States<Lane>& sums) const {
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    if (c0 >= args.b.n) return;
    const size_t cols = std::min(c1, args.b.n) - c0;
    const Lane scale = static_cast<Lane>(args.scale);
    for (size_t r = 0; r < rows; ++r) {
      const States<Lane> row = sums.At(r, 0);
      double* HWY_RESTRICT to = args.c.Row(r0 + r) + c0;
      ForEachVector<Lane>(cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
        auto s = LoadSome(d, row.s + i, left...);
        auto c = hn::Zero(d);
        if constexpr (Sum::kCompensated) c = LoadSome(d, row.c + i, left...);
        if (args.bias != nullptr) {
          Sum::Add(d, LoadOperand<kOperand>(d, args.bias + c0 + i, left...), s,
                   c);
        }
        auto value = Sum::Value(d, s, c);
        if (args.scale != 1) {
          if (!args.unrounded) value = RoundBetweenOps<S>(d, value);
          value = hn::Mul(value, hn::Set(d, scale));
        }
        if (!args.unrounded) value = RoundTo<kResult>(d, value);
        StoreResult(d, value, to + i, left...);
      });
    }
  }

  const Matrix<const double> a_matrix_;
  const size_t m_, k_;
  const size_t steps_;  // of a sum, kStepProducts each
  const MatMulDivider<S, Sum> divider_;
  const size_t tiles_;  // of rows that are packed together
  Lane* const a_;
};

template <class S>
struct MatMulImpl {
  static void Run(absl::Span<const MatMulArgs> all, Parallel& parallel) {
    ChooseSum<S>(all[0].b.k, [&](auto sum) HWY_ATTR {
      MatMulRun<S, decltype(sum)>(all, parallel);
    });
  }
};

template <class S>
struct MatMulWorkImpl {
  static MatMulWork Run(absl::Span<const MatMulArgs> all, size_t i,
                        const MatMulTuning& tuning, size_t threads) {
    MatMulWork work;
    ChooseSum<S>(all[0].b.k, [&](auto sum) HWY_ATTR {
      work = MatMulDivider<S, decltype(sum)>(all).Of(all[i].b, tuning, threads);
    });
    return work;
  }
};

const MatMulWorkFn* MatMulWorkTable() {
#if ULPSCOPE_HAS_AVX3_TABLES
  return TableOver<MatMulWorkImpl, Kernel::kMatMul, MatMulWorkFn>(
      N_AVX3::MatMulWorkTable(), AllStrategies());
#else
  return TableOf<MatMulWorkImpl, Kernel::kMatMul, MatMulWorkFn>(
      AllStrategies());
#endif
}

const MatMulFn* MatMulTable() {
#if ULPSCOPE_HAS_AVX3_TABLES
  return TableOver<MatMulImpl, Kernel::kMatMul, MatMulFn>(N_AVX3::MatMulTable(),
                                                          AllStrategies());
#else
  return TableOf<MatMulImpl, Kernel::kMatMul, MatMulFn>(AllStrategies());
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(MatMulTable);
HWY_EXPORT(MatMulWorkTable);

void MatMuls(Strategy strategy, absl::Span<const MatMulArgs> all,
             Parallel& parallel) {
  HWY_ASSERT(!all.empty());
  for (const MatMulArgs& args : all) {
    HWY_ASSERT(args.a.rows > 0 && args.b.n > 0 && args.b.k > 0);
    HWY_ASSERT(args.a.cols == args.b.k && args.c.cols == args.b.n);
    HWY_ASSERT(args.c.rows == args.a.rows);
    HWY_ASSERT(args.a.data == all[0].a.data && args.a.rows == all[0].a.rows &&
               args.a.cols == all[0].a.cols);
  }
  if (strategy.info().engine != nullptr) {
    for (const MatMulArgs& args : all) {
      EngineMatMul(strategy.info(), args, parallel);
    }
    return;
  }
  HWY_DYNAMIC_DISPATCH(MatMulTable)()[strategy.index()](all, parallel);
}

MatMulWork WorkOf(Strategy strategy, absl::Span<const MatMulArgs> all, size_t i,
                  const MatMulTuning& tuning, size_t threads) {
  return HWY_DYNAMIC_DISPATCH(MatMulWorkTable)()[strategy.index()](
      all, i, tuning, threads);
}

void MatMul(Strategy strategy, const MatMulArgs& args, Parallel& parallel) {
  MatMuls(strategy, absl::MakeConstSpan(&args, 1), parallel);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
