#include "kernels/tune/cold_weights.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/panels.h"

namespace ulpscope {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
// Different blocks of a matrix: drawing one takes many tries.
constexpr size_t kDrawnBlocks = 64;

size_t ColdBytes(size_t model_bytes) {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const size_t wanted =
      std::clamp(static_cast<size_t>(std::max(cache, 0L)) / 4 * 5, 256 * kMiB,
                 1024 * kMiB);
  return std::min({model_bytes, wanted, AvailableMemory() / 8});
}

// An element of the type, which holds RandomOperand's.
void StoreAs(DType dtype, float value, unsigned char* to) {
  const auto store = [to](const auto& element) {
    std::memcpy(to, &element, sizeof(element));
  };
  switch (dtype) {
    case DType::kF64:
      store(double{value});
      break;
    case DType::kF32:
      store(value);
      break;
    case DType::kF16:
      store(hwy::F16FromF32(value));
      break;
    case DType::kBF16:
      store(hwy::BF16FromF32(value));
      break;
  }
}

// Whether sums of the block's values neither overflow nor vanish.
bool IsModerate(const BlockType& type, const uint8_t* block) {
  std::vector<float> values(type.layout.elements);
  Dequantize(type, block, values.data());
  float most = 0;
  for (const float value : values) {
    if (!(std::fabs(value) < 2)) return false;
    most = std::max(most, std::fabs(value));
  }
  return most >= 0x1p-7f;
}

void FillWithBlocks(const BlockType& type, Random& random, size_t count,
                    unsigned char* to) {
  std::vector<uint8_t> drawn(std::min(count, kDrawnBlocks) * type.bytes);
  for (size_t at = 0; at < drawn.size(); at += type.bytes) {
    do {
      for (size_t i = 0; i < type.bytes; ++i) {
        drawn[at + i] = static_cast<uint8_t>(random.Next());
      }
    } while (!IsModerate(type, drawn.data() + at));
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t block = random.Below(drawn.size() / type.bytes);
    std::memcpy(to + i * type.bytes, drawn.data() + block * type.bytes,
                type.bytes);
  }
}

size_t StoredBytes(const WeightsShape& shape) {
  const BlockType* const blocks = shape.type.blocks;
  const size_t count = shape.n * shape.k;
  return blocks != nullptr ? count / blocks->layout.elements * blocks->bytes
                           : count * DTypeSize(shape.type.dtype);
}

// False if it was stopped: a vocabulary's matrix takes seconds.
bool FillWithRandom(const WeightsShape& shape,
                    const std::function<bool()>& stop, unsigned char* to) {
  Random random(1);
  const size_t count = shape.n * shape.k;
  const BlockType* const blocks = shape.type.blocks;
  if (blocks != nullptr) {
    FillWithBlocks(*blocks, random, count / blocks->layout.elements, to);
    return true;
  }
  const size_t size = DTypeSize(shape.type.dtype);
  for (size_t i = 0; i < count; ++i) {
    if (i % kMiB == 0 && stop != nullptr && stop()) return false;
    StoreAs(shape.type.dtype, RandomOperand(random, 0.04), to + i * size);
  }
  return true;
}

}  // namespace

float RandomOperand(Random& random, double scale) {
  const hwy::float16_t half =
      hwy::F16FromF32(static_cast<float>(random.Uniform(-scale, scale)));
  return hwy::F32FromBF16(hwy::BF16FromF32(hwy::F32FromF16(half)));
}

absl::StatusOr<ColdWeights> ColdWeights::Make(
    absl::Span<const WeightsShape> region, size_t model_bytes,
    Parallel& parallel, const std::function<bool()>& stop) {
  std::vector<AlignedBytes> values;
  for (const WeightsShape& shape : region) {
    const size_t bytes = StoredBytes(shape);
    values.push_back(TryAllocateAlignedBytes(bytes));
    if (values.back() == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", bytes, " bytes of weights"));
    }
    if (!FillWithRandom(shape, stop, values.back().get())) {
      return absl::CancelledError("stopped");
    }
  }
  const auto watch = [&stop](size_t) { return stop == nullptr || !stop(); };
  ColdWeights weights;
  size_t copies = 1;
  while (weights.copies_.size() < copies) {
    std::vector<Panels> copy;
    size_t bytes = 0;
    for (size_t i = 0; i < region.size(); ++i) {
      const auto& [type, n, k] = region[i];
      const void* const data = values[i].get();
      auto panels =
          type.blocks != nullptr
              ? Panels::Pack(*type.blocks, data, n, k, parallel, watch)
              : Panels::Pack(type.dtype, data, n, k, parallel, watch);
      if (!panels.ok()) return panels.status();
      bytes += panels->bytes();
      copy.push_back(*std::move(panels));
    }
    copies = std::max<size_t>(1, ColdBytes(model_bytes) / bytes);
    weights.copies_.push_back(std::move(copy));
  }
  return weights;
}

}  // namespace ulpscope
