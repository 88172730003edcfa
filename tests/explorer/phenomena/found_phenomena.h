#ifndef TESTS_EXPLORER_PHENOMENA_FOUND_PHENOMENA_H_
#define TESTS_EXPLORER_PHENOMENA_FOUND_PHENOMENA_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Of a baseline that is made for them alone.
inline absl::StatusOr<Phenomena> FindPhenomena(
    const Run& run, const Plan& plan, absl::Span<const int32_t> tokens) {
  const Plan oracle = Plan::Oracle(run.weights.layers.size());
  PhenomenaWatch watch(run.weights.layers.size());
  const auto baseline = MakeBaseline(run, plan, oracle, tokens, &watch);
  if (!baseline.ok()) return baseline.status();
  return watch.Found(*baseline);
}

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_PHENOMENA_FOUND_PHENOMENA_H_
