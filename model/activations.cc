#include "model/activations.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/aligned_bytes.h"

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
  // FNV-1a on words, four at a time so that the products overlap.
  constexpr uint64_t kPrime = 0x100000001b3;
  uint64_t lanes[4] = {1, 2, 3, 4};
  const size_t count = rows_ * cols_;
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    uint64_t words[4];
    std::memcpy(words, data_ + i, sizeof(words));
    for (size_t l = 0; l < 4; ++l) lanes[l] = (lanes[l] ^ words[l]) * kPrime;
  }
  uint64_t hash = 0;
  for (; i < count; ++i) {
    uint64_t word;
    std::memcpy(&word, data_ + i, sizeof(word));
    hash = (hash ^ word) * kPrime;
  }
  // A word's low bits, often zero, only reach the hash's higher ones.
  for (const uint64_t lane : lanes) {
    hash = (hash ^ lane ^ (lane >> 32)) * kPrime;
  }
  return hash;
}

bool Rows::SameBits(const Rows& other) const {
  return rows_ == other.rows_ && cols_ == other.cols_ &&
         (data_ == other.data_ ||
          std::memcmp(data_, other.data_, rows_ * cols_ * sizeof(double)) == 0);
}

}  // namespace ulpscope
