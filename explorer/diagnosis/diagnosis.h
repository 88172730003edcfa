#ifndef EXPLORER_DIAGNOSIS_DIAGNOSIS_H_
#define EXPLORER_DIAGNOSIS_DIAGNOSIS_H_

#include <functional>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// The checkpoint is opened for weights that are rounded otherwise. `on_stage`,
// unless null, gets what there is after each part: later failures do not take
// that away.
absl::StatusOr<Diagnosis> Diagnose(
    const Run& run, const Checkpoint& checkpoint, const Plan& plan,
    const ReferenceTrace& trace, bool explain_rounding = true,
    const std::function<void(const Diagnosis&)>& on_stage = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_DIAGNOSIS_H_
