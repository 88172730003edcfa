#ifndef EXPLORER_REPORT_TIMINGS_TABLE_H_
#define EXPLORER_REPORT_TIMINGS_TABLE_H_

#include <string>
#include <vector>

#include "explorer/error/evaluation.h"
#include "explorer/results/schema.h"

namespace ulpscope {

struct TimedPlan {
  std::string plan;  // canonical text
  const PlanTiming* timing;
};

// "timings", a row per plan, phase and run: what each took, in seconds.
Table TimingsTable(const std::string& about,
                   const std::vector<TimedPlan>& plans);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TIMINGS_TABLE_H_
