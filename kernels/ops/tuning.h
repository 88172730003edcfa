#ifndef KERNELS_OPS_TUNING_H_
#define KERNELS_OPS_TUNING_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/stored_type.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// How MatMul divides its work. It changes the speed and never a bit of the
// result, so every value is allowed: what the kernel cannot do, it replaces by
// the nearest that it can. 0 is the kernel's default.
struct MatMulTuning {
  uint32_t tile_rows = 0;         // of a register tile, at most
  uint32_t block_steps = 0;       // k-steps whose widened panel stays in cache
  uint32_t block_rows = 0;        // about: rows whose operands stay in cache
  uint32_t group_panels = 0;      // panels of a task, at most
  uint32_t prefetch_steps = 0;    // how far ahead in k few rows fetch a panel
  uint32_t panels_in_flight = 0;  // panels that one row reads at once
  uint32_t threads = 0;           // at most; 0 is all

  friend bool operator==(const MatMulTuning& a, const MatMulTuning& b) {
    return a.Tie() == b.Tie();
  }

 private:
  std::tuple<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,
             uint32_t>
  Tie() const {
    return {tile_rows,      block_steps,      block_rows, group_panels,
            prefetch_steps, panels_in_flight, threads};
  }
};

// A field of MatMulTuning.
struct TuningParameter {
  const char* name;  // the field's, in wisdom files and tables
  uint32_t MatMulTuning::*field;
};

// All of them, in the order of the struct.
absl::Span<const TuningParameter> TuningParameters();

// "tile_rows=4 threads=1": what is not the default; "default" if all is.
std::string TuningText(const MatMulTuning& tuning);

// MatMuls that are tuned together: m, n and k rounded up to a power of two, of
// which m is at most 512 (further rows repeat the same blocks).
struct ShapeClass {
  uint32_t m = 0, n = 0, k = 0;

  static ShapeClass Of(size_t m, size_t n, size_t k);

  friend bool operator<(const ShapeClass& a, const ShapeClass& b) {
    return std::tie(a.m, a.n, a.k) < std::tie(b.m, b.n, b.k);
  }
  friend bool operator==(const ShapeClass& a, const ShapeClass& b) {
    return std::tie(a.m, a.n, a.k) == std::tie(b.m, b.n, b.k);
  }
};

// What is known to be fast on this machine with some number of threads. A
// Parallel carries it to the kernels.
class Tunings {
 public:
  // Raised when MatMul, or what is timed of it, changes so that older
  // measurements say nothing.
  static constexpr int kKernelVersion = 6;

  struct Key {
    Strategy strategy;
    DType activations =
        DType::kF32;  // kF32 or kF64: what A and C are stored in
    StoredType weights;
    ShapeClass shape;

    friend bool operator<(const Key& a, const Key& b) {
      return std::tie(a.strategy, a.activations, a.weights, a.shape) <
             std::tie(b.strategy, b.activations, b.weights, b.shape);
    }
  };

  // The defaults where nothing is known.
  MatMulTuning Find(const Key& key) const;
  void Set(const Key& key, const MatMulTuning& tuning) { known_[key] = tuning; }
  const std::map<Key, MatMulTuning>& known() const { return known_; }

 private:
  std::map<Key, MatMulTuning> known_;
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_TUNING_H_
