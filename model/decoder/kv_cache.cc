#include "model/decoder/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

DType TypeOf(Strategy stored, Strategy computed) {
  switch (stored.info().stored()) {
    case Format::kBF16:
      return DType::kBF16;
    case Format::kF16:
      return DType::kF16;
    case Format::kF32:
    case Format::kF64:
      break;
  }
  return StoresAsComputed(stored) && computed.info().result == Format::kF64
             ? DType::kF64
             : DType::kF32;
}

AlignedBytes AllocateZeroed(size_t bytes) {
  auto storage = AllocateAlignedBytes(bytes);
  std::memset(storage.get(), 0, bytes);
  return storage;
}

// The upper half of an f32.
uint16_t BitsOfBF16(float value) {
  return static_cast<uint16_t>(hwy::BitCastScalar<uint32_t>(value) >> 16);
}

// Of a number that is an f16, or NaN.
uint16_t BitsOfF16(float value) {
  const uint32_t bits = hwy::BitCastScalar<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude == 0x7F800000) return static_cast<uint16_t>(sign | 0x7C00);
  // Below 2^-14 in units of 2^-24; else with another bias of the exponent.
  const uint32_t rest = magnitude < 0x38800000
                            ? static_cast<uint32_t>(std::fabs(value) * 0x1p24f)
                            : (magnitude - 0x38000000) >> 13;
  return static_cast<uint16_t>(sign | rest);
}

void Put(DType type, unsigned char* data, size_t index, double value) {
  const float narrow = static_cast<float>(value);
  switch (type) {
    case DType::kF64:
      reinterpret_cast<double*>(data)[index] = value;
      break;
    case DType::kF32:
      reinterpret_cast<float*>(data)[index] = narrow;
      break;
    case DType::kF16:
      reinterpret_cast<uint16_t*>(data)[index] = BitsOfF16(narrow);
      break;
    case DType::kBF16:
      reinterpret_cast<uint16_t*>(data)[index] = BitsOfBF16(narrow);
      break;
  }
}

}  // namespace

size_t KvCache::CapacityFor(size_t positions) {
  return hwy::RoundUpTo(std::max<size_t>(positions, 1), kPanelWidth);
}

KvCache::KvCache(const ModelConfig& config, const Plan& plan, size_t positions)
    : capacity_(CapacityFor(positions)),
      num_heads_(static_cast<size_t>(config.num_key_value_heads)),
      head_dim_(static_cast<size_t>(config.head_dim)),
      key_head_size_(capacity_ * head_dim_),
      value_head_size_(capacity_ * hwy::RoundUpTo(head_dim_, kPanelWidth)) {
  for (size_t layer = 1; layer <= plan.num_layers(); ++layer) {
    Layer cache;
    cache.key_type =
        TypeOf(plan.Get(layer, Op::kKvK), plan.Get(layer, Op::kRope));
    cache.value_type =
        TypeOf(plan.Get(layer, Op::kKvV), plan.Get(layer, Op::kVProj));
    cache.keys =
        AllocateZeroed(num_heads_ * key_head_size_ * DTypeSize(cache.key_type));
    cache.values = AllocateZeroed(num_heads_ * value_head_size_ *
                                  DTypeSize(cache.value_type));
    layers_.push_back(std::move(cache));
  }
}

void KvCache::Store(size_t layer, size_t position, const double* key,
                    const double* value) {
  Layer& cache = layers_[layer - 1];
  const size_t panel = position / kPanelWidth;
  const size_t lane = position % kPanelWidth;
  for (size_t h = 0; h < num_heads_; ++h) {
    const size_t keys = h * key_head_size_ + panel * head_dim_ * kPanelWidth;
    const size_t values = h * value_head_size_ + position * kPanelWidth;
    for (size_t d = 0; d < head_dim_; ++d) {
      Put(cache.key_type, cache.keys.get(), keys + d * kPanelWidth + lane,
          key[h * head_dim_ + d]);
      Put(cache.value_type, cache.values.get(),
          values + d / kPanelWidth * capacity_ * kPanelWidth + d % kPanelWidth,
          value[h * head_dim_ + d]);
    }
  }
}

PanelsView KvCache::Keys(size_t layer, size_t kv_head, size_t positions) const {
  const Layer& cache = layers_[layer - 1];
  return {
      cache.key_type,
      cache.keys.get() + kv_head * key_head_size_ * DTypeSize(cache.key_type),
      positions,
      head_dim_,
      head_dim_ * kPanelWidth,
      nullptr,
      true};
}

PanelsView KvCache::Values(size_t layer, size_t kv_head,
                           size_t positions) const {
  const Layer& cache = layers_[layer - 1];
  return {cache.value_type,
          cache.values.get() +
              kv_head * value_head_size_ * DTypeSize(cache.value_type),
          head_dim_,
          positions,
          capacity_ * kPanelWidth,
          nullptr,
          true};
}

}  // namespace ulpscope
