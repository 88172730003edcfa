#include "model/decoder/activations.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/base/aligned_bytes.h"

namespace ulpscope {

Rows Rows::Allocate(size_t rows, size_t cols) {
  Rows block;
  AlignedBytes bytes = AllocateAlignedBytes(rows * cols * sizeof(double));
  block.data_ = reinterpret_cast<double*>(bytes.get());
  block.block_ = std::shared_ptr<unsigned char[]>(std::move(bytes));
  block.rows_ = rows;
  block.cols_ = cols;
  return block;
}

Rows Rows::Slice(size_t first, size_t rows) const {
  Rows slice = *this;
  slice.data_ += first * cols_;
  slice.rows_ = rows;
  return slice;
}

uint64_t Rows::Hash() const {
  // Multiplication spreads bits upwards, the rotation brings them down again;
  // four chains at a time, so that the products overlap.
  const auto mix = [](uint64_t hash, uint64_t word) {
    hash ^= word;
    return ((hash << 32) | (hash >> 32)) * 0x9E3779B97F4A7C15;
  };
  uint64_t lanes[4] = {1, 2, 3, 4};
  const size_t count = rows_ * cols_;
  for (size_t i = 0; i < count; ++i) {
    uint64_t word;
    std::memcpy(&word, data_ + i, sizeof(word));
    lanes[i % 4] = mix(lanes[i % 4], word);
  }
  uint64_t hash = count;
  for (const uint64_t lane : lanes) hash = mix(hash, lane);
  return hash ^ (hash >> 32);
}

bool Rows::SameBits(const Rows& other) const {
  return rows_ == other.rows_ && cols_ == other.cols_ &&
         (data_ == other.data_ ||
          std::memcmp(data_, other.data_, rows_ * cols_ * sizeof(double)) == 0);
}

}  // namespace ulpscope
