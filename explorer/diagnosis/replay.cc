#include "explorer/diagnosis/replay.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/traced_values.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/rounding.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

// Residual::rows_hit.
constexpr double kNearlyAll = 0.9;

// Values that are compared between two questions whether to stop: some tens of
// milliseconds.
constexpr size_t kValuesAtOnce = size_t{1} << 20;

// The same number, infinity or NaN.
bool Same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

void AddOwn(double own, double rounding, Residual::Part& part) {
  part.own_squares += own * own;
  const double noise = std::max(own * own, rounding * rounding / 3);
  part.noise_squares += noise;
  part.noise_quartic += noise * noise;
}

void AddPart(const Residual::Part& part, Residual::Part& all) {
  all.squares += part.squares;
  all.own_squares += part.own_squares;
  all.noise_squares += part.noise_squares;
  all.noise_quartic += part.noise_quartic;
}

std::optional<double> Relative(double squares, size_t nonfinite,
                               const Point& point, const Residual& residual) {
  if (residual.elements == 0) return std::nullopt;
  if (point.nonfinite > 0 && !point.any_finite) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (nonfinite > 0) return std::numeric_limits<double>::infinity();
  return std::sqrt(RatioOrZero(squares, point.squares));
}

// How likely an error makes x round the other way, to a format of so many bits
// of precision and this smallest spacing.
double Flip(double error, double x, int precision, int least_exponent) {
  if (x == 0 || error == 0) return 0;
  const int spacing = std::max(std::ilogb(x) + 1 - precision, least_exponent);
  return std::min(1.0, 2 * std::ldexp(error, -spacing));
}

// What becomes of outputs before they are compared.
struct Written {
  double unit_roundoff = 0;      // of the op's result
  Format format = Format::kF64;  // of the trace
  bool ours_rounded = false, second_rounded = false;

  double Ours(double x) const { return ours_rounded ? Rounded(x) : x; }
  double Second(double x) const { return second_rounded ? Rounded(x) : x; }
  double Rounded(double x) const {
    switch (format) {
      case Format::kBF16:
        return RoundedToBF16(x);
      case Format::kF16:
        return RoundedToF16(x);
      case Format::kF32:
        return static_cast<float>(x);
      case Format::kF64:
        break;
    }
    return x;
  }
};

// Compares a row.
void CompareElements(const double* theirs, const double* ours,
                     const double* first, const double* second, size_t n,
                     double stands_out_from, const Written& written,
                     Residual& r) {
  r.elements += n;
  double moved = 0, hit = 0;
  for (size_t i = 0; i < n; ++i) {
    const bool usual = std::fabs(theirs[i]) < stands_out_from;
    const double x = written.Ours(ours[i]);
    const double y = written.Second(second[i]);
    const bool same = Same(theirs[i], x);
    const double mine = same ? 0 : std::fabs(theirs[i] - x);
    if (same) {
      ++r.identical;
    } else if (std::isfinite(mine)) {
      r.all.squares += mine * mine;
      if (usual) r.usual.squares += mine * mine;
    } else {
      ++r.nonfinite;
      if (!std::isfinite(theirs[i])) ++r.theirs_nonfinite;
    }
    if (!std::isfinite(ours[i])) ++r.ours_nonfinite;
    const double own = ours[i] - first[i];
    if (!std::isfinite(own)) {
      if (!Same(ours[i], first[i])) ++r.own_nonfinite;
    } else if (std::isfinite(theirs[i])) {
      const double rounding = written.unit_roundoff * ours[i];
      AddOwn(own, rounding, r.all);
      if (usual) AddOwn(own, rounding, r.usual);
      const double error = std::max(std::fabs(own), std::fabs(rounding));
      r.flips_bf16 += Flip(error, ours[i], 8, -133);
      r.flips_f16 += Flip(error, ours[i], 11, -24);
    }
    if (!Same(x, y)) {
      ++moved;
      if (same) ++hit;
    }
  }
  if (moved > 0) ++r.rows_moved;
  if (moved > 0 && hit >= kNearlyAll * moved) ++r.rows_hit;
}

// A row's own sums, behind those of the rows before it.
void AddRow(const double* theirs, size_t n, const Residual& of_row,
            Residual& residual) {
  Residual::Row row;
  for (size_t i = 0; i < n; ++i) {
    if (std::isfinite(theirs[i])) row.theirs_squares += theirs[i] * theirs[i];
  }
  row.squares = of_row.all.squares;
  row.own_squares = of_row.all.own_squares;
  row.nonfinite = of_row.nonfinite;
  row.own_nonfinite = of_row.own_nonfinite;
  residual.rows.push_back(row);
}

class Comparer : public LockstepObserver {
 public:
  Comparer(const AlignedTrace& trace, std::vector<Candidate> candidates,
           Monitor& monitor)
      : trace_(trace),
        monitor_(monitor),
        candidates_(std::move(candidates)),
        residuals_(candidates_.size(),
                   std::vector<Residual>(trace.points().size())) {
    for (const Point& point : trace.points()) {
      wanted_[static_cast<size_t>(point.op)] = true;
    }
  }

  bool Wants(Op op) const override { return wanted_[static_cast<size_t>(op)]; }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    const int at = trace_.Find(layer, op);
    if (at < 0) return;
    point_ = static_cast<size_t>(at);
    // A variant may compute an op after others of its layer, and scores before
    // and after the softmax come in turns, one position at a time.
    if (layer != layer_) {
      layer_ = layer;
      kept_.clear();
    }
    Kept& first = kept_[point_].first;
    Kept& second = kept_[point_].second;
    // Ascending; both are shown before any other that they do not share with.
    if (streams.front() == 0) Keep(first_position, rows, first);
    if (Has(streams, 1)) Keep(first_position, rows, second);
    // What streams share may have been rounded to different formats.
    std::map<std::pair<double, bool>, Residual> parts;
    for (const size_t s : streams) {
      if (stopped_) return;
      Written written;
      if (op != Op::kEmbed) {
        written.unit_roundoff =
            UnitRoundoff(candidates_[s].plan.Get(layer, op).info().result);
      }
      written.format = trace_.format();
      // Logits may be kept in more bits than the rest.
      const bool held = Holds(trace_.format(), point().held_by);
      written.ours_rounded = held && candidates_[s].stored_rounded;
      written.second_rounded =
          held && candidates_.size() > 1 && candidates_[1].stored_rounded;
      const auto [part, is_new] =
          parts.try_emplace({written.unit_roundoff, written.ours_rounded});
      if (is_new && IsScores(op)) {
        CompareScores(op, first_position, rows, first, second, written,
                      part->second);
      } else if (is_new) {
        CompareRows(first_position, rows, first, second, written, part->second);
      }
      Add(part->second, residuals_[s][point_]);
      if (candidates_[s].given != nullptr || !IsHandedOn(op)) continue;
      std::vector<Residual::Row>& all = residuals_[s][point_].rows;
      all.insert(all.end(), part->second.rows.begin(), part->second.rows.end());
    }
  }

  // Cancelled if it was stopped before all was compared.
  absl::StatusOr<Residuals> Take() {
    if (stopped_) return absl::CancelledError("stopped");
    return std::move(residuals_);
  }

 private:
  // Rows by position; of scores one entry per position with all heads.
  using Kept = std::map<size_t, std::vector<double>>;

  static bool Has(absl::Span<const size_t> streams, size_t s) {
    for (const size_t stream : streams) {
      if (stream >= s) return stream == s;
    }
    return false;
  }

  static void Keep(size_t first_position, Matrix<const double> rows,
                   Kept& kept) {
    for (size_t r = 0; r < rows.rows; ++r) {
      std::vector<double>& values = kept[first_position];
      values.insert(values.end(), rows.Row(r), rows.Row(r) + rows.cols);
    }
  }

  const Point& point() const { return trace_.points()[point_]; }

  // A kept row, or the one shown where a variant does not compute the op.
  static const double* RowOf(const Kept& kept, size_t first_position, size_t r,
                             Matrix<const double> shown) {
    const auto found = kept.find(first_position);
    return found == kept.end() ? shown.Row(r)
                               : found->second.data() + r * shown.cols;
  }

  // Rows are positions.
  void CompareRows(size_t first_position, Matrix<const double> rows,
                   const Kept& first, const Kept& second,
                   const Written& written, Residual& residual) {
    const TracedTensor& tensor = *point().tensor;
    const Matrix<double> theirs = tensor.rows.view();
    for (size_t r = 0; r < rows.rows; ++r) {
      if (Stopped(rows.cols)) return;
      const size_t position = first_position + r;
      if (position < tensor.first_position) continue;
      const size_t row = position - tensor.first_position;
      if (row >= theirs.rows) continue;
      Residual of_row;
      CompareElements(theirs.Row(row), rows.Row(r),
                      RowOf(first, first_position, r, rows),
                      RowOf(second, first_position, r, rows), rows.cols,
                      point().stands_out_from[row], written, of_row);
      Add(of_row, residual);
      if (IsHandedOn(point().op)) {
        AddRow(theirs.Row(row), rows.cols, of_row, residual);
      }
    }
  }

  // A row per head, of one position. Before the softmax what lies behind the
  // position has no meaning; after it, a causal decoder has zeros there.
  void CompareScores(Op op, size_t position, Matrix<const double> rows,
                     const Kept& kept_first, const Kept& kept_second,
                     const Written& written, Residual& residual) {
    if (Stopped(rows.rows * rows.cols)) return;
    const Matrix<double> theirs = point().tensor->rows.view();
    const size_t positions = theirs.cols;
    const size_t shown = op == Op::kQk ? position + 1 : positions;
    std::vector<double> ours(shown), first(shown), second(shown);
    const auto widen = [&](const double* from, size_t cols,
                           std::vector<double>& to) {
      for (size_t c = 0; c < shown; ++c) to[c] = c < cols ? from[c] : 0;
    };
    const auto widen_kept = [&](const Kept& kept, size_t h,
                                std::vector<double>& to) {
      const auto found = kept.find(position);
      if (found == kept.end()) {
        to = ours;
        return;
      }
      const size_t cols = found->second.size() / rows.rows;
      widen(found->second.data() + h * cols, cols, to);
    };
    for (size_t h = 0; h < rows.rows; ++h) {
      widen(rows.Row(h), rows.cols, ours);
      widen_kept(kept_first, h, first);
      widen_kept(kept_second, h, second);
      CompareElements(theirs.Row(h * positions + position), ours.data(),
                      first.data(), second.data(), shown,
                      point().stands_out_from[h * positions + position],
                      written, residual);
    }
  }

  // Before so many more values are compared.
  bool Stopped(size_t values) {
    compared_ += values;
    if (compared_ >= kValuesAtOnce) {
      compared_ = 0;
      stopped_ = stopped_ || monitor_.stopped();
    }
    return stopped_;
  }

  static void Add(const Residual& part, Residual& all) {
    all.elements += part.elements;
    AddPart(part.all, all.all);
    AddPart(part.usual, all.usual);
    all.nonfinite += part.nonfinite;
    all.theirs_nonfinite += part.theirs_nonfinite;
    all.own_nonfinite += part.own_nonfinite;
    all.ours_nonfinite += part.ours_nonfinite;
    all.identical += part.identical;
    all.rows_moved += part.rows_moved;
    all.rows_hit += part.rows_hit;
    all.flips_bf16 += part.flips_bf16;
    all.flips_f16 += part.flips_f16;
  }

  const AlignedTrace& trace_;
  Monitor& monitor_;
  const std::vector<Candidate> candidates_;
  bool wanted_[kNumOps] = {};
  size_t point_ = 0;  // that is being shown
  size_t layer_ = 0;
  size_t compared_ = 0;  // values since it was asked whether to stop
  bool stopped_ = false;
  // By point, of the first two candidates.
  std::map<size_t, std::pair<Kept, Kept>> kept_;
  Residuals residuals_;
};

}  // namespace

bool IsHandedOn(Op op) {
  return op == Op::kMlpResidual || op == Op::kFinalNorm || op == Op::kLmHead;
}

std::optional<double> RelativeDistance(const Point& point,
                                       const Residual& residual) {
  return Relative(residual.all.squares,
                  residual.nonfinite - residual.theirs_nonfinite, point,
                  residual);
}

std::optional<double> RelativeOwnDistance(const Point& point,
                                          const Residual& residual) {
  return Relative(residual.all.own_squares, residual.own_nonfinite, point,
                  residual);
}

absl::StatusOr<Residuals> MeasureCandidates(
    const ReplaySetting& setting, const Weights& weights,
    const AlignedTrace& trace, absl::Span<const Candidate> candidates,
    absl::string_view what) {
  std::vector<Stream> streams;
  for (const Candidate& candidate : candidates) {
    Stream stream = {candidate.plan, setting.tokens};
    stream.variant = candidate.variant;
    stream.given = candidate.given;
    streams.push_back(std::move(stream));
  }
  LockstepOptions options;
  const int logits = trace.Find(0, Op::kLmHead);
  if (logits >= 0) {
    const TracedTensor& tensor =
        *trace.points()[static_cast<size_t>(logits)].tensor;
    options.logits = tensor.first_position + 1 == setting.tokens.size()
                         ? Logits::kLast
                         : Logits::kAll;
  }
  options.stop = StopOf(setting.monitor);
  Residuals residuals;
  // Every pass has the first two, with which the others are compared, and one
  // more, whatever they take: a lockstep that divided it would show them apart.
  const size_t compared = std::min<size_t>(2, streams.size());
  for (size_t next = 0; next < streams.size();) {
    std::vector<Stream> pass(
        streams.begin(), streams.begin() + static_cast<ptrdiff_t>(compared));
    if (next == 0) next = compared;
    const size_t begin = next;
    while (next < streams.size()) {
      pass.push_back(streams[next]);
      if (next > begin && LockstepBytes(weights.config, pass, options.logits) >
                              static_cast<double>(setting.memory)) {
        pass.pop_back();
        break;
      }
      ++next;
    }
    const size_t before = residuals.size();
    const size_t known = std::min(before, compared);
    options.progress = [&](size_t done, size_t total) {
      if (!setting.progress) return;
      const double runs = static_cast<double>(before) +
                          static_cast<double>(pass.size() - known) *
                              static_cast<double>(done) /
                              static_cast<double>(total);
      setting.progress(runs / static_cast<double>(streams.size()), what);
    };
    std::vector<Candidate> compared_candidates(
        candidates.begin(),
        candidates.begin() + static_cast<ptrdiff_t>(compared));
    compared_candidates.insert(
        compared_candidates.end(),
        candidates.begin() + static_cast<ptrdiff_t>(begin),
        candidates.begin() + static_cast<ptrdiff_t>(next));
    Comparer comparer(trace, std::move(compared_candidates), setting.monitor);
    const absl::Status status =
        RunLockstep(weights, pass, options, comparer, setting.parallel);
    if (!status.ok()) return status;
    const auto part = comparer.Take();
    if (!part.ok()) return part.status();
    residuals.insert(residuals.end(),
                     part->begin() + static_cast<ptrdiff_t>(known),
                     part->end());
  }
  return residuals;
}

}  // namespace ulpscope
