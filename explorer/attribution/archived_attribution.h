#ifndef EXPLORER_ATTRIBUTION_ARCHIVED_ATTRIBUTION_H_
#define EXPLORER_ATTRIBUTION_ARCHIVED_ATTRIBUTION_H_

#include <optional>
#include <vector>

#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/archive.h"
#include "explorer/error/effects.h"
#include "explorer/error/evaluation.h"

namespace ulpscope {

// As of explorer/error/archived_metrics.h; but for repairs, which are outcomes.

inline constexpr int kLayerSplitVersion = 2;
void Visit(Archive& archive, LayerSplit& split);

// A cell of the cause map: Cause without its place.
struct KeptCause {
  Outcome outcome;
  double share = 0, cosine = 0;
  std::optional<ErrorPeak> peak;
  std::vector<double> squares;  // [positions]
};
inline constexpr int kCauseVersion = 3;
void Visit(Archive& archive, KeptCause& cause);

inline constexpr int kCauseSumVersion = 1;
void Visit(Archive& archive, CauseSum& sum);

// A round of timing a repair: of all plans, in the order in which they ran.
struct RepairRound {
  std::vector<TimedRun> runs;
};
inline constexpr int kRepairRoundVersion = 1;
void Visit(Archive& archive, RepairRound& round);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ARCHIVED_ATTRIBUTION_H_
