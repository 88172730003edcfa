#include "explorer/diagnosis/results.h"

#include <algorithm>
#include <cmath>

namespace ulpscope {

bool StateDistance::is_finite() const {
  return std::isfinite(trace_to_oracle) && std::isfinite(ours_to_oracle);
}

bool Diagnosis::differs() const {
  return std::any_of(causes.begin(), causes.end(), [](const auto& cause) {
    return cause.kind == CauseKind::kImplementation ||
           cause.kind == CauseKind::kArithmetic;
  });
}

}  // namespace ulpscope
