#ifndef EXPLORER_DIAGNOSIS_ORIGIN_H_
#define EXPLORER_DIAGNOSIS_ORIGIN_H_

#include <cstddef>
#include <vector>

#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/points.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"

namespace ulpscope {

// What an op of the model computes its output from. A cache that stores keys
// and values as they are is no op of its own.
std::vector<Cell> InputsOf(const Cell& cell, const ModelConfig& config);

// Of a point of the trace: where what it does not share with a replay from the
// trace's values comes from.
Origin OriginOf(const Cell& point, const AlignedTrace& trace,
                const ModelConfig& config);

// Ops of the origin: the unseen ones, then the point itself.
bool IsWithin(const Cell& cell, const Origin& origin);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ORIGIN_H_
