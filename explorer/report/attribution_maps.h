#ifndef EXPLORER_REPORT_ATTRIBUTION_MAPS_H_
#define EXPLORER_REPORT_ATTRIBUTION_MAPS_H_

#include <string>

#include "explorer/attribution/attribution.h"
#include "explorer/report/run_info.h"

namespace ulpscope {

// The maps of cells as sections of a report: a row per layer of
// RunInfo::layers, a column per op, on a log scale, at most 120 columns wide.
std::string CauseMap(const RunInfo& info, const Attribution& attribution);
std::string RepairMap(const RunInfo& info, const Attribution& attribution);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ATTRIBUTION_MAPS_H_
