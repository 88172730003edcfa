// MatMul as engines compute it, emulated: for any engine at once, whose
// parameters are values, so that another engine takes no more to compile.
#include "kernels/ops/engine_matmul.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_widen.h"
#include "kernels/ops/engine_operands.h"
#include "kernels/ops/matmul_args.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/engine.h"
#include "kernels/strategy/philox.h"
#include "kernels/strategy/strategy_info.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/engine_matmul.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/engine_quantize-inl.h"
#include "kernels/ops/engine_sums-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if !ULPSCOPE_HAS_AVX3_TABLES

// Memory for the panels of one operand.
class EnginePanels {
 public:
  EnginePanels(const OperandForm& form, size_t k, size_t panels)
      : size_(k * kPanelWidth),
        scales_(form.Blocks(k) * kPanelWidth),
        data_(AllocateAlignedBytes(panels * Stride() * sizeof(float))) {}

  EnginePanel At(size_t panel) const {
    float* const data =
        reinterpret_cast<float*>(data_.get()) + panel * Stride();
    return {data, data + size_, data + size_ + scales_,
            data + size_ + 2 * scales_};
  }

 private:
  size_t Stride() const { return size_ + 2 * scales_ + kPanelWidth; }

  size_t size_, scales_;
  AlignedBytes data_;
};

// One MatMul under one engine.
class EngineRun {
 public:
  EngineRun(const StrategyInfo& strategy, const MatMulArgs& args,
            Parallel& parallel)
      : strategy_(strategy),
        engine_(*strategy.engine),
        args_(args),
        m_(args.a.rows),
        k_(args.a.cols),
        a_form_(FormOfActivations(engine_.quantizer, args.b)),
        b_form_(FormOfB(engine_.quantizer, args.b)),
        amax_(b_form_.of_tensor ? static_cast<float>(LargestMagnitudeOf(args.b))
                                : 0),
        a_(a_form_, k_, hwy::DivCeil(m_, kPanelWidth)) {
    parallel.For(hwy::DivCeil(m_, kPanelWidth),
                 [&](size_t panel) { PackA(panel); });
    const size_t panels = hwy::DivCeil(args.b.n, kPanelWidth);
    const size_t tile = b_form_.tile_panels;
    parallel.For(hwy::DivCeil(panels, tile), [&](size_t task) {
      const size_t first = task * tile;
      Columns(first, std::min(tile, panels - first));
    });
  }

 private:
  // Lines of A side by side, as f32; those beyond its rows are zero.
  void PackA(size_t panel) {
    EnginePanel a = a_.At(panel);
    const size_t first = panel * kPanelWidth;
    const size_t rows = std::min(kPanelWidth, m_ - first);
    std::fill_n(a.values, k_ * kPanelWidth, 0.0f);
    for (size_t r = 0; r < rows; ++r) {
      const double* const row = args_.a.Row(first + r);
      for (size_t i = 0; i < k_; ++i) {
        a.values[i * kPanelWidth + r] = static_cast<float>(row[i]);
      }
    }
    QuantizePanels(a_form_, k_, 0, &a, 1);
  }

  // A panel of B as f32.
  void WidenB(size_t panel, float* to) const {
    const PanelsView& b = args_.b;
    const auto* const data =
        static_cast<const uint8_t*>(b.data) + panel * b.panel_bytes();
    if (b.blocks != nullptr) {
      BlockFnsOf(*b.blocks).widen(data, 0, k_ / kGroup, to, data);
      return;
    }
    const LineTag d;
    const auto widen = [&](const auto* from) HWY_ATTR {
      for (size_t i = 0; i < k_ * kPanelWidth; i += kLineLanes) {
        hn::Store(LoadWidened(d, from + i), d, to + i);
      }
    };
    switch (b.dtype) {
      case DType::kF64:
        return widen(reinterpret_cast<const double*>(data));
      case DType::kF32:
        return widen(reinterpret_cast<const float*>(data));
      case DType::kF16:
        return widen(reinterpret_cast<const hwy::float16_t*>(data));
      case DType::kBF16:
        return widen(reinterpret_cast<const hwy::bfloat16_t*>(data));
    }
  }

  // Those of the blocks of B, whose values are multiples of a scale less their
  // block's minimum.
  void CopyMinima(size_t first, const std::vector<EnginePanel>& b) const {
    const BlockLayout& layout = args_.b.blocks->layout;
    for (size_t p = 0; p < b.size(); ++p) {
      const auto* block = static_cast<const uint8_t*>(args_.b.data) +
                          (first + p) * args_.b.panel_bytes();
      for (size_t i = 0; i < k_; i += layout.elements) {
        for (size_t j = 0; j < kPanelWidth; ++j) {
          uint16_t bits;
          std::memcpy(&bits, block + 2 * (kPanelWidth + j), sizeof(bits));
          b[p].offsets[i / layout.elements * kPanelWidth + j] =
              -hwy::F32FromF16(hwy::float16_t::FromBits(bits));
        }
        block += layout.panel_bytes();
      }
    }
  }

  // All rows' outputs of some panels of B.
  void Columns(size_t first, size_t count) const {
    const EnginePanels memory(b_form_, k_, count);
    std::vector<EnginePanel> b;
    for (size_t p = 0; p < count; ++p) {
      b.push_back(memory.At(p));
      WidenB(first + p, b.back().values);
    }
    QuantizePanels(b_form_, k_, amax_, b.data(), count);
    if (a_form_.code == Code::kQ8_1) CopyMinima(first, b);
    for (size_t p = 0; p < count; ++p) {
      const size_t column = (first + p) * kPanelWidth;
      for (size_t row = 0; row < m_; row += kEngineRows) {
        const EnginePanel a = a_.At(row / kPanelWidth);
        for (size_t c = 0; c < kPanelWidth; c += kEngineColumns) {
          if (column + c >= args_.b.n) break;
          Finish(SumsOf({engine_, a_form_, b_form_, k_, a, b[p],
                         row % kPanelWidth, c}),
                 row, column + c);
        }
      }
    }
  }

  EngineNarrowVec Result(EngineNarrowVec v) const {
    if (engine_.seed == 0) return RoundedTo(strategy_.result, v);
    const EngineNarrowTag d;
    HWY_ALIGN float lanes[kEngineLanes];
    hn::Store(v, d, lanes);
    for (float& lane : lanes) lane = RoundedAtRandom(lane, engine_.seed);
    return hn::Load(d, lanes);
  }

  static EngineNarrowVec RoundedTo(Format format, EngineNarrowVec v) {
    const EngineNarrowTag d;
    if (format == Format::kBF16) return RoundToBF16(d, v);
    if (format == Format::kF16) return RoundToF16(d, v);
    return v;
  }

  // Bias, scale and rounding of a tile, and its stores.
  void Finish(const EngineSums& sums, size_t row, size_t column) const {
    const EngineNarrowTag d;
    const size_t rows = std::min(kEngineRows, m_ - row);
    for (size_t j = 0; j < rows * kEngineVectors; ++j) {
      const size_t at = column + j % kEngineVectors * kEngineLanes;
      if (at >= args_.b.n) continue;
      const size_t left = args_.b.n - at;
      EngineNarrowVec v = sums.at[j];
      if (args_.bias != nullptr) {
        v = hn::Add(v, RoundedTo(strategy_.operand,
                                 LoadWidened(d, args_.bias + at, left)));
      }
      if (args_.scale != 1) {
        if (!args_.unrounded) v = Result(v);
        v = hn::Mul(v, hn::Set(d, static_cast<float>(args_.scale)));
      }
      if (!args_.unrounded) v = Result(v);
      double* const to = args_.c.Row(row + j / kEngineVectors) + at;
      if (left >= kEngineLanes) {
        StoreResult(d, v, to);
      } else {
        StoreResult(d, v, to, left);
      }
    }
  }

  const StrategyInfo& strategy_;
  const Engine& engine_;
  const MatMulArgs& args_;
  const size_t m_, k_;
  const OperandForm a_form_, b_form_;
  const float amax_;
  const EnginePanels a_;
};

#endif

void RunEngine(const StrategyInfo& strategy, const MatMulArgs& args,
               Parallel& parallel) {
#if ULPSCOPE_HAS_AVX3_TABLES
  N_AVX3::RunEngine(strategy, args, parallel);
#else
  EngineRun(strategy, args, parallel);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(RunEngine);

void EngineMatMul(const StrategyInfo& strategy, const MatMulArgs& args,
                  Parallel& parallel) {
  HWY_DYNAMIC_DISPATCH(RunEngine)(strategy, args, parallel);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
