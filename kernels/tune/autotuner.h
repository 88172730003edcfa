#ifndef KERNELS_TUNE_AUTOTUNER_H_
#define KERNELS_TUNE_AUTOTUNER_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul_work.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/cold_weights.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {

// What a tuning is tried in: a region's MatMuls at the places `tuned` take it,
// the others what the Parallel knows of them.
struct TuningRegion {
  ColdWeights* weights;
  std::vector<size_t> tuned;
};

// The values that are tried of each parameter that matters for MatMuls of m
// rows against such weights on that many threads, which run so by default in
// the regions in which they occur.
std::vector<TuningChoices> MatMulChoices(absl::Span<const MatMulWork> works,
                                         size_t m, const WeightsShape& b,
                                         size_t threads);

// Tunes the MatMuls of m rows that a decoder runs in these regions, for the
// time of one call of each, on all threads of `parallel`, which nothing else
// may use. There is a region, and all `tuned` are of one shape class. Results
// are checked at up to 256 places a matrix against f64 sums. Takes about
// `seconds`, and longer if a single parameter and the final comparison do.
// Errors are SearchTuning's, and InvalidArgument for an emulated strategy,
// whose time here says nothing. `stop`, which may be null, is asked between
// calls.
absl::StatusOr<TuningResult> TuneMatMul(
    Strategy strategy, size_t m, absl::Span<const TuningRegion> regions,
    double seconds, Parallel& parallel,
    const std::function<bool()>& stop = nullptr);

}  // namespace ulpscope

#endif  // KERNELS_TUNE_AUTOTUNER_H_
