#ifndef EXPLORER_ERROR_NEARER_H_
#define EXPLORER_ERROR_NEARER_H_

#include <utility>

#include "absl/types/span.h"

namespace ulpscope {

// Which of two plans has the smaller errors against the oracle.
enum class Nearer {
  kUnknown,  // a run was stopped
  kPlan,
  kReference,
  kEqual,    // no figure differs
  kDepends,  // on the figure
};

// A KL divergence to be compared with another: below its rounding
// (KlDivergence) it is as near as 0.
double ComparableKl(double kl);

// By figures of the plan and of the reference, all of which have to agree, but
// for those that are equal. A NaN is as far as an infinity.
Nearer NearerBy(absl::Span<const std::pair<double, double>> figures);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_NEARER_H_
