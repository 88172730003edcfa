#include "explorer/attribution/range_search.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ulpscope {
namespace {

// Lengths that are measured at once between one that fails and one that keeps.
constexpr size_t kPoints = 4;

// Shortens a task's range from one side, then from the other.
class Narrowing {
 public:
  Narrowing(size_t task, const RangeTask& of, bool end_first)
      : task_(task), limit_(of.limit), end_first_(end_first) {
    kept_ = {{0, of.size}, of.error};
    lengths_ = {0, of.size};
  }

  bool done() const { return sides_ == 2; }
  size_t task() const { return task_; }
  const KeptRange& kept() const { return kept_; }

  // The lengths to measure next, ascending, as ranges.
  std::vector<TaskRange> Next() {
    points_.clear();
    const size_t gap = lengths_.keeps - lengths_.fails;
    for (size_t i = 1; i <= kPoints; ++i) {
      const size_t length = lengths_.fails + gap * i / (kPoints + 1);
      if (length > lengths_.fails && length < lengths_.keeps &&
          (points_.empty() || length > points_.back())) {
        points_.push_back(length);
      }
    }
    std::vector<TaskRange> ranges;
    for (const size_t length : points_) ranges.push_back({task_, Of(length)});
    return ranges;
  }

  // The errors of what Next gave.
  void Learn(const double* errors) {
    for (size_t i = points_.size(); i-- > 0;) {
      if (!(errors[i] <= limit_)) {
        lengths_.fails = points_[i];
        break;
      }
      lengths_.keeps = points_[i];
      best_ = {Of(points_[i]), errors[i]};
      has_best_ = true;
    }
    if (lengths_.keeps - lengths_.fails > 1) return;
    if (has_best_) kept_ = best_;
    has_best_ = false;
    ++sides_;
    lengths_ = {0, kept_.range.end - kept_.range.begin};
    if (lengths_.keeps == 1) sides_ = 2;
  }

 private:
  struct Lengths {
    size_t fails, keeps;
  };

  IndexRange Of(size_t length) const {
    const bool end_moves = end_first_ == (sides_ == 0);
    return end_moves ? IndexRange{kept_.range.begin, kept_.range.begin + length}
                     : IndexRange{kept_.range.end - length, kept_.range.end};
  }

  size_t task_;
  double limit_;
  bool end_first_;
  size_t sides_ = 0;  // that are done
  KeptRange kept_;    // when this side was begun
  Lengths lengths_ = {0, 0};
  KeptRange best_;
  bool has_best_ = false;
  std::vector<size_t> points_;
};

}  // namespace

absl::StatusOr<std::vector<KeptRange>> ShortestRanges(
    const std::vector<RangeTask>& tasks, const MeasureRanges& measure) {
  std::vector<Narrowing> narrowings;
  for (size_t i = 0; i < tasks.size(); ++i) {
    for (const bool end_first : {true, false}) {
      narrowings.emplace_back(i, tasks[i], end_first);
    }
  }
  for (;;) {
    std::vector<TaskRange> ranges;
    std::vector<std::pair<Narrowing*, size_t>>
        asked;  // the first range of each
    for (Narrowing& narrowing : narrowings) {
      if (narrowing.done()) continue;
      const std::vector<TaskRange> next = narrowing.Next();
      asked.emplace_back(&narrowing, ranges.size());
      ranges.insert(ranges.end(), next.begin(), next.end());
    }
    if (asked.empty()) break;
    std::vector<double> errors;
    if (!ranges.empty()) {
      auto measured = measure(ranges);
      if (!measured.ok()) return measured.status();
      errors = *std::move(measured);
    }
    for (const auto& [narrowing, first] : asked) {
      narrowing->Learn(errors.data() + first);
    }
  }
  std::vector<KeptRange> shortest(tasks.size());
  std::vector<bool> known(tasks.size(), false);
  for (const Narrowing& narrowing : narrowings) {
    const KeptRange& kept = narrowing.kept();
    KeptRange& best = shortest[narrowing.task()];
    const auto length = [](const KeptRange& range) {
      return range.range.end - range.range.begin;
    };
    if (!known[narrowing.task()] || length(kept) < length(best) ||
        (length(kept) == length(best) && kept.error < best.error)) {
      best = kept;
    }
    known[narrowing.task()] = true;
  }
  return shortest;
}

}  // namespace ulpscope
