#ifndef KERNELS_TUNE_AUTOTUNER_H_
#define KERNELS_TUNE_AUTOTUNER_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {

// Random n x k weights, in as many copies as keep them cold: when a copy's turn
// comes again, the caches have seen too much else to hold it, as between two
// tokens of a model. Values are held exactly by every strategy's operands.
class ColdWeights {
 public:
  // `model_bytes` are what a decode step reads: there are no more copies than
  // that, as a model that fits into the caches is decoded from them. Otherwise
  // the copies have 5/4 of the bytes of the last-level cache, at least 256 MiB
  // (which also holds where the system does not tell its caches), but at most 1
  // GiB and an eighth of the memory; and at least one copy, of which packing
  // needs the memory twice.
  ColdWeights(DType dtype, size_t n, size_t k, size_t model_bytes,
              Parallel& parallel);

  const Panels& Next() {
    turn_ = (turn_ + 1) % copies_.size();
    return copies_[turn_];
  }
  // Copies are alike.
  const Panels& any() const { return copies_.front(); }
  size_t num_copies() const { return copies_.size(); }

 private:
  std::vector<Panels> copies_;
  size_t turn_ = 0;
};

// The values that are tried of each parameter that matters for an m x k times n
// x k MatMul on that many threads.
std::vector<TuningChoices> MatMulChoices(size_t m, size_t n, size_t k,
                                         size_t threads);

// Tunes C = A B^T, A m x k, on all threads of `parallel`, which nothing else
// may use. Results are checked at up to 256
// places against f64 sums. Takes about `seconds`, and longer if a single
// parameter and the final comparison do. Errors are
// SearchTuning's.
absl::StatusOr<TuningResult> TuneMatMul(Strategy strategy, size_t m,
                                        ColdWeights& weights, double seconds,
                                        Parallel& parallel);

}  // namespace ulpscope

#endif  // KERNELS_TUNE_AUTOTUNER_H_
