#include "model/architecture/cell.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {

std::pair<size_t, Op> OrderOf(const Cell& cell, size_t num_layers) {
  return {IsPerLayer(cell.op)     ? cell.layer
          : cell.op == Op::kEmbed ? 0
                                  : num_layers + 1,
          cell.op};
}

std::vector<Cell> CellsOf(const ModelConfig& config) {
  std::vector<Cell> cells = {{0, Op::kEmbed}};
  const auto num_layers = static_cast<size_t>(config.num_hidden_layers);
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      const bool is_head_norm = op == Op::kQNorm || op == Op::kKNorm;
      if (!IsPerLayer(op) || (is_head_norm && !config.qk_norm)) continue;
      cells.push_back({layer, op});
    }
  }
  cells.push_back({0, Op::kFinalNorm});
  cells.push_back({0, Op::kLmHead});
  return cells;
}

}  // namespace ulpscope
