#ifndef KERNELS_TUNE_AUTOTUNER_H_
#define KERNELS_TUNE_AUTOTUNER_H_

#include <cstddef>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {

// An n x k matrix of weights.
struct WeightsShape {
  DType dtype;
  size_t n, k;

  friend bool operator==(const WeightsShape& a, const WeightsShape& b) {
    return std::tie(a.dtype, a.n, a.k) == std::tie(b.dtype, b.n, b.k);
  }
  friend bool operator<(const WeightsShape& a, const WeightsShape& b) {
    return std::tie(a.dtype, a.n, a.k) < std::tie(b.dtype, b.n, b.k);
  }
};

// Random weights that a decoder multiplies by the same rows in one parallel
// region (q, k and v, say), in as many copies as keep them cold: when a copy's
// turn comes again, the caches have seen too much else to hold it, as between
// two tokens of a model. Values are held exactly by every strategy's operands.
class ColdWeights {
 public:
  // The region has a matrix, and all of them the same k. `model_bytes` are what
  // a decode step reads: there are no more copies than that, as a model that
  // fits into the caches is decoded from them. Otherwise the copies have 5/4 of
  // the bytes of the last-level cache, at least 256 MiB (which also holds where
  // the system does not tell its caches), but at most 1 GiB and an eighth of
  // the memory; and at least one copy, of which packing needs the memory twice.
  // ResourceExhausted if there is no memory for that one.
  static absl::StatusOr<ColdWeights> Make(absl::Span<const WeightsShape> region,
                                          size_t model_bytes,
                                          Parallel& parallel);

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

// What a tuning is tried in: a region's MatMuls at the places `tuned` take it,
// the others what the Parallel knows of them.
struct TuningRegion {
  ColdWeights* weights;
  std::vector<size_t> tuned;
};

// The values that are tried of each parameter that matters for an m x k times n
// x k MatMul on that many threads.
std::vector<TuningChoices> MatMulChoices(size_t m, size_t n, size_t k,
                                         size_t threads);

// Tunes the MatMuls of m rows that a decoder runs in these regions, for the
// time of one call of each, on all threads of `parallel`, which nothing else
// may use. There is a region, and all `tuned` are of one shape class. Results
// are checked at up to 256 places a matrix against f64 sums. Takes about
// `seconds`, and longer if a single parameter and the final comparison do.
// Errors are SearchTuning's.
absl::StatusOr<TuningResult> TuneMatMul(Strategy strategy, size_t m,
                                        absl::Span<const TuningRegion> regions,
                                        double seconds, Parallel& parallel);

}  // namespace ulpscope

#endif  // KERNELS_TUNE_AUTOTUNER_H_
