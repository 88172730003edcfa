#ifndef EXPLORER_ATTRIBUTION_RANGE_SEARCH_H_
#define EXPLORER_ATTRIBUTION_RANGE_SEARCH_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"

namespace ulpscope {

// Of a list of layers: [begin, end).
struct IndexRange {
  size_t begin = 0, end = 0;
};

// Looks for the shortest range of `size` that leaves an error of at most
// `limit`, as all of it does: that leaves `error`.
struct RangeTask {
  size_t size = 0;
  double limit = 0;
  double error = 0;
};

struct TaskRange {
  size_t task = 0;
  IndexRange range;
};

struct KeptRange {
  IndexRange range;
  double error = 0;
};

// The errors of ranges, in their order.
using MeasureRanges = std::function<absl::StatusOr<std::vector<double>>(
    const std::vector<TaskRange>& ranges)>;

// For each task, measured together: the shortest start of the list that keeps
// the limit without its needless beginning, or the shortest end without its
// needless last part, whichever is shorter. Each end is found among a few
// points at a time, where a point counts only if all that were measured beyond
// it keep the limit too: a range that keeps it by luck, which a longer one
// loses again, is not taken, as far as it was seen.
absl::StatusOr<std::vector<KeptRange>> ShortestRanges(
    const std::vector<RangeTask>& tasks, const MeasureRanges& measure);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_RANGE_SEARCH_H_
