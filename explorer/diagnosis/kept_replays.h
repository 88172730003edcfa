#ifndef EXPLORER_DIAGNOSIS_KEPT_REPLAYS_H_
#define EXPLORER_DIAGNOSIS_KEPT_REPLAYS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/replay.h"
#include "kernels/base/matrix.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// The values of some ops in some runs. By position: of scores all heads one
// after the other, each of as many columns as it was shown with.
class KeptReplays : public LockstepObserver {
 public:
  struct What {
    Cell cell;
    size_t first_position = 0, positions = 0;
    std::optional<size_t> only_run;  // else all
  };

  KeptReplays(const std::vector<What>& what, size_t runs);

  bool Wants(Op op) const override;
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;

  // Of a run; null if it did not compute it or it was not kept.
  using Values = std::vector<double>;
  const Values* Get(size_t run, const Cell& cell, size_t position) const;

 private:
  struct Kept {
    What what;
    std::vector<std::map<size_t, std::shared_ptr<Values>>> runs;
  };

  bool wanted_[kNumOps] = {};
  std::map<std::pair<size_t, Op>, Kept> kept_;
};

// The first op of a run, as they run and of those that are asked for, of which
// some value is not finite. Scores behind their position have no meaning and
// are not looked at.
class FirstOutputNotFinite : public LockstepObserver {
 public:
  // Null asks for all.
  explicit FirstOutputNotFinite(std::function<bool(const Cell&)> asked)
      : asked_(std::move(asked)) {}

  bool Wants(Op /*op*/) const override { return true; }
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;

  const std::optional<Cell>& found() const { return found_; }

 private:
  const std::function<bool(const Cell&)> asked_;
  std::optional<Cell> found_;
};

// Runs the candidates for an observer.
absl::Status ObserveCandidates(const ReplaySetting& setting,
                               const Weights& weights,
                               absl::Span<const Candidate> candidates,
                               Logits logits, absl::string_view what,
                               LockstepObserver& observer);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_KEPT_REPLAYS_H_
