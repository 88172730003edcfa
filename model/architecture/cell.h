#ifndef MODEL_ARCHITECTURE_CELL_H_
#define MODEL_ARCHITECTURE_CELL_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Where a plan's strategy can be changed alone. Layer 0 for ops in no layer.
struct Cell {
  size_t layer = 0;
  Op op = Op::kEmbed;
};

// Sorts cells as they run: by layer, the head's ops behind the last one.
std::pair<size_t, Op> OrderOf(const Cell& cell, size_t num_layers);

// Every cell that the model computes, in the order in which they run.
std::vector<Cell> CellsOf(const ModelConfig& config);

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_CELL_H_
