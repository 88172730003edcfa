#ifndef EXPLORER_DIAGNOSIS_DESCRIBE_H_
#define EXPLORER_DIAGNOSIS_DESCRIBE_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {

// Which points are described: what nothing explains, then what is not
// reproduced, then what differs and causes explain; of each the first of every
// op, and a dozen in all. In the order in which they run; all but `point`,
// `status` and `layers` is left open.
std::vector<PointDescription> PointsToDescribe(
    const std::vector<PointResult>& points);

// Describes these points of a trace, beside replays of the belief, or of its
// bare arithmetic where causes explain them.
absl::StatusOr<std::vector<PointDescription>> DescribePoints(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const Belief& belief,
    const std::vector<PointResult>& points);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_DESCRIBE_H_
