#include "model/lockstep/batch.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/variant.h"
#include "model/decoder/activations.h"

namespace ulpscope {
namespace {

// The rows of some tasks' inputs, one after the other.
class RowList {
 public:
  RowList(const std::vector<Task*>& tasks, size_t input)
      : cols_(tasks.front()->inputs[input].view().cols) {
    for (const Task* task : tasks) {
      const Matrix<double> view = task->inputs[input].view();
      for (size_t r = 0; r < view.rows; ++r) rows_.push_back(view.Row(r));
    }
  }

  // How many rows from `first` on, at most `count`, lie one after the other.
  size_t Contiguous(size_t first, size_t count) const {
    size_t r = 1;
    while (r < count && rows_[first + r] == rows_[first] + r * cols_) ++r;
    return r;
  }

  // Rows [first, first + count) as a matrix: where they lie, if that is one
  // after the other, or else a copy that lives until the next call.
  Matrix<const double> Gather(size_t first, size_t count, RowsPool& pool) {
    if (Contiguous(first, count) == count) return {rows_[first], count, cols_};
    if (copy_.rows() < count) copy_ = pool.Allocate(count, cols_);
    for (size_t r = 0; r < count; ++r) {
      std::memcpy(copy_.data() + r * cols_, rows_[first + r],
                  cols_ * sizeof(double));
    }
    return {copy_.data(), count, cols_};
  }

 private:
  size_t cols_;
  std::vector<const double*> rows_;
  Rows copy_;
};

// A piece ends where rows do not lie one after the other, rather than copy
// them, if it has so many by then.
constexpr size_t kPieceWithoutCopies = 256;

// Tasks under the same strategies and variant, in order.
std::vector<std::vector<Task*>> Batches(std::vector<Task>& tasks) {
  std::vector<std::vector<Task*>> batches;
  std::map<std::pair<std::vector<size_t>, const Variant*>, size_t> known;
  for (Task& task : tasks) {
    std::vector<size_t> strategies;
    for (const Strategy s : task.strategies) strategies.push_back(s.index());
    const size_t batch =
        known
            .emplace(std::make_pair(std::move(strategies), task.variant),
                     batches.size())
            .first->second;
    if (batch == batches.size()) batches.emplace_back();
    batches[batch].push_back(&task);
  }
  return batches;
}

}  // namespace

bool ComputeTasks(std::vector<Task>& tasks, const std::vector<size_t>& cols,
                  size_t piece_rows, RowsPool& pool,
                  absl::FunctionRef<bool()> stopped, PieceFn piece) {
  for (const std::vector<Task*>& batch : Batches(tasks)) {
    std::vector<RowList> inputs;
    for (size_t i = 0; i < batch.front()->inputs.size(); ++i) {
      inputs.emplace_back(batch, i);
    }
    std::vector<size_t> positions;
    for (const Task* task : batch) {
      for (size_t r = 0; r < task->inputs.front().rows(); ++r) {
        positions.push_back(r);
      }
    }
    const size_t rows = positions.size();
    // Of nearly equal size: a small last one would be slow.
    const size_t most = hwy::DivCeil(rows, hwy::DivCeil(rows, piece_rows));
    std::vector<Rows> blocks;
    for (const size_t c : cols) blocks.push_back(pool.Allocate(rows, c));
    for (size_t first = 0, count = 0; first < rows; first += count) {
      if (stopped()) return false;
      count = std::min(most, rows - first);
      size_t contiguous = count;
      for (const RowList& list : inputs) {
        contiguous = list.Contiguous(first, contiguous);
      }
      if (contiguous >= kPieceWithoutCopies) count = contiguous;
      std::vector<Matrix<const double>> in;
      for (RowList& list : inputs) {
        in.push_back(list.Gather(first, count, pool));
      }
      std::vector<Matrix<double>> out;
      for (const Rows& block : blocks) {
        out.push_back(block.Slice(first, count).view());
      }
      piece(batch.front()->strategies.front(), *batch.front()->variant,
            absl::MakeConstSpan(positions).subspan(first, count), in, out);
    }
    size_t row = 0;
    for (Task* task : batch) {
      const size_t count = task->inputs.front().rows();
      for (const Rows& block : blocks) {
        task->outputs.push_back(block.Slice(row, count));
      }
      row += count;
    }
  }
  return true;
}

void UniteEqualOutputs(std::vector<Task>& tasks, size_t index,
                       Parallel& parallel) {
  if (tasks.size() < 2) return;
  std::vector<uint64_t> hashes(tasks.size());
  parallel.For(tasks.size(),
               [&](size_t t) { hashes[t] = tasks[t].outputs[index].Hash(); });
  std::unordered_multimap<uint64_t, Rows> known;
  for (size_t t = 0; t < tasks.size(); ++t) {
    Rows& rows = tasks[t].outputs[index];
    const auto [begin, end] = known.equal_range(hashes[t]);
    const auto same = std::find_if(
        begin, end, [&](const std::pair<const uint64_t, Rows>& item) {
          return item.second.SameBits(rows);
        });
    if (same == end) {
      known.emplace(hashes[t], rows);
    } else {
      rows = same->second;
    }
  }
}

}  // namespace ulpscope
