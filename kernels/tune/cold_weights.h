#ifndef KERNELS_TUNE_COLD_WEIGHTS_H_
#define KERNELS_TUNE_COLD_WEIGHTS_H_

#include <cstddef>
#include <functional>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/stored_type.h"

namespace ulpscope {

// An n x k matrix of weights.
struct WeightsShape {
  StoredType type;
  size_t n, k;

  friend bool operator==(const WeightsShape& a, const WeightsShape& b) {
    return std::tie(a.type, a.n, a.k) == std::tie(b.type, b.n, b.k);
  }
  friend bool operator<(const WeightsShape& a, const WeightsShape& b) {
    return std::tie(a.type, a.n, a.k) < std::tie(b.type, b.n, b.k);
  }
};

// A random number in about [-scale, scale], of f16 and of bf16, so that every
// operand format holds it.
float RandomOperand(Random& random, double scale);

// Random weights that a decoder multiplies by the same rows in one parallel
// region (q, k and v, say), in as many copies as keep them cold: when a copy's
// turn comes again, the caches have seen too much else to hold it, as between
// two tokens of a model. Elements are RandomOperand's; blocks are random ones
// whose values are moderate, the largest from 2^-7 to 2.
class ColdWeights {
 public:
  // The region has a matrix, and all of them the same k, of blocks a multiple
  // of theirs. `model_bytes` are what a decode step reads: there are no more
  // copies than that, as a model that fits into the caches is decoded from
  // them. Otherwise the copies have 5/4 of the bytes of the last-level cache,
  // at least 256 MiB (which also holds where the system does not tell its
  // caches), but at most 1 GiB and an eighth of the memory; and at least one
  // copy, of which packing needs the memory twice. ResourceExhausted if there
  // is no memory for that one; Cancelled once `stop`, which may be null, is
  // true.
  static absl::StatusOr<ColdWeights> Make(
      absl::Span<const WeightsShape> region, size_t model_bytes,
      Parallel& parallel, const std::function<bool()>& stop = nullptr);

  const std::vector<Panels>& Next() {
    turn_ = (turn_ + 1) % copies_.size();
    return copies_[turn_];
  }
  // Copies are alike.
  const std::vector<Panels>& any() const { return copies_.front(); }
  size_t num_copies() const { return copies_.size(); }

 private:
  std::vector<std::vector<Panels>> copies_;
  size_t turn_ = 0;
};

}  // namespace ulpscope

#endif  // KERNELS_TUNE_COLD_WEIGHTS_H_
