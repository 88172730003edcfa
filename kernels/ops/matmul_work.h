#ifndef KERNELS_OPS_MATMUL_WORK_H_
#define KERNELS_OPS_MATMUL_WORK_H_

#include <cstddef>
#include <tuple>

#include "absl/types/span.h"
#include "kernels/ops/matmul_args.h"
#include "kernels/ops/matmul_division.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// How one of several MatMuls of one A runs: what comes of its tuning, and which
// parameters can make a difference. Tunings of the same work are the same.
struct MatMulWork {
  // Whether tiles read A's rows interleaved, and panels are widened once for
  // all of them. Else B is read as it is stored, by a few rows at a time, and
  // fetched that far ahead; 0 steps are a number of bytes that suits blocks.
  bool packed = false;
  MatMulDivision division;  // of a few rows: `group_panels` panels at once
  size_t prefetch_steps = 0;
  size_t threads = 0;  // at most

  // What the parameters of the same name can be at most; 1 where there is but
  // one way.
  size_t most_panels_in_flight = 1;
  size_t most_tile_rows = 1;
  bool has_blocks_of_k = false;  // whether block_steps counts

  friend bool operator==(const MatMulWork& a, const MatMulWork& b) {
    return a.Tie() == b.Tie();
  }

 private:
  std::tuple<bool, size_t, size_t, size_t, size_t, size_t, size_t> Tie() const {
    return {packed,
            division.steps,
            division.row_blocks,
            division.group_panels,
            division.tile_rows,
            prefetch_steps,
            threads};
  }
};

// Of all[i], with this tuning and so many threads. Neither its A, B and C nor
// the tunings of `all` are read.
MatMulWork WorkOf(Strategy strategy, absl::Span<const MatMulArgs> all, size_t i,
                  const MatMulTuning& tuning, size_t threads);

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_WORK_H_
