#include "kernels/ops/panels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/block_widen.h"

namespace ulpscope {
namespace {

// Copies rows [first, first + 32) of row-major [n][k] into one panel. Blocks of
// k keep both sides of the transposition in cache. Elements are only moved, so
// their size is all that matters.
template <typename Bits>
void PackPanel(const Bits* HWY_RESTRICT from, size_t n, size_t k, size_t first,
               Bits* HWY_RESTRICT panel) {
  constexpr size_t kBlock = 64;
  const size_t rows = std::min(kPanelWidth, n - first);
  for (size_t i0 = 0; i0 < k; i0 += kBlock) {
    const size_t i1 = std::min(k, i0 + kBlock);
    for (size_t r = 0; r < rows; ++r) {
      const Bits* HWY_RESTRICT row = from + (first + r) * k;
      for (size_t i = i0; i < i1; ++i) panel[i * kPanelWidth + r] = row[i];
    }
    for (size_t r = rows; r < kPanelWidth; ++r) {
      for (size_t i = i0; i < i1; ++i) panel[i * kPanelWidth + r] = 0;
    }
  }
}

// Of panels between two calls of a watch: some hundredths of a second of
// memory's time, or of a disk's less than one.
constexpr size_t kWatchedBytes = size_t{32} << 20;

}  // namespace

absl::StatusOr<Panels> Panels::Pack(DType dtype, const void* data, size_t n,
                                    size_t k, Parallel& parallel,
                                    const PackWatch& watch) {
  Panels panels(dtype, nullptr, n, k);
  const absl::Status filled = panels.TryFill(data, parallel, watch);
  if (!filled.ok()) return filled;
  return panels;
}

absl::StatusOr<Panels> Panels::Pack(const BlockType& type, const void* data,
                                    size_t n, size_t k, Parallel& parallel,
                                    const PackWatch& watch) {
  HWY_ASSERT(k % type.layout.elements == 0);
  Panels panels(DType::kF32, &type, n, k);
  const absl::Status filled = panels.TryFill(data, parallel, watch);
  if (!filled.ok()) return filled;
  return panels;
}

Panels::Panels(DType dtype, const void* data, size_t n, size_t k,
               Parallel& parallel)
    : Panels(dtype, nullptr, n, k) {
  Fill(AllocateAlignedBytes(bytes_), data, parallel, nullptr);
}

Panels::Panels(DType dtype, const BlockType* blocks, size_t n, size_t k)
    : view_{dtype,
            nullptr,
            n,
            k,
            blocks != nullptr
                ? k / blocks->layout.elements * blocks->layout.panel_bytes()
                : k * kPanelWidth,
            blocks},
      bytes_(hwy::DivCeil(n, kPanelWidth) * view_.panel_bytes()) {}

absl::Status Panels::TryFill(const void* data, Parallel& parallel,
                             const PackWatch& watch) {
  AlignedBytes storage = TryAllocateAlignedBytes(bytes_);
  if (storage == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the ", bytes_, " bytes of ", view_.n, " x ",
                     view_.k, " ", view_.type_name(), " in panels"));
  }
  if (!Fill(std::move(storage), data, parallel, watch)) {
    return absl::CancelledError("stopped");
  }
  return absl::OkStatus();
}

bool Panels::Fill(AlignedBytes storage, const void* data, Parallel& parallel,
                  const PackWatch& watch) {
  storage_ = std::move(storage);
  view_.data = storage_.get();
  largest_ = std::make_unique<LargestMagnitude>(view_);
  view_.largest = largest_.get();
  const size_t panels = hwy::DivCeil(view_.n, kPanelWidth);
  const size_t step =
      watch == nullptr
          ? panels
          : std::max<size_t>(kWatchedBytes / view_.panel_bytes(), 1);
  for (size_t first = 0; first < panels; first += step) {
    const size_t last = std::min(panels, first + step);
    FillPanels(data, first, last, parallel);
    if (watch != nullptr && !watch(std::min(last * kPanelWidth, view_.n))) {
      return false;
    }
  }
  return true;
}

void Panels::FillPanels(const void* data, size_t first, size_t last,
                        Parallel& parallel) {
  if (view_.blocks != nullptr) {
    parallel.For(last - first, [&](size_t i) {
      FillBlocks(static_cast<const uint8_t*>(data), first + i);
    });
    return;
  }
  const auto pack = [&](auto zero) {
    using Bits = decltype(zero);
    parallel.For(last - first, [&](size_t i) {
      const size_t p = first + i;
      PackPanel(
          static_cast<const Bits*>(data), view_.n, view_.k, p * kPanelWidth,
          reinterpret_cast<Bits*>(storage_.get()) + p * view_.panel_stride);
    });
  };
  switch (DTypeSize(view_.dtype)) {
    case 2:
      pack(uint16_t{0});
      break;
    case 4:
      pack(uint32_t{0});
      break;
    default:
      pack(uint64_t{0});
      break;
  }
}

void Panels::FillBlocks(const uint8_t* data, size_t panel) {
  const BlockType& type = *view_.blocks;
  const size_t blocks = view_.k / type.layout.elements;  // of a row
  const size_t first = panel * kPanelWidth;
  const size_t rows = std::min(kPanelWidth, view_.n - first);
  for (size_t b = 0; b < blocks; ++b) {
    PackBlocks(type, data + (first * blocks + b) * type.bytes, rows,
               blocks * type.bytes,
               storage_.get() + panel * view_.panel_stride +
                   b * type.layout.panel_bytes());
  }
}

double LargestMagnitude::Get() const {
  std::call_once(once_, [this] { value_ = LargestMagnitudeOf(whole_); });
  return value_;
}

double LargestMagnitudeOf(const PanelsView& view) {
  if (view.largest != nullptr) return view.largest->Get();
  const size_t panels = hwy::DivCeil(view.n, kPanelWidth);
  std::vector<double> values(view.k * kPanelWidth);
  alignas(kBlockAlignment) float group[kGroup * kPanelWidth];
  double largest = 0;
  for (size_t p = 0; p < panels; ++p) {
    const auto* const panel =
        static_cast<const uint8_t*>(view.data) + p * view.panel_bytes();
    if (view.blocks != nullptr) {
      const BlockFns& fns = BlockFnsOf(*view.blocks);
      for (size_t g = 0; g < view.k / kGroup; ++g) {
        fns.widen(panel, g, g + 1, group, panel);
        std::copy_n(group, kGroup * kPanelWidth,
                    values.data() + g * kGroup * kPanelWidth);
      }
    } else {
      Widen(view.dtype, panel, 1, values.size(), values.data());
    }
    for (const double value : values) {
      if (!std::isfinite(value)) {
        return std::numeric_limits<double>::quiet_NaN();
      }
      largest = std::max(largest, std::abs(value));
    }
  }
  return largest;
}

void Panels::CopyRow(size_t j, double* row) const {
  if (view_.blocks != nullptr) {
    CopyRowOfBlocks(j, row);
    return;
  }
  const size_t first = j / kPanelWidth * view_.panel_stride + j % kPanelWidth;
  Widen(view_.dtype,
        static_cast<const unsigned char*>(view_.data) +
            first * DTypeSize(view_.dtype),
        kPanelWidth, view_.k, row);
}

void Panels::CopyRowOfBlocks(size_t j, double* row) const {
  const BlockFns& fns = BlockFnsOf(*view_.blocks);
  const uint8_t* const panel = static_cast<const uint8_t*>(view_.data) +
                               j / kPanelWidth * view_.panel_stride;
  alignas(kBlockAlignment) float group[kGroup * kPanelWidth];
  for (size_t g = 0; g < view_.k / kGroup; ++g) {
    fns.widen(panel, g, g + 1, group, panel);
    for (size_t i = 0; i < kGroup; ++i) {
      row[g * kGroup + i] = group[i * kPanelWidth + j % kPanelWidth];
    }
  }
}

}  // namespace ulpscope
