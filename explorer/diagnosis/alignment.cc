#include "explorer/diagnosis/alignment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Shifts that are tried beside 0, in the order of their likelihood.
constexpr int kShifts[] = {0, -1, 1, -2, 2};
// A reading is clear if its mismatch is below this share of another's: that of
// rounding is. If it is not, both stay open if it is below the second.
constexpr double kClear = 0.1;
constexpr double kMuchBetter = 0.5;
// An embedding is another token's if it is farther away than any rounding of
// it could be: twice the unit roundoff of bf16.
constexpr double kOtherEmbedding = 0x1p-7;
// Values that are compared between two questions whether to stop, on each
// thread: some tens of milliseconds.
constexpr double kValuesAtOnce = 0x1p22;

// Row by row, each of which is summed by itself.
double Distance(Matrix<const double> a, Matrix<const double> b) {
  double sum = 0;
  for (size_t r = 0; r < std::min(a.rows, b.rows); ++r) {
    sum += SquaredDistance({a.Row(r), 1, a.cols}, {b.Row(r), 1, a.cols});
  }
  return std::sqrt(sum);
}

double Median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::infinity();
  std::nth_element(values.begin(),
                   values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

class Aligner {
 public:
  Aligner(const ReplaySetting& setting, const Weights& weights,
          const TracedValues& values)
      : setting_(setting),
        weights_(weights),
        values_(values),
        trace_(values.trace()),
        num_layers_(weights.layers.size()) {}

  absl::StatusOr<Alignment> Run() {
    for (const int shift : kShifts) {
      auto mismatch = MismatchOf(shift);
      if (!mismatch.ok()) return mismatch.status();
      if (mismatch->layers > 0) alignment_.shifts.push_back(*mismatch);
    }
    int open_shift = 0;
    const auto& shifts = alignment_.shifts;
    if (!shifts.empty()) {
      const auto best = absl::c_min_element(
          shifts,
          [](const auto& a, const auto& b) { return a.mismatch < b.mismatch; });
      const double as_listed =
          shifts.front().shift == 0 ? shifts.front().mismatch : 1;
      if (best->mismatch < kClear * as_listed) {
        alignment_.state_shift = best->shift;
      } else if (best->mismatch < kMuchBetter * as_listed) {
        open_shift = best->shift;
      }
    }
    absl::Status status = absl::OkStatus();
    const bool is_clear =
        absl::c_any_of(shifts, [](const Alignment::Shift& shift) {
          return shift.mismatch < kMuchBetter;
        });
    if (!is_clear) status = FindStatesAre();
    if (!status.ok()) return status;
    if (alignment_.states_are != StatesAre::kStream) {
      alignment_.state_shift = open_shift = 0;
    }
    status = FindLastState();
    if (!status.ok()) return status;
    if (open_shift != 0) {
      alignment_.others.push_back({open_shift, false});
      alignment_.others.push_back({open_shift, true});
    }
    status = FindTokens();
    if (!status.ok()) return status;
    return std::move(alignment_);
  }

 private:
  // The trace's list of states alone.
  AlignedTrace States(int shift, bool last_is_normed) const {
    return AlignedTrace(values_, num_layers_, shift, last_is_normed, true,
                        alignment_.states_are);
  }

  // All of a trace's states are computed by a replay.
  static double DistanceOf(const AlignedTrace& aligned,
                           const std::vector<Residual>& residuals, size_t at) {
    return RelativeDistance(aligned.points()[at], residuals[at]).value();
  }

  absl::StatusOr<std::vector<Residual>> Replay(const AlignedTrace& aligned) {
    auto residuals = MeasureCandidates(
        setting_, weights_, aligned,
        {{Plan::Oracle(num_layers_), {}, &aligned}}, "alignment");
    if (!residuals.ok()) return residuals.status();
    return std::move(residuals->front());
  }

  // Of the layers whose input the list has too. The last one may be after the
  // final norm.
  absl::StatusOr<Alignment::Shift> MismatchOf(int shift) {
    Alignment::Shift found;
    found.shift = shift;
    const AlignedTrace aligned = States(shift, false);
    std::vector<std::pair<size_t, double>> updates;  // by point
    const TracedTensor* before = nullptr;            // the nearest
    for (const auto& [index, tensor] : trace_.states) {
      const TracedTensor* const previous = std::exchange(before, &tensor);
      const int64_t layer = static_cast<int64_t>(index) + shift;
      if (previous == nullptr || layer < 1 ||
          layer > static_cast<int64_t>(num_layers_) ||
          tensor.rows.rows() != previous->rows.rows()) {
        continue;
      }
      const int at = aligned.Find(static_cast<size_t>(layer), Op::kMlpResidual);
      const double update = Distance(tensor.rows.view(), previous->rows.view());
      if (at >= 0 && update > 0 && std::isfinite(update)) {
        updates.emplace_back(static_cast<size_t>(at), update);
      }
    }
    for (size_t at = 0; at < aligned.points().size(); ++at) {
      const Point& point = aligned.points()[at];
      if (point.op != Op::kEmbed || point.nonfinite > 0) continue;
      updates.emplace_back(at, std::sqrt(point.squares));
    }
    if (updates.empty()) return found;
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    std::vector<double> mismatches;
    for (const auto& [at, update] : updates) {
      const Residual& r = (*residuals)[at];
      double mismatch = r.nonfinite > 0
                            ? std::numeric_limits<double>::infinity()
                            : std::sqrt(r.all.squares) / update;
      if (aligned.points()[at].layer == num_layers_) {
        const auto normed = NormedDistance(shift);
        if (!normed.ok()) return normed.status();
        mismatch = std::min(mismatch, *normed);
      }
      mismatches.push_back(mismatch);
    }
    found.layers = mismatches.size();
    found.mismatch = Median(std::move(mismatches));
    return found;
  }

  // Whether a layer's output is but a part of the stream, where it does not
  // look like the stream. Replays of layers but the last one, which may be
  // after the final norm.
  absl::Status FindStatesAre() {
    for (const StatesAre reading : {StatesAre::kStream, StatesAre::kMlpOutput,
                                    StatesAre::kAttnResidual}) {
      const AlignedTrace aligned(values_, num_layers_, 0, false, false,
                                 reading);
      std::vector<size_t> points;
      for (size_t i = 0; i < aligned.points().size(); ++i) {
        const Point& point = aligned.points()[i];
        if (point.op == AlignedTrace::OpOf(reading) &&
            point.layer < num_layers_ && point.nonfinite == 0) {
          points.push_back(i);
        }
      }
      if (points.empty()) return absl::OkStatus();
      const auto residuals = Replay(aligned);
      if (!residuals.ok()) return residuals.status();
      std::vector<double> distances;
      for (const size_t i : points) {
        distances.push_back(DistanceOf(aligned, *residuals, i));
      }
      const double distance = Median(std::move(distances));
      if (reading == StatesAre::kStream) {
        alignment_.as_stream = distance;
        if (distance < kClear) return absl::OkStatus();
      } else if (distance < kClear * std::min(1.0, alignment_.as_stream)) {
        alignment_.states_are = reading;
        alignment_.as_they_are = distance;
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  // Of the last state, if it is after the final norm: relative to itself.
  absl::StatusOr<double> NormedDistance(int shift) {
    const AlignedTrace aligned = States(shift, true);
    const int at = aligned.Find(0, Op::kFinalNorm);
    if (at < 0) return std::numeric_limits<double>::infinity();
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    return DistanceOf(aligned, *residuals, static_cast<size_t>(at));
  }

  absl::Status FindLastState() {
    const int64_t index =
        static_cast<int64_t>(num_layers_) - alignment_.state_shift;
    if (index < 0 || trace_.states.count(static_cast<size_t>(index)) == 0) {
      return absl::OkStatus();
    }
    Alignment::LastState last;
    last.index = static_cast<size_t>(index);
    const AlignedTrace aligned = States(alignment_.state_shift, false);
    const int at =
        aligned.Find(num_layers_, AlignedTrace::OpOf(alignment_.states_are));
    if (at < 0) return absl::OkStatus();
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    last.raw = DistanceOf(aligned, *residuals, static_cast<size_t>(at));
    const auto normed = NormedDistance(alignment_.state_shift);
    if (!normed.ok()) return normed.status();
    last.normed = *normed;
    alignment_.last_state = last;
    alignment_.last_state_normed = last.normed < last.raw;
    const double better = std::min(last.normed, last.raw);
    const double worse = std::max(last.normed, last.raw);
    if (!(better < kClear * worse)) {
      alignment_.others.push_back(
          {alignment_.state_shift, !alignment_.last_state_normed});
    }
    return absl::OkStatus();
  }

  // Positions whose embedding is not their token's, and whose it is. What is
  // not finite is no token's, and found as such elsewhere.
  absl::Status FindTokens() {
    const AlignedTrace aligned(values_, num_layers_, alignment_.state_shift,
                               alignment_.last_state_normed);
    const int at = aligned.Find(0, Op::kEmbed);
    if (at < 0) return absl::OkStatus();
    const TracedTensor& tensor =
        *aligned.points()[static_cast<size_t>(at)].tensor;
    const Matrix<double> rows = tensor.rows.view();
    std::vector<double> embedding(rows.cols);
    std::vector<Sought> missing;
    for (size_t r = 0; r < rows.rows; ++r) {
      const size_t position = tensor.first_position + r;
      const int32_t token = trace_.tokens[position];
      weights_.embed.CopyRow(static_cast<size_t>(token), embedding.data());
      const double* const row = rows.Row(r);
      if (IsEmbedding(embedding, Bound(embedding), row) ||
          !std::all_of(row, row + rows.cols,
                       [](double x) { return std::isfinite(x); })) {
        continue;
      }
      missing.push_back({row, alignment_.other_tokens.size()});
      alignment_.other_tokens.push_back({position, token, -1});
    }
    return FindEmbeddings(std::move(missing), rows.cols);
  }

  // A row of the trace that is to be some token's embedding.
  struct Sought {
    const double* row;
    size_t other;  // index into other_tokens
  };

  // The first token that each is of. A few tokens at a time on each thread;
  // between them whoever waits is asked.
  absl::Status FindEmbeddings(std::vector<Sought> missing, size_t hidden) {
    const size_t vocab = weights_.embed.view().n;
    const size_t threads = setting_.parallel.num_threads();
    for (size_t begin = 0; begin < vocab && !missing.empty();) {
      if (setting_.monitor.stopped()) return absl::CancelledError("stopped");
      const double values_per_token =
          static_cast<double>(hidden) * static_cast<double>(missing.size() + 1);
      const size_t tokens = std::max<size_t>(
          1, static_cast<size_t>(kValuesAtOnce / values_per_token));
      // [thread][missing]: the first of its tokens, or vocab.
      std::vector<std::vector<size_t>> found(threads);
      setting_.parallel.For(threads, [&](size_t thread) {
        found[thread].assign(missing.size(), vocab);
        std::vector<double> embedding(hidden);
        const size_t first = begin + thread * tokens;
        for (size_t t = first; t < std::min(first + tokens, vocab); ++t) {
          weights_.embed.CopyRow(t, embedding.data());
          const double bound = Bound(embedding);
          for (size_t i = 0; i < missing.size(); ++i) {
            size_t& of = found[thread][i];
            if (of == vocab && IsEmbedding(embedding, bound, missing[i].row)) {
              of = t;
            }
          }
        }
      });
      begin += threads * tokens;
      std::vector<Sought> rest;
      for (size_t i = 0; i < missing.size(); ++i) {
        size_t token = vocab;
        for (const auto& of_thread : found) {
          token = std::min(token, of_thread[i]);
        }
        if (token == vocab) {
          rest.push_back(missing[i]);
        } else {
          alignment_.other_tokens[missing[i].other].found =
              static_cast<int32_t>(token);
        }
      }
      missing = std::move(rest);
    }
    return absl::OkStatus();
  }

  // How large the squared distance from an embedding may be.
  static double Bound(const std::vector<double>& embedding) {
    return kOtherEmbedding * kOtherEmbedding * Dot(embedding, embedding);
  }

  // The sum only grows, and of others than the right token it is beyond the
  // bound after a few terms. NaN is beyond it.
  static bool IsEmbedding(const std::vector<double>& embedding, double bound,
                          const double* row) {
    double distance = 0;
    for (size_t i = 0; i < embedding.size(); ++i) {
      const double d = row[i] - embedding[i];
      distance += d * d;
      if (!(distance <= bound)) return false;
    }
    return true;
  }

  const ReplaySetting& setting_;
  const Weights& weights_;
  const TracedValues& values_;
  const ReferenceTrace& trace_;
  const size_t num_layers_;
  Alignment alignment_;
};

}  // namespace

absl::StatusOr<Alignment> Align(const ReplaySetting& setting,
                                const Weights& weights,
                                const TracedValues& trace) {
  return Aligner(setting, weights, trace).Run();
}

}  // namespace ulpscope
