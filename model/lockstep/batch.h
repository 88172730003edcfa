#ifndef MODEL_LOCKSTEP_BATCH_H_
#define MODEL_LOCKSTEP_BATCH_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/variant.h"
#include "model/decoder/activations.h"

namespace ulpscope {

// What an op computes once, for all streams that have the same strategies,
// variant and inputs. Inputs and outputs have a row per position.
struct Task {
  std::vector<Strategy> strategies;
  const Variant* variant = nullptr;  // one address for equal ones
  AttentionForm attention;           // of attention's ops
  std::vector<Rows> inputs;
  std::vector<size_t> streams;  // ascending
  std::vector<Rows> outputs;
};

// Computes a piece of a batch: rows of all inputs and outputs, at these
// positions of their streams, under the (first) strategy and the variant of its
// tasks.
using PieceFn = absl::FunctionRef<void(
    Strategy, const Variant&, absl::Span<const size_t> positions,
    const std::vector<Matrix<const double>>& inputs,
    const std::vector<Matrix<double>>& outputs)>;

// Fills the tasks' outputs, of `cols` columns each, in blocks of the pool.
// Tasks under the same strategies and variant are one batch, which is computed
// `piece_rows` rows at a time. Before each piece `stopped` is asked; if it says
// so, this returns false, and the tasks are of no use.
bool ComputeTasks(std::vector<Task>& tasks, const std::vector<size_t>& cols,
                  size_t piece_rows, RowsPool& pool,
                  absl::FunctionRef<bool()> stopped, PieceFn piece);

// Of outputs `index` with the same bits, all become the first task's.
void UniteEqualOutputs(std::vector<Task>& tasks, size_t index,
                       Parallel& parallel);

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_BATCH_H_
