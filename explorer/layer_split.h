#ifndef EXPLORER_LAYER_SPLIT_H_
#define EXPLORER_LAYER_SPLIT_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "explorer/attribution.h"
#include "explorer/effects.h"
#include "model/lockstep.h"
#include "model/plan.h"

namespace ulpscope {

// Splits the plan's error after each layer. `states` is the plan's run, [0 ...
// num_layers]. Appends layer by layer; Cancelled, with a message that says
// where, if stopped.
absl::Status SplitLayers(const RunSetting& setting, const OracleResults& oracle,
                         const Plan& plan, absl::Span<const StreamState> states,
                         std::vector<LayerSplit>& splits);

}  // namespace ulpscope

#endif  // EXPLORER_LAYER_SPLIT_H_
