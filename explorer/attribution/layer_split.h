#ifndef EXPLORER_ATTRIBUTION_LAYER_SPLIT_H_
#define EXPLORER_ATTRIBUTION_LAYER_SPLIT_H_

#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/baseline.h"

namespace ulpscope {

// Splits the plan's error after each layer. Appends layer by layer; Cancelled,
// with a message that says where, if stopped.
absl::Status SplitLayers(const Run& run, const Baseline& baseline,
                         std::vector<LayerSplit>& splits);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_LAYER_SPLIT_H_
