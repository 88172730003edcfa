#include "explorer/diagnosis/alignment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/matrix.h"
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
double SquaredDistance(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double Distance(Matrix<const double> a, Matrix<const double> b) {
  double sum = 0;
  for (size_t r = 0; r < std::min(a.rows, b.rows); ++r) {
    sum += SquaredDistance(a.Row(r), b.Row(r), a.cols);
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
          const ReferenceTrace& trace)
      : setting_(setting),
        weights_(weights),
        trace_(trace),
        num_layers_(weights.layers.size()) {
    states_.tokens = trace.tokens;
    states_.states = trace.states;
  }

  absl::StatusOr<Alignment> Run() {
    for (const int shift : kShifts) {
      auto mismatch = MismatchOf(shift);
      if (!mismatch.ok()) return mismatch.status();
      if (mismatch->layers > 0) alignment_.shifts.push_back(*mismatch);
    }
    int open_shift = 0;
    const auto& shifts = alignment_.shifts;
    if (!shifts.empty()) {
      const auto best = std::min_element(
          shifts.begin(), shifts.end(),
          [](const auto& a, const auto& b) { return a.mismatch < b.mismatch; });
      const double as_listed =
          shifts.front().shift == 0 ? shifts.front().mismatch : 1;
      if (best->mismatch < kClear * as_listed) {
        alignment_.state_shift = best->shift;
      } else if (best->mismatch < kMuchBetter * as_listed) {
        open_shift = best->shift;
      }
    }
    absl::Status status = FindLastState();
    if (!status.ok()) return status;
    if (open_shift != 0) {
      alignment_.others.push_back({open_shift, false});
      alignment_.others.push_back({open_shift, true});
    }
    FindTokens();
    return std::move(alignment_);
  }

 private:
  absl::StatusOr<std::vector<Residual>> Replay(const AlignedTrace& aligned) {
    const auto oracle = Plan::Parse("oracle", num_layers_);
    if (!oracle.ok()) return oracle.status();
    auto residuals = MeasureCandidates(setting_, weights_, aligned,
                                       {{*oracle, {}, &aligned}}, "alignment");
    if (!residuals.ok()) return residuals.status();
    return std::move(residuals->front());
  }

  // Of the layers whose input the list has too. The last one may be after the
  // final norm.
  absl::StatusOr<Alignment::Shift> MismatchOf(int shift) {
    Alignment::Shift found;
    found.shift = shift;
    const AlignedTrace aligned(states_, num_layers_, shift, false);
    std::vector<std::pair<size_t, double>> updates;  // by point
    const TracedTensor* before = nullptr;            // the nearest
    for (const auto& [index, tensor] : states_.states) {
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
    const int embedding = aligned.Find(0, Op::kEmbed);
    if (embedding >= 0) {
      const size_t at = static_cast<size_t>(embedding);
      updates.emplace_back(at, std::sqrt(aligned.points()[at].squares));
    }
    if (updates.empty()) return found;
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    std::vector<double> mismatches;
    for (const auto& [at, update] : updates) {
      const Residual& r = (*residuals)[at];
      double mismatch = r.nonfinite > 0 ? 1 : std::sqrt(r.all.squares) / update;
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

  // Of the last state, if it is after the final norm: relative to itself.
  absl::StatusOr<double> NormedDistance(int shift) {
    const AlignedTrace aligned(states_, num_layers_, shift, true);
    const int at = aligned.Find(0, Op::kFinalNorm);
    if (at < 0) return std::numeric_limits<double>::infinity();
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    const Residual& r = (*residuals)[static_cast<size_t>(at)];
    if (r.nonfinite > 0) return std::numeric_limits<double>::infinity();
    return std::sqrt(r.all.squares /
                     aligned.points()[static_cast<size_t>(at)].squares);
  }

  absl::Status FindLastState() {
    const int64_t index =
        static_cast<int64_t>(num_layers_) - alignment_.state_shift;
    if (index < 0 || states_.states.count(static_cast<size_t>(index)) == 0) {
      return absl::OkStatus();
    }
    Alignment::LastState last;
    last.index = static_cast<size_t>(index);
    const AlignedTrace aligned(states_, num_layers_, alignment_.state_shift,
                               false);
    const int at = aligned.Find(num_layers_, Op::kMlpResidual);
    if (at < 0) return absl::OkStatus();
    const auto residuals = Replay(aligned);
    if (!residuals.ok()) return residuals.status();
    const Residual& r = (*residuals)[static_cast<size_t>(at)];
    last.raw =
        r.nonfinite > 0 ? std::numeric_limits<double>::infinity()
        : r.all.squares > 0
            ? std::sqrt(r.all.squares /
                        aligned.points()[static_cast<size_t>(at)].squares)
            : 0;
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

  // Positions whose embedding is not their token's, and whose it is.
  void FindTokens() {
    const AlignedTrace aligned(trace_, num_layers_, alignment_.state_shift,
                               alignment_.last_state_normed);
    const int at = aligned.Find(0, Op::kEmbed);
    if (at < 0) return;
    const TracedTensor& tensor =
        *aligned.points()[static_cast<size_t>(at)].tensor;
    const Matrix<double> rows = tensor.rows.view();
    std::vector<double> embedding(rows.cols);
    for (size_t r = 0; r < rows.rows; ++r) {
      const size_t position = tensor.first_position + r;
      const int32_t token = trace_.tokens[position];
      weights_.embed.CopyRow(static_cast<size_t>(token), embedding.data());
      if (!IsEmbedding(embedding, rows.Row(r))) {
        alignment_.other_tokens.push_back({position, token, -1});
      }
    }
    size_t missing = alignment_.other_tokens.size();
    for (size_t t = 0; missing > 0 && t < weights_.embed.view().n; ++t) {
      weights_.embed.CopyRow(t, embedding.data());
      for (Alignment::OtherToken& other : alignment_.other_tokens) {
        if (other.found >= 0) continue;
        const double* const row =
            rows.Row(other.position - tensor.first_position);
        if (!IsEmbedding(embedding, row)) continue;
        other.found = static_cast<int32_t>(t);
        --missing;
      }
    }
  }

  static bool IsEmbedding(const std::vector<double>& embedding,
                          const double* row) {
    double distance = 0, size = 0;
    for (size_t i = 0; i < embedding.size(); ++i) {
      const double d = row[i] - embedding[i];
      distance += d * d;
      size += embedding[i] * embedding[i];
    }
    return distance <= kOtherEmbedding * kOtherEmbedding * size;
  }

  const ReplaySetting& setting_;
  const Weights& weights_;
  const ReferenceTrace& trace_;
  const size_t num_layers_;
  ReferenceTrace states_;  // the trace's list of states alone
  Alignment alignment_;
};

}  // namespace

absl::StatusOr<Alignment> Align(const ReplaySetting& setting,
                                const Weights& weights,
                                const ReferenceTrace& trace) {
  return Aligner(setting, weights, trace).Run();
}

}  // namespace ulpscope
