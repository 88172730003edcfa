#include "explorer/diagnosis/origin.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/points.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

bool IsCache(Op op) { return op == Op::kKvK || op == Op::kKvV; }

// Of ops in no layer: the last one's, behind which they are.
size_t LayerOf(const Cell& cell, const ModelConfig& config) {
  const auto num_layers = static_cast<size_t>(config.num_hidden_layers);
  return std::min(OrderOf(cell, num_layers).first, num_layers);
}

}  // namespace

std::vector<Cell> InputsOf(const Cell& cell, const ModelConfig& config) {
  const size_t layer = cell.layer;
  const auto stream = [](size_t after) {
    return after == 0 ? Cell{0, Op::kEmbed} : Cell{after, Op::kMlpResidual};
  };
  switch (cell.op) {
    case Op::kEmbed:
      return {};
    case Op::kInputNorm:
      return {stream(layer - 1)};
    case Op::kQProj:
    case Op::kKProj:
    case Op::kVProj:
      return {{layer, Op::kInputNorm}};
    case Op::kQNorm:
      return {{layer, Op::kQProj}};
    case Op::kKNorm:
      return {{layer, Op::kKProj}};
    case Op::kRope:
      if (config.qk_norm) return {{layer, Op::kQNorm}, {layer, Op::kKNorm}};
      return {{layer, Op::kQProj}, {layer, Op::kKProj}};
    case Op::kKvK:
      return {{layer, Op::kRope}};
    case Op::kKvV:
      return {{layer, Op::kVProj}};
    case Op::kQk:
      return {{layer, Op::kRope}};
    case Op::kSoftmax:
      return {{layer, Op::kQk}};
    case Op::kAv:
      return {{layer, Op::kSoftmax}, {layer, Op::kVProj}};
    case Op::kOProj:
      return {{layer, Op::kAv}};
    case Op::kAttnResidual:
      return {stream(layer - 1), {layer, Op::kOProj}};
    case Op::kPostNorm:
      return {{layer, Op::kAttnResidual}};
    case Op::kGateProj:
    case Op::kUpProj:
      return {{layer, Op::kPostNorm}};
    case Op::kSwiGlu:
      return {{layer, Op::kGateProj}, {layer, Op::kUpProj}};
    case Op::kDownProj:
      return {{layer, Op::kSwiGlu}};
    case Op::kMlpResidual:
      return {{layer, Op::kAttnResidual}, {layer, Op::kDownProj}};
    case Op::kFinalNorm:
      return {stream(static_cast<size_t>(config.num_hidden_layers))};
    case Op::kLmHead:
      return {{0, Op::kFinalNorm}};
  }
  return {};
}

Origin OriginOf(const Cell& point, const AlignedTrace& trace,
                const ModelConfig& config) {
  const auto num_layers = static_cast<size_t>(config.num_hidden_layers);
  Origin origin;
  origin.layer = point.layer;
  origin.op = point.op;
  std::set<std::pair<size_t, Op>> unseen;  // as they run
  std::vector<Cell> left = InputsOf(point, config);
  while (!left.empty()) {
    const Cell cell = left.back();
    left.pop_back();
    // The embedding is a table's rows, whether or not it is traced.
    if (cell.op == Op::kEmbed || trace.Find(cell.layer, cell.op) >= 0) continue;
    if (!unseen.insert(OrderOf(cell, num_layers)).second) continue;
    const std::vector<Cell> inputs = InputsOf(cell, config);
    left.insert(left.end(), inputs.begin(), inputs.end());
  }
  origin.first_layer = origin.last_layer = LayerOf(point, config);
  if (unseen.empty()) return origin;
  origin.first_layer = unseen.begin()->first;
  for (const auto& [layer, op] : unseen) {
    if (std::find(origin.unseen.begin(), origin.unseen.end(), op) ==
        origin.unseen.end()) {
      origin.unseen.push_back(op);
    }
  }
  std::sort(origin.unseen.begin(), origin.unseen.end());
  // Every op from the first layer's begin to the last one's end but the point.
  size_t all = 0;
  for (const Cell& cell : CellsOf(config)) {
    if (!IsPerLayer(cell.op) || IsCache(cell.op)) continue;
    const size_t layer = LayerOf(cell, config);
    if (layer >= origin.first_layer && layer <= origin.last_layer) ++all;
  }
  const size_t seen = static_cast<size_t>(
      std::count_if(unseen.begin(), unseen.end(),
                    [](const auto& cell) { return IsPerLayer(cell.second); }));
  origin.whole_layers = seen + (point.op == Op::kMlpResidual ? 1 : 0) == all;
  origin.whole_model = origin.whole_layers && origin.first_layer == 1 &&
                       origin.last_layer == num_layers && !IsPerLayer(point.op);
  return origin;
}

bool IsWithin(const Cell& cell, const Origin& origin) {
  if (cell.layer == origin.layer && cell.op == origin.op) return true;
  const bool in_layers =
      !IsPerLayer(cell.op) ||
      (cell.layer >= origin.first_layer && cell.layer <= origin.last_layer);
  return in_layers && std::find(origin.unseen.begin(), origin.unseen.end(),
                                cell.op) != origin.unseen.end();
}

}  // namespace ulpscope
