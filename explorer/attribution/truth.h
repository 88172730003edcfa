#ifndef EXPLORER_ATTRIBUTION_TRUTH_H_
#define EXPLORER_ATTRIBUTION_TRUTH_H_

#include "absl/status/statusor.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effect.h"
#include "explorer/error/nearer.h"
#include "explorer/error/run.h"

namespace ulpscope {

// How far a plan, and the plan that it is compared with, are from the oracle.
struct Truth {
  Effect plan, reference;

  // By rel_l2, logits_rel_l2 and kl.
  Nearer nearer() const;
};

// Of a baseline whose reference is not the oracle, as far as it came.
absl::StatusOr<Truth> FindTruth(const Run& run, const Baseline& baseline);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_TRUTH_H_
