#include "explorer/diagnosis/kept_replays.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

KeptReplays::KeptReplays(const std::vector<What>& what, size_t runs) {
  for (const What& one : what) {
    wanted_[static_cast<size_t>(one.cell.op)] = true;
    Kept& kept = kept_[{one.cell.layer, one.cell.op}];
    kept.what = one;
    kept.runs.resize(runs);
  }
}

bool KeptReplays::Wants(Op op) const {
  return wanted_[static_cast<size_t>(op)];
}

void KeptReplays::OnOutput(absl::Span<const size_t> streams, size_t layer,
                           Op op, size_t first_position,
                           Matrix<const double> rows) {
  const auto found = kept_.find({layer, op});
  if (found == kept_.end()) return;
  Kept& kept = found->second;
  const auto keep = [&](size_t position, size_t first, size_t count) {
    const What& what = kept.what;
    if (position < what.first_position ||
        position - what.first_position >= what.positions) {
      return;
    }
    auto values = std::make_shared<Values>();
    for (size_t r = first; r < first + count; ++r) {
      values->insert(values->end(), rows.Row(r), rows.Row(r) + rows.cols);
    }
    // Streams with the same bits share them.
    for (const size_t s : streams) {
      if (what.only_run.value_or(s) == s) kept.runs[s][position] = values;
    }
  };
  if (IsScores(op)) {
    keep(first_position, 0, rows.rows);
    return;
  }
  for (size_t r = 0; r < rows.rows; ++r) keep(first_position + r, r, 1);
}

const KeptReplays::Values* KeptReplays::Get(size_t run, const Cell& cell,
                                            size_t position) const {
  const auto kept = kept_.find({cell.layer, cell.op});
  if (kept == kept_.end()) return nullptr;
  const auto& values = kept->second.runs[run];
  const auto found = values.find(position);
  return found == values.end() ? nullptr : found->second.get();
}

void FirstOutputNotFinite::OnOutput(absl::Span<const size_t> /*streams*/,
                                    size_t layer, Op op, size_t first_position,
                                    Matrix<const double> rows) {
  if (found_.has_value() || (asked_ && !asked_({layer, op}))) return;
  const size_t cols =
      IsScores(op) ? std::min(rows.cols, first_position + 1) : rows.cols;
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      if (std::isfinite(rows.Row(r)[c])) continue;
      found_ = Cell{layer, op};
      return;
    }
  }
}

absl::Status ObserveCandidates(const ReplaySetting& setting,
                               const Weights& weights,
                               absl::Span<const Candidate> candidates,
                               Logits logits, absl::string_view what,
                               LockstepObserver& observer) {
  std::vector<Stream> streams;
  for (const Candidate& candidate : candidates) {
    Stream stream = {candidate.plan, setting.tokens};
    stream.variant = candidate.variant;
    stream.given = candidate.given;
    streams.push_back(std::move(stream));
  }
  LockstepOptions options;
  options.logits = logits;
  options.memory = setting.memory;
  options.stop = StopOf(setting.monitor);
  options.progress = [&](size_t done, size_t total) {
    if (!setting.progress) return;
    setting.progress(static_cast<double>(done) / static_cast<double>(total),
                     what);
  };
  return RunLockstep(weights, streams, options, observer, setting.parallel);
}

}  // namespace ulpscope
