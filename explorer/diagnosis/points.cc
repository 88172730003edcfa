#include "explorer/diagnosis/points.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// The finest format that any of them is stored in; f64 if that is none of
// these.
Format FormatStored(const std::vector<Point>& points) {
  Format finest = Format::kBF16;
  for (const Point& point : points) {
    const std::string& stored_as = point.tensor->stored_as;
    const Format format = stored_as == "BF16"  ? Format::kBF16
                          : stored_as == "F16" ? Format::kF16
                          : stored_as == "F32" ? Format::kF32
                                               : Format::kF64;
    if (UnitRoundoff(format) < UnitRoundoff(finest)) finest = format;
  }
  return finest;
}

}  // namespace

AlignedTrace::AlignedTrace(const TracedValues& values, size_t num_layers,
                           int state_shift, bool last_state_normed,
                           bool states_only, StatesAre states_are)
    : positions_(values.trace().tokens.size()) {
  const ReferenceTrace& trace = values.trace();
  if (!states_only) {
    for (const auto* tensors : {&trace.outputs, &trace.scores}) {
      for (const auto& [place, tensor] : *tensors) {
        const bool is_state = place.second == Op::kMlpResidual;
        Add(values, place.first, is_state ? OpOf(states_are) : place.second,
            tensor);
      }
    }
  }
  for (const auto& [index, tensor] : trace.states) {
    const int64_t layer = static_cast<int64_t>(index) + state_shift;
    if (layer < 0 || layer > static_cast<int64_t>(num_layers)) continue;
    if (layer == 0) {
      Add(values, 0, Op::kEmbed, tensor);
    } else if (last_state_normed && layer == static_cast<int64_t>(num_layers)) {
      Add(values, 0, Op::kFinalNorm, tensor);
    } else {
      Add(values, static_cast<size_t>(layer), OpOf(states_are), tensor);
    }
  }
  const auto order = [num_layers](const Point& point) {
    return OrderOf({point.layer, point.op}, num_layers);
  };
  absl::c_sort(points_, [&](const Point& a, const Point& b) {
    return order(a) < order(b);
  });
  bool nonfinite_before = false;
  for (size_t i = 0; i < points_.size(); ++i) {
    Point& point = points_[i];
    index_[{point.layer, point.op}] = i;
    point.judged = point.nonfinite == 0 || !nonfinite_before;
    nonfinite_before = nonfinite_before || point.nonfinite > 0;
  }
  for (Point& point : points_) point.has_inputs = HasInputs(point, num_layers);
  for (const Format format : {Format::kF32, Format::kF16, Format::kBF16}) {
    if (ShareHeld(format) >= kMostPoints) format_ = format;
  }
  const bool any_tells = absl::c_any_of(
      points_, [](const Point& point) { return point.tells_format(); });
  const bool any_finite = absl::c_any_of(points_, [](const Point& point) {
    return point.op != Op::kEmbed && point.any_finite;
  });
  if (!any_tells && !any_finite && !points_.empty()) {
    format_ = FormatStored(points_);
  }
}

Op AlignedTrace::OpOf(StatesAre states_are) {
  switch (states_are) {
    case StatesAre::kStream:
      break;
    case StatesAre::kMlpOutput:
      return Op::kDownProj;
    case StatesAre::kAttnResidual:
      return Op::kAttnResidual;
  }
  return Op::kMlpResidual;
}

void AlignedTrace::Add(const TracedValues& values, size_t layer, Op op,
                       const TracedTensor& tensor) {
  if (!index_.emplace(std::make_pair(layer, op), points_.size()).second) return;
  Point& point = points_.emplace_back(Point{values.Of(tensor)});
  point.layer = layer;
  point.op = op;
  point.tensor = &tensor;
}

bool AlignedTrace::HasInputs(const Point& point, size_t num_layers) const {
  const auto has = [this](size_t layer, Op op) {
    return Get(layer, op).rows() > 0;
  };
  const size_t layer = point.layer;
  const auto has_stream = [&](size_t before) {
    return before == 0 ? has(0, Op::kEmbed) : has(before, Op::kMlpResidual);
  };
  switch (point.op) {
    // Nothing is computed.
    case Op::kEmbed:
      return false;
    case Op::kInputNorm:
      return has_stream(layer - 1);
    case Op::kQProj:
    case Op::kKProj:
    case Op::kVProj:
      return has(layer, Op::kInputNorm);
    case Op::kQNorm:
      return has(layer, Op::kQProj);
    case Op::kKNorm:
      return has(layer, Op::kKProj);
    case Op::kRope:
      return (has(layer, Op::kQNorm) || has(layer, Op::kQProj)) &&
             (has(layer, Op::kKNorm) || has(layer, Op::kKProj));
    case Op::kKvK:
      return has(layer, Op::kRope);
    case Op::kKvV:
      return has(layer, Op::kVProj);
    case Op::kQk:
      return has(layer, Op::kRope);
    // A replay's scores are its own.
    case Op::kSoftmax:
    case Op::kAv:
      return false;
    case Op::kOProj:
      return has(layer, Op::kAv);
    case Op::kAttnResidual:
      return has_stream(layer - 1) && has(layer, Op::kOProj);
    case Op::kPostNorm:
      return has(layer, Op::kAttnResidual);
    case Op::kGateProj:
    case Op::kUpProj:
      return has(layer, Op::kPostNorm);
    case Op::kSwiGlu:
      return has(layer, Op::kGateProj) && has(layer, Op::kUpProj);
    case Op::kDownProj:
      return has(layer, Op::kSwiGlu);
    case Op::kMlpResidual:
      return has(layer, Op::kAttnResidual) && has(layer, Op::kDownProj);
    case Op::kFinalNorm:
      return has_stream(num_layers);
    case Op::kLmHead:
      return has(0, Op::kFinalNorm);
  }
  return false;
}

double AlignedTrace::ShareHeld(Format format) const {
  const bool logits_alone = absl::c_none_of(points_, [](const Point& point) {
    return point.tells_format() && point.op != Op::kLmHead;
  });
  size_t held = 0, all = 0;
  for (const Point& point : points_) {
    if (!point.tells_format()) continue;
    if (point.op == Op::kLmHead && !logits_alone) continue;
    ++all;
    if (Holds(format, point.held_by)) ++held;
  }
  return all == 0 ? 1 : static_cast<double>(held) / static_cast<double>(all);
}

int AlignedTrace::Find(size_t layer, Op op) const {
  const auto found = index_.find({layer, op});
  return found == index_.end() ? -1 : static_cast<int>(found->second);
}

Rows AlignedTrace::Get(size_t layer, Op op) const {
  const int at = IsScores(op) ? -1 : Find(layer, op);
  if (at < 0) return Rows();
  const TracedTensor& tensor = *points_[static_cast<size_t>(at)].tensor;
  if (tensor.first_position > 0 || tensor.rows.rows() != positions_) {
    return Rows();
  }
  return tensor.rows;
}

Rows PerturbedTrace::Get(size_t layer, Op op) const {
  const Rows rows = trace_.Get(layer, op);
  if (rows.rows() == 0) return rows;
  const Matrix<double> from = rows.view();
  Rows perturbed = Rows::Allocate(from.rows, from.cols);
  Random random(layer * kNumOps + static_cast<size_t>(op));
  for (size_t r = 0; r < from.rows; ++r) {
    for (size_t c = 0; c < from.cols; ++c) {
      const double x = from.Row(r)[c];
      // Half a spacing is unit * 2^e for 2^e <= |x| < 2^(e + 1).
      const double half_spacing =
          std::isfinite(x) && x != 0 ? std::ldexp(unit_roundoff_, std::ilogb(x))
                                     : 0;
      perturbed.view().Row(r)[c] =
          x + (2 * random.Uniform() - 1) * half_spacing;
    }
  }
  return perturbed;
}

}  // namespace ulpscope
