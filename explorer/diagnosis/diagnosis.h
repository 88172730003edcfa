#ifndef EXPLORER_DIAGNOSIS_DIAGNOSIS_H_
#define EXPLORER_DIAGNOSIS_DIAGNOSIS_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

struct DiagnosisOptions {
  size_t memory = SIZE_MAX;    // LockstepOptions
  std::function<bool()> stop;  // the same
  bool explain_rounding = true;
};

// The checkpoint is opened for weights that are rounded otherwise.
absl::StatusOr<Diagnosis> Diagnose(const Checkpoint& checkpoint,
                                   const Weights& weights, const Plan& plan,
                                   const ReferenceTrace& trace,
                                   const DiagnosisOptions& options,
                                   Parallel& parallel);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_DIAGNOSIS_H_
