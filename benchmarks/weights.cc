#include "benchmarks/weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "benchmarks/inputs.h"
#include "benchmarks/shapes.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/panels.h"
#include "kernels/tune/matmul_check.h"

namespace ulpscope {

// Outputs that are checked.
constexpr size_t kPlaces = 256;

Weights::Weights(const MatMulShape& shape)
    : shape_(shape), row_major_(RandomWeights(shape.n * shape.k)) {}

void Weights::Widen() {
  if (!wide_.empty()) return;
  wide_.push_back(AllocateAlignedBytes(row_major_.size() * sizeof(float)));
  float* const wide = reinterpret_cast<float*>(wide_[0].get());
  for (size_t i = 0; i < row_major_.size(); ++i) {
    wide[i] = hwy::F32FromBF16(row_major_[i]);
  }
}

MatMulCheck Weights::Check(Matrix<const double> a) const {
  return MatMulCheck(
      a, shape_.n,
      [this](size_t j, double* row) {
        for (size_t i = 0; i < shape_.k; ++i) {
          row[i] = hwy::F32FromBF16(row_major_[j * shape_.k + i]);
        }
      },
      kPlaces);
}

std::vector<PanelsView> Weights::PanelCopies(DType dtype, size_t copies,
                                             Parallel& parallel) {
  const bool wide = dtype == DType::kF32;
  std::vector<Panels>& panels = wide ? f32_ : bf16_;
  if (wide) Widen();
  const void* const data =
      wide ? static_cast<const void*>(wide_[0].get()) : row_major_.data();
  while (panels.size() < copies) {
    panels.emplace_back(dtype, data, shape_.n, shape_.k, parallel);
  }
  std::vector<PanelsView> views;
  for (size_t i = 0; i < copies; ++i) views.push_back(panels[i].view());
  return views;
}

namespace {

// Of which no value is subnormal or near overflow.
bool IsUsual(const BlockType& type, const uint8_t* block) {
  std::vector<float> values(type.layout.elements);
  Dequantize(type, block, values.data());
  return std::all_of(values.begin(), values.end(), [](float value) {
    const float size = std::abs(value);
    return value == 0 || (size > 1e-30f && size < 1e30f);
  });
}

// A few thousand that differ, again and again.
std::vector<uint8_t> RandomBlocks(const BlockType& type, size_t count) {
  constexpr size_t kDifferent = 4099;
  Random random(3);
  std::vector<uint8_t> blocks(count * type.bytes);
  for (size_t b = 0; b < count; ++b) {
    uint8_t* const block = blocks.data() + b * type.bytes;
    if (b >= kDifferent) {
      std::memcpy(block, block - kDifferent * type.bytes, type.bytes);
      continue;
    }
    do {
      for (size_t i = 0; i < type.bytes; ++i) {
        block[i] = static_cast<uint8_t>(random.Next());
      }
    } while (!IsUsual(type, block));
  }
  return blocks;
}

}  // namespace

std::vector<PanelsView> Weights::BlockCopies(const BlockType& type,
                                             size_t copies,
                                             Parallel& parallel) {
  std::vector<Panels>& panels = blocks_[type.name];
  if (panels.size() < copies) {
    const std::vector<uint8_t> blocks =
        RandomBlocks(type, shape_.n * shape_.k / type.layout.elements);
    while (panels.size() < copies) {
      auto packed =
          Panels::Pack(type, blocks.data(), shape_.n, shape_.k, parallel);
      CHECK_OK(packed.status());
      panels.push_back(*std::move(packed));
    }
  }
  std::vector<PanelsView> views;
  for (size_t i = 0; i < copies; ++i) views.push_back(panels[i].view());
  return views;
}

MatMulCheck Weights::BlocksCheck(const BlockType& type,
                                 Matrix<const double> a) const {
  return MatMulCheck(a, blocks_.at(type.name)[0], kPlaces);
}

std::vector<Matrix<const float>> Weights::WideCopies(size_t copies) {
  Widen();
  const size_t bytes = row_major_.size() * sizeof(float);
  while (wide_.size() < copies) {
    wide_.push_back(AllocateAlignedBytes(bytes));
    std::memcpy(wide_.back().get(), wide_[0].get(), bytes);
  }
  std::vector<Matrix<const float>> views;
  for (size_t i = 0; i < copies; ++i) {
    views.emplace_back(reinterpret_cast<const float*>(wide_[i].get()), shape_.n,
                       shape_.k);
  }
  return views;
}

Weights& WeightsOf(const MatMulShape& shape) {
  static auto* const weights = new std::unique_ptr<Weights>();
  if (*weights == nullptr || (*weights)->shape().name != shape.name) {
    weights->reset();  // before as many gigabytes are taken again
    *weights = std::make_unique<Weights>(shape);
  }
  return **weights;
}

}  // namespace ulpscope
