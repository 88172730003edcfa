#include "explorer/diagnosis/evidence.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

// Rows of logits that are kept: a vocabulary is long.
constexpr size_t kMostLogitRows = 8;

const std::vector<double>* BiasOf(const Weights& weights, size_t layer, Op op) {
  if (layer == 0) return nullptr;
  const LayerWeights& w = weights.layers[layer - 1];
  const std::vector<double>* const bias = op == Op::kQProj      ? &w.q_bias
                                          : op == Op::kKProj    ? &w.k_bias
                                          : op == Op::kVProj    ? &w.v_bias
                                          : op == Op::kOProj    ? &w.o_bias
                                          : op == Op::kGateProj ? &w.gate_bias
                                          : op == Op::kUpProj   ? &w.up_bias
                                          : op == Op::kDownProj ? &w.down_bias
                                                                : nullptr;
  return bias == nullptr || bias->empty() ? nullptr : bias;
}

// As FitOf judges a point, of one row of it.
struct RowFit {
  double distance = 0;  // squared
  double noise = 0, noise_quartic = 0;
  bool other_finite = false;  // one side has a value where the other has none

  void Add(double theirs, double ours, double exact, double unit,
           double unit_stored) {
    if (std::isfinite(theirs) != std::isfinite(ours)) other_finite = true;
    if (!std::isfinite(theirs) || !std::isfinite(ours)) return;
    distance += (theirs - ours) * (theirs - ours);
    const double own = ours - exact;
    const double rounding = unit * ours;
    const double stored = unit_stored * theirs;
    double n = std::max(own * own, rounding * rounding / 3);
    if (!std::isfinite(n)) n = 0;
    n += stored * stored / 3;
    noise += n;
    noise_quartic += n * n;
  }

  bool Differs() const {
    if (other_finite) return true;
    const double independent =
        noise_quartic > 0 ? std::max(1.0, noise * noise / noise_quartic) : 1.0;
    const double tolerance = 2 * (1 + 6 * std::sqrt(2 / independent));
    return distance > tolerance * tolerance * noise;
  }
};

class Witness : public LockstepObserver {
 public:
  Witness(const Weights& weights, const AlignedTrace& trace,
          const Belief& belief, const Fit& fit, Monitor& monitor)
      : weights_(weights), trace_(trace), belief_(belief), monitor_(monitor) {
    for (size_t i = 0; i < fit.points.size(); ++i) {
      if (fit.points[i].explained) continue;
      wanted_[static_cast<size_t>(trace.points()[i].op)] = true;
      of_point_[i].point = i;
    }
  }

  bool Wants(Op op) const override { return wanted_[static_cast<size_t>(op)]; }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    const int at = trace_.Find(layer, op);
    if (at < 0 || monitor_.stopped()) return;
    const auto found = of_point_.find(static_cast<size_t>(at));
    if (found == of_point_.end()) return;
    std::vector<double>& exact = exact_[{found->first, first_position}];
    if (streams.front() == 0) {
      exact.clear();
      for (size_t r = 0; r < rows.rows; ++r) {
        exact.insert(exact.end(), rows.Row(r), rows.Row(r) + rows.cols);
      }
    }
    if (streams.back() != 1) return;
    if (exact.size() == rows.rows * rows.cols) {
      if (IsScores(op)) {
        SeeScores(first_position, rows, exact, found->second);
      } else {
        SeeRows(first_position, rows, exact, found->second);
      }
    }
    exact_.erase({found->first, first_position});
  }

  Evidence Take() {
    Evidence evidence;
    for (auto& [point, of] : of_point_) {
      if (!of.differs.empty()) evidence.push_back(std::move(of));
    }
    return evidence;
  }

 private:
  double UnitOf(const Point& point) const {
    return UnitRoundoff(belief_.plan.Get(point.layer, point.op).info().result);
  }
  double StoredUnit() const {
    return belief_.stored_rounded ? UnitRoundoff(trace_.format()) : 0;
  }

  void SeeRows(size_t first_position, Matrix<const double> rows,
               const std::vector<double>& exact, PointEvidence& of) {
    const Point& point = trace_.points()[of.point];
    const TracedTensor& tensor = *point.tensor;
    const Matrix<double> theirs = tensor.rows.view();
    const std::vector<double>* const bias =
        BiasOf(weights_, point.layer, point.op);
    const bool keeps =
        point.op == Op::kLmHead ||
        (point.op == Op::kRope && std::exchange(rope_is_kept_, true) == false);
    of.cols = rows.cols;
    for (size_t r = 0; r < rows.rows; ++r) {
      const size_t position = first_position + r;
      if (position < tensor.first_position ||
          position - tensor.first_position >= theirs.rows) {
        continue;
      }
      const double* const t = theirs.Row(position - tensor.first_position);
      const double* const o = rows.Row(r);
      RowFit fit;
      for (size_t c = 0; c < rows.cols; ++c) {
        fit.Add(t[c], o[c], exact[r * rows.cols + c], UnitOf(point),
                StoredUnit());
        if (!std::isfinite(t[c]) || !std::isfinite(o[c])) continue;
        AddTo(of.whole, t[c], o[c]);
        if (bias != nullptr) {
          AddTo(of.without_bias, t[c] - (*bias)[c], o[c] - (*bias)[c]);
        }
      }
      of.differs.push_back(fit.Differs());
      if (!keeps || (point.op == Op::kLmHead && of.rows >= kMostLogitRows)) {
        continue;
      }
      of.ours.insert(of.ours.end(), o, o + rows.cols);
      ++of.rows;
    }
  }

  // A row per head, of one position; what is behind it only after the softmax.
  void SeeScores(size_t position, Matrix<const double> rows,
                 const std::vector<double>& exact, PointEvidence& of) {
    const Point& point = trace_.points()[of.point];
    const Matrix<double> theirs = point.tensor->rows.view();
    RowFit fit;
    for (size_t h = 0; h < rows.rows; ++h) {
      const double* const t = theirs.Row(h * theirs.cols + position);
      const size_t shown = point.op == Op::kQk ? position + 1 : theirs.cols;
      for (size_t c = 0; c < shown; ++c) {
        const bool has = c < rows.cols;
        fit.Add(t[c], has ? rows.Row(h)[c] : 0,
                has ? exact[h * rows.cols + c] : 0, UnitOf(point),
                StoredUnit());
      }
    }
    of.differs.push_back(fit.Differs());
  }

  static void AddTo(PointEvidence::Line& line, double theirs, double ours) {
    line.theirs_squares += theirs * theirs;
    line.product += theirs * ours;
    line.ours_squares += ours * ours;
  }

  const Weights& weights_;
  const AlignedTrace& trace_;
  const Belief& belief_;
  Monitor& monitor_;
  bool wanted_[kNumOps] = {};
  bool rope_is_kept_ = false;
  std::map<size_t, PointEvidence> of_point_;
  // The oracle's rows, until ours come: by point and first position.
  std::map<std::pair<size_t, size_t>, std::vector<double>> exact_;
};

}  // namespace

double PointEvidence::Line::Apart() const {
  const double squares = theirs_squares * ours_squares;
  return squares > 0 ? 1 - product / squares * product : 1;
}

absl::StatusOr<Evidence> EvidenceOf(const ReplaySetting& setting,
                                    const Weights& weights,
                                    const AlignedTrace& trace,
                                    const Belief& belief, const Fit& fit) {
  if (fit.explained == fit.points.size()) return Evidence();
  Variant exact = belief.variant();
  exact.rope_angles_f32 = false;
  std::vector<Stream> streams;
  streams.push_back({Plan::Oracle(weights.layers.size()), setting.tokens});
  streams.back().variant = exact;
  streams.push_back({belief.plan, setting.tokens});
  streams.back().variant = belief.variant();
  for (Stream& stream : streams) stream.given = &trace;
  LockstepOptions options;
  const int logits = trace.Find(0, Op::kLmHead);
  if (logits >= 0 && !fit.points[static_cast<size_t>(logits)].explained) {
    const TracedTensor& tensor =
        *trace.points()[static_cast<size_t>(logits)].tensor;
    options.logits = tensor.first_position + 1 == setting.tokens.size()
                         ? Logits::kLast
                         : Logits::kAll;
  }
  options.stop = StopOf(setting.monitor);
  Witness witness(weights, trace, belief, fit, setting.monitor);
  const absl::Status status =
      RunLockstep(weights, streams, options, witness, setting.parallel);
  if (!status.ok()) return status;
  return witness.Take();
}

}  // namespace ulpscope
