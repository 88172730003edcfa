#ifndef EXPLORER_REPORT_ATTRIBUTION_RESULTS_H_
#define EXPLORER_REPORT_ATTRIBUTION_RESULTS_H_

#include "explorer/attribution/explain.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// "context", "sentences", "truth", "effect", "positions", "layers",
// "layer_ops", "cells" (the cause map), "repairs" (of a cell, an op, a group or
// a layer), the minimal repair, VerdictTables and PhenomenaTables.
Results AttributionTables(const RunInfo& info, const Explanation& explanation);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ATTRIBUTION_RESULTS_H_
