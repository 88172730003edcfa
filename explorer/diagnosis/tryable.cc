#include "explorer/diagnosis/tryable.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/evidence.h"
#include "explorer/diagnosis/evident_hypotheses.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/dtype.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
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

// Layers that are not explained, if others are.
std::set<size_t> SomeLayers(size_t last, const AlignedTrace& trace,
                            const Fit& fit) {
  const bool hides_last = trace.Find(last, Op::kMlpResidual) < 0;
  std::set<size_t> layers, others;
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const Point& point = trace.points()[i];
    // A state that is only seen after the final norm is of the last layer.
    const bool is_last = hides_last && point.op == Op::kFinalNorm;
    if (!IsPerLayer(point.op) && !is_last) continue;
    const size_t layer = is_last ? last : point.layer;
    others.insert(layer);
    if (!fit.points[i].explained) layers.insert(layer);
  }
  if (layers.size() == others.size()) layers.clear();
  return layers;
}

// Whether it changes one of these ops, in one of these layers.
bool Changes(const Hypothesis& hypothesis, const LayersOfOp& suspects,
             const OpRange& range) {
  Variant variant;
  hypothesis.variant(variant);
  for (const auto& [op, layers] : suspects) {
    const bool in_range = absl::c_any_of(layers, [&range](size_t layer) {
      return range.first_layer <= layer && layer <= range.last_layer;
    });
    if (IsPerLayer(op) && in_range && variant.PartOf(op) != Variant()) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<Hypothesis> Tryable(const Weights& weights,
                                const AlignedTrace& trace, const Belief& belief,
                                const Fit& fit, const Evidence& evidence) {
  const bool differs = fit.explained < fit.points.size() ||
                       (fit.bit_for_bit && fit.reproduced < fit.points.size());
  std::vector<Hypothesis> tryable;
  std::set<std::string> accepted;
  for (const Hypothesis& h : belief.accepted) accepted.insert(h.id);
  for (Hypothesis& h : CatalogueFor(weights.config, belief.plan)) {
    if (accepted.count(h.id) > 0) continue;
    if (h.if_something_differs && !differs) continue;
    if (!h.told_by.empty() &&
        absl::c_none_of(trace.points(), [&h](const Point& point) {
          return h.told_by.count(point.op) > 0;
        })) {
      continue;
    }
    if (h.weights.has_value() && belief.weights().has_value()) continue;
    if (h.weights == WeightRounding::kBF16 &&
        weights.embed.view().dtype == DType::kBF16) {
      continue;  // as they are stored
    }
    tryable.push_back(std::move(h));
  }
  for (Hypothesis& h :
       EvidentHypotheses(weights.config, trace, belief, evidence)) {
    if (accepted.count(h.id) == 0) tryable.push_back(std::move(h));
  }
  const LayersOfOp suspects = Suspects(weights, trace, fit);
  const size_t everywhere = tryable.size();
  const auto ranges =
      RangesOf(Op::kMlpResidual, SomeLayers(weights.layers.size(), trace, fit));
  // Of the first run of layers: the others come when it is explained.
  for (size_t i = 0; i < everywhere && !ranges.empty(); ++i) {
    const OpRange& range = ranges.front();
    if (!tryable[i].variant || !Changes(tryable[i], suspects, range)) continue;
    Hypothesis h = InLayers(tryable[i], range.first_layer, range.last_layer);
    if (accepted.count(h.id) == 0) tryable.push_back(std::move(h));
  }
  for (const auto& [op, layers] : suspects) {
    for (const OpRange& range : RangesOf(op, layers)) {
      for (Hypothesis& h : OtherFormatsOf(belief.plan, range)) {
        if (accepted.count(h.id) == 0) tryable.push_back(std::move(h));
      }
    }
  }
  return tryable;
}

}  // namespace ulpscope
