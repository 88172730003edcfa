#ifndef MODEL_DECODER_ACTIVATIONS_H_
#define MODEL_DECODER_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/matrix.h"

namespace ulpscope {

class RowsPool;

// The rows of one output of an op, of all positions of a stream: part of a
// block that the outputs of a batch share, freed with the last of them. Whoever
// computed it fills it once; equal pointers mean the same output.
class Rows {
 public:
  Rows() = default;

  // A block of `rows` rows, not initialized, aligned for vectors.
  static Rows Allocate(size_t rows, size_t cols);

  // Part of it.
  Rows Slice(size_t first, size_t rows) const;

  double* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t bytes() const { return rows_ * cols_ * sizeof(double); }
  Matrix<double> view() const { return {data_, rows_, cols_}; }

  // Of the bits, for finding equal ones.
  uint64_t Hash() const;
  bool SameBits(const Rows& other) const;

 private:
  friend class RowsPool;

  std::shared_ptr<void> block_;
  double* data_ = nullptr;
  size_t rows_ = 0;
  size_t cols_ = 0;
};

// Gives out blocks as Rows::Allocate does, and keeps those that are freed for
// the next of their size: zeroing new pages took the kernel a fifth of a
// pass over 28 streams of 512 tokens. Something is kept only while it and what
// is in use are together at most three quarters of the most that was in use at
// once: other memory, such as that of keys and values, has the rest. Blocks may
// outlive it, and be freed by any thread; it is used by one.
class RowsPool {
 public:
  RowsPool();

  Rows Allocate(size_t rows, size_t cols);

  // Frees what is kept.
  void Trim();

  // Bytes of freed blocks that it keeps.
  size_t kept_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ulpscope

#endif  // MODEL_DECODER_ACTIVATIONS_H_
