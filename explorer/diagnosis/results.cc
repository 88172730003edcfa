#include "explorer/diagnosis/results.h"

#include <algorithm>

namespace ulpscope {

bool Diagnosis::differs() const {
  return std::any_of(causes.begin(), causes.end(), [](const auto& cause) {
    return cause.kind == CauseKind::kImplementation ||
           cause.kind == CauseKind::kArithmetic;
  });
}

}  // namespace ulpscope
