#include "explorer/diagnosis/points.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

#include "explorer/diagnosis/results.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Whether `x` is a multiple of the spacing that a format with so many bits of
// precision and this smallest spacing has at it, and not too large for it.
bool Holds(double x, int precision, int least_exponent, double largest) {
  if (x == 0) return true;
  if (std::fabs(x) > largest) return false;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int spacing = std::max(exponent - precision, least_exponent);
  const double multiple = std::ldexp(x, -spacing);
  return multiple == std::trunc(multiple);
}

bool HoldsBF16(double x) { return Holds(x, 8, -133, 0x1.FEp127); }
bool HoldsF16(double x) { return Holds(x, 11, -24, 65504); }
bool HoldsF32(double x) {
  return static_cast<double>(static_cast<float>(x)) == x;
}

// kStandsOut. Scores and probabilities have no scale of their own.
double StandsOutFrom(Op op, const double* row, size_t n) {
  std::vector<double> magnitudes;
  for (size_t i = 0; i < n; ++i) {
    if (std::isfinite(row[i])) magnitudes.push_back(std::fabs(row[i]));
  }
  if (IsScores(op) || magnitudes.empty()) {
    return std::numeric_limits<double>::infinity();
  }
  const auto middle =
      magnitudes.begin() + static_cast<ptrdiff_t>(magnitudes.size() / 2);
  std::nth_element(magnitudes.begin(), middle, magnitudes.end());
  return *middle > 0 ? kStandsOut * *middle
                     : std::numeric_limits<double>::infinity();
}

}  // namespace

HeldBy FormatHolding(Matrix<const double> rows) {
  bool bf16 = true, f16 = true;
  for (size_t r = 0; r < rows.rows; ++r) {
    const double* const row = rows.Row(r);
    for (size_t c = 0; c < rows.cols; ++c) {
      const double x = row[c];
      if (!std::isfinite(x)) continue;
      if (!HoldsF32(x)) return HeldBy::kF64;
      bf16 = bf16 && HoldsBF16(x);
      f16 = f16 && HoldsF16(x);
    }
  }
  return bf16 && f16 ? HeldBy::kBF16AndF16
         : bf16      ? HeldBy::kBF16
         : f16       ? HeldBy::kF16
                     : HeldBy::kF32;
}

double UnitRoundoffOf(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kBF16AndF16:
    case HeldBy::kBF16:
      return 0x1p-8;
    case HeldBy::kF16:
      return 0x1p-11;
    case HeldBy::kF32:
      return 0x1p-24;
    case HeldBy::kF64:
      return 0x1p-53;
  }
  return 0;
}

bool Holds(Format format, HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kBF16AndF16:
      return true;
    case HeldBy::kBF16:
      return format != Format::kF16;
    case HeldBy::kF16:
      return format != Format::kBF16;
    case HeldBy::kF32:
      return format == Format::kF32 || format == Format::kF64;
    case HeldBy::kF64:
      return format == Format::kF64;
  }
  return false;
}

AlignedTrace::AlignedTrace(const ReferenceTrace& trace, size_t num_layers,
                           int state_shift, bool last_state_normed)
    : positions_(trace.tokens.size()) {
  for (const auto& [place, tensor] : trace.outputs) {
    Add(place.first, place.second, tensor);
  }
  for (const auto& [place, tensor] : trace.scores) {
    Add(place.first, place.second, tensor);
  }
  for (const auto& [index, tensor] : trace.states) {
    const int64_t layer = static_cast<int64_t>(index) + state_shift;
    if (layer < 0 || layer > static_cast<int64_t>(num_layers)) continue;
    if (layer == 0) {
      Add(0, Op::kEmbed, tensor);
    } else if (last_state_normed && layer == static_cast<int64_t>(num_layers)) {
      Add(0, Op::kFinalNorm, tensor);
    } else {
      Add(static_cast<size_t>(layer), Op::kMlpResidual, tensor);
    }
  }
  // Ops in no layer come before the first and after the last.
  const auto order = [num_layers](const Point& point) {
    const size_t layer = IsPerLayer(point.op)     ? point.layer
                         : point.op == Op::kEmbed ? 0
                                                  : num_layers + 1;
    return std::make_pair(layer, point.op);
  };
  std::sort(
      points_.begin(), points_.end(),
      [&](const Point& a, const Point& b) { return order(a) < order(b); });
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
}

void AlignedTrace::Add(size_t layer, Op op, const TracedTensor& tensor) {
  if (!index_.emplace(std::make_pair(layer, op), points_.size()).second) return;
  Point point;
  point.layer = layer;
  point.op = op;
  point.tensor = &tensor;
  const Matrix<double> rows = tensor.rows.view();
  point.held_by = FormatHolding(rows);
  for (size_t r = 0; r < rows.rows; ++r) {
    point.stands_out_from.push_back(StandsOutFrom(op, rows.Row(r), rows.cols));
    for (size_t c = 0; c < rows.cols; ++c) {
      const double x = rows.Row(r)[c];
      if (!std::isfinite(x)) {
        ++point.nonfinite;
        continue;
      }
      point.squares += x * x;
      if (std::fabs(x) < point.stands_out_from.back()) {
        point.usual_squares += x * x;
      }
    }
  }
  points_.push_back(point);
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
  size_t held = 0, all = 0;
  for (const Point& point : points_) {
    if (point.op == Op::kEmbed || IsScores(point.op)) continue;
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
