#include "model/decoder/activations.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

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

struct RowsPool::State {
  struct Block {
    AlignedBytes bytes;
    size_t size;
  };

  std::mutex mutex;
  std::vector<Block> kept;  // the oldest first
  size_t kept_bytes = 0, used_bytes = 0, most_used_bytes = 0;

  // A kept block of that size, the newest, or else the smallest that is at most
  // an eighth larger, as where more streams run in every layer; null if there
  // is none. Larger ones would waste memory that the caller counts on.
  Block Take(size_t bytes) {
    auto best = kept.end();
    for (auto it = kept.begin(); it != kept.end(); ++it) {
      if (it->size < bytes || it->size - bytes > bytes / 8) continue;
      if (best == kept.end() || it->size <= best->size) best = it;
    }
    if (best == kept.end()) return {nullptr, 0};
    Block block = std::move(*best);
    kept.erase(best);
    kept_bytes -= block.size;
    return block;
  }

  void Use(size_t bytes) {
    used_bytes += bytes;
    most_used_bytes = std::max(most_used_bytes, used_bytes);
    while (!kept.empty() &&
           used_bytes + kept_bytes > most_used_bytes - most_used_bytes / 4) {
      kept_bytes -= kept.front().size;
      kept.erase(kept.begin());
    }
  }
};

RowsPool::RowsPool() : state_(std::make_shared<State>()) {}

void RowsPool::Trim() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->kept.clear();
  state_->kept_bytes = 0;
}

size_t RowsPool::kept_bytes() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->kept_bytes;
}

Rows RowsPool::Allocate(size_t rows, size_t cols) {
  const size_t bytes = rows * cols * sizeof(double);
  State::Block block;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    block = state_->Take(bytes);
    // What is to go goes before there is more.
    state_->Use(block.bytes == nullptr ? bytes : block.size);
  }
  if (block.bytes == nullptr) {
    block = {TryAllocateAlignedBytes(bytes), bytes};
    if (block.bytes == nullptr) {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      state_->used_bytes -= bytes;
      throw std::bad_alloc();
    }
  }
  Rows result;
  result.data_ = reinterpret_cast<double*>(block.bytes.get());
  result.rows_ = rows;
  result.cols_ = cols;
  result.block_ = std::shared_ptr<void>(
      block.bytes.release(), [state = state_, size = block.size](void* data) {
        State::Block freed = {AlignedBytes(static_cast<unsigned char*>(data)),
                              size};
        const std::lock_guard<std::mutex> lock(state->mutex);
        state->kept.push_back(std::move(freed));
        state->kept_bytes += size;
        state->used_bytes -= size;
        state->Use(0);
      });
  return result;
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
