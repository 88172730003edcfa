#ifndef EXPLORER_ATTRIBUTION_ATTRIBUTION_H_
#define EXPLORER_ATTRIBUTION_ATTRIBUTION_H_

#include "absl/status/statusor.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"

namespace ulpscope {

// What is in the baseline counts among what the memory holds. Being stopped is
// no error: `stopped_in` says what is missing.
absl::StatusOr<Attribution> Attribute(const Run& run, const Baseline& baseline,
                                      const AttributionParts& parts = {});

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ATTRIBUTION_H_
