#include "explorer/report/mode_schemas.h"

#include <vector>

#include "explorer/report/attribution_results.h"
#include "explorer/report/compare_results.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/merge_results.h"
#include "explorer/report/recommend_results.h"
#include "explorer/report/sweep_results.h"
#include "explorer/report/trace_pair_results.h"
#include "explorer/report/tune_results.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

const std::vector<Results>& ModeSchemas() {
  static const auto* schemas = [] {
    SweepOptions sweep;
    sweep.metric = &RankMetrics()[0];
    return new std::vector<Results>{
        SweepResults({}, sweep, {}),
        AttributionTables({}, {}),
        DiagnosisResults({}, "", {}),
        TracePairResults({}, {}),
        TuneResults({}, {}),
        RecommendResults({}, {}, {}),
        ComparisonResults({}, nullptr, nullptr, {}, {}),
        MergeResults("", {})};
  }();
  return *schemas;
}

}  // namespace ulpscope
