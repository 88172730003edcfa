// How MatMuls of one A are divided.
#if defined(KERNELS_OPS_MATMUL_WORK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_MATMUL_WORK_INL_H_
#undef KERNELS_OPS_MATMUL_WORK_INL_H_
#else
#define KERNELS_OPS_MATMUL_WORK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/ops/matmul_args.h"
#include "kernels/ops/matmul_division.h"
#include "kernels/ops/matmul_tile-inl.h"
#include "kernels/ops/matmul_work.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {

// From so many rows on one tile has them all where it reads B as it is stored.
inline constexpr size_t kTiledRows = 3;
// Defaults of MatMulTuning.
// How far ahead a row's panels are fetched, one by one and several at once: 4
// and 2 KiB of bf16 each. Without it the memory waits for sums to end.
inline constexpr size_t kPrefetchSteps = 64;
inline constexpr size_t kPrefetchStepsInFlight = 32;
// Several panels at once as long as there are this many tasks per thread:
// fewer, larger ones would leave threads idle at the end.
inline constexpr size_t kTasksPerThread = 7;

inline size_t ValueOr(uint32_t tuned, size_t otherwise) {
  return tuned == 0 ? otherwise : tuned;
}

// Of MatMuls of the same A, m x k.
template <class S, class Sum>
class MatMulDivider {
 public:
  using Lane = typename Sum::Lane;

  explicit MatMulDivider(absl::Span<const MatMulArgs> all)
      : m_(all[0].a.rows),
        steps_(hwy::DivCeil(all[0].a.cols, Sum::kStepProducts)),
        packed_(m_ >= kBlockedRows || (m_ > 1 && HaveBlocks(all)) ||
                (m_ >= kTiledRows && AreReadAsStored(all))) {}

  bool packed() const { return packed_; }

  MatMulWork Of(const PanelsView& b, const MatMulTuning& tuning,
                size_t num_threads) const {
    MatMulWork work;
    work.packed = packed_;
    work.threads = std::min(ValueOr(tuning.threads, num_threads), num_threads);
    const size_t panels = hwy::DivCeil(b.n, kPanelWidth);
    if (packed_) {
      const bool widens =
          FnsFor<S, Sum>(b).widen != nullptr || b.blocks != nullptr;
      work.division = Divide({m_, steps_, sizeof(Lane), panels, work.threads,
                              widens, !Sum::kTree, kMaxTileRows<Sum>},
                             tuning);
      work.most_tile_rows = std::min(kMaxTileRows<Sum>, m_);
      work.has_blocks_of_k = !Sum::kTree;
      return work;
    }
    if (m_ == 1) {
      // Of blocks more than 2 are no faster.
      work.most_panels_in_flight =
          b.blocks != nullptr ? std::min<size_t>(kMaxPanelsInFlight<Sum>, 2)
                              : kMaxPanelsInFlight<Sum>;
    }
    const size_t in_flight =
        PanelsInFlight(ValueOr(tuning.panels_in_flight,
                               panels / (kTasksPerThread * work.threads)),
                       work.most_panels_in_flight);
    work.division = {steps_, 1, in_flight, m_};
    const size_t ahead =
        in_flight > 1 ? kPrefetchStepsInFlight : kPrefetchSteps;
    work.prefetch_steps =
        ValueOr(tuning.prefetch_steps,
                b.blocks != nullptr ? 0 : ahead / Sum::kStepProducts);
    return work;
  }

 private:
  // Where a row alone is what keeps blocks as they are.
  static bool HaveBlocks(absl::Span<const MatMulArgs> all) {
    return std::any_of(all.begin(), all.end(), [](const MatMulArgs& args) {
      return args.b.blocks != nullptr;
    });
  }

  static bool AreReadAsStored(absl::Span<const MatMulArgs> all) {
    return std::all_of(all.begin(), all.end(), [](const MatMulArgs& args) {
      return args.b.blocks == nullptr &&
             FnsFor<S, Sum>(args.b).widen == nullptr;
    });
  }

  // 1, 2 or `most`.
  static size_t PanelsInFlight(size_t wanted, size_t most) {
    return wanted >= most ? most : wanted >= 2 ? 2 : 1;
  }

  size_t m_;
  size_t steps_;  // of a sum, kStepProducts each
  bool packed_;
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
