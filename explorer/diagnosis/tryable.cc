#include "explorer/diagnosis/tryable.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/dtype.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/checkpoint/rounded_tensors.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

// Runs of layers in which an op is tried in another format.
constexpr size_t kMostRanges = 3;

using LayersOfOp = std::map<Op, std::set<size_t>>;

// Ops that may be why a point is not explained.
LayersOfOp Suspects(const Weights& weights, const AlignedTrace& trace,
                    const Fit& fit) {
  const size_t last = weights.layers.size();
  std::set<size_t> traced_inside;  // layers of which the trace has more
  for (const Point& point : trace.points()) {
    if (IsPerLayer(point.op) && point.op != Op::kMlpResidual) {
      traced_inside.insert(point.layer);
    }
  }
  LayersOfOp suspects;
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const Point& point = trace.points()[i];
    const PointFit& of_point = fit.points[i];
    if (of_point.explained && (of_point.reproduced || !fit.bit_for_bit)) {
      continue;
    }
    // A state that is only seen after the final norm is of the last layer.
    const bool hides_last =
        point.op == Op::kFinalNorm && trace.Find(last, Op::kMlpResidual) < 0;
    const size_t layer = hides_last ? last : point.layer;
    if (point.op != Op::kMlpResidual || traced_inside.count(layer) > 0) {
      suspects[point.op].insert(point.layer);
    }
    if ((point.op != Op::kMlpResidual && !hides_last) ||
        traced_inside.count(layer) > 0) {
      continue;
    }
    // (What the KV cache stores is tried where the trace has it.)
    for (const Cell& cell : CellsOf(weights.config)) {
      if (cell.layer == layer && OpKernel(cell.op) != Kernel::kKvCache) {
        suspects[cell.op].insert(layer);
      }
    }
  }
  return suspects;
}

std::vector<OpRange> RangesOf(Op op, const std::set<size_t>& layers) {
  std::vector<OpRange> ranges;
  for (const size_t layer : layers) {
    if (!ranges.empty() && ranges.back().last_layer + 1 == layer) {
      ranges.back().last_layer = layer;
    } else if (ranges.size() < kMostRanges) {
      ranges.push_back({op, layer, layer});
    }
  }
  return ranges;
}

}  // namespace

std::vector<Hypothesis> Tryable(const Weights& weights,
                                const AlignedTrace& trace, const Belief& belief,
                                const Fit& fit) {
  std::vector<Hypothesis> tryable;
  std::set<std::string> accepted;
  for (const Hypothesis& h : belief.accepted) accepted.insert(h.id);
  for (Hypothesis& h : CatalogueFor(weights.config, belief.plan)) {
    if (accepted.count(h.id) > 0) continue;
    if (h.weights.has_value() && belief.weights().has_value()) continue;
    if (h.weights == WeightRounding::kBF16 &&
        weights.embed.view().dtype == DType::kBF16) {
      continue;  // as they are stored
    }
    tryable.push_back(std::move(h));
  }
  for (const auto& [op, layers] : Suspects(weights, trace, fit)) {
    for (const OpRange& range : RangesOf(op, layers)) {
      for (Hypothesis& h : OtherFormatsOf(belief.plan, range)) {
        if (accepted.count(h.id) == 0) tryable.push_back(std::move(h));
      }
    }
  }
  return tryable;
}

}  // namespace ulpscope
