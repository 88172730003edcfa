#ifndef TESTS_EXPLORER_DIAGNOSIS_DIAGNOSED_MODEL_H_
#define TESTS_EXPLORER_DIAGNOSIS_DIAGNOSED_MODEL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// A checkpoint with its weights, loaded once and kept. What cannot be loaded is
// a failed expectation.
struct OpenedModel {
  Checkpoint checkpoint;
  Weights weights;
};
const OpenedModel& Opened(const std::string& name);
// The same, for a test that changes its weights.
OpenedModel Open(const std::string& name);

enum class TraceKind {
  kOps,         // a .safetensors file: the states, and every op
  kStatesFile,  // its list of states alone
  kFolder,      // of .bin files: states and logits in f32
};

// What DumpTrace writes of the model under the plan, as LoadReferenceTrace
// reads it: no memory is shared with another trace.
ReferenceTrace TraceOf(const std::string& model, absl::string_view plan,
                       const std::vector<int32_t>& tokens, TraceKind kind,
                       bool last_state_normed);

// Every op but scores as a variant of the decoder computes it, and no states.
ReferenceTrace TraceOfVariant(const std::string& model, absl::string_view plan,
                              const std::vector<int32_t>& tokens,
                              const Variant& variant);
ReferenceTrace TraceOfVariant(const OpenedModel& model, absl::string_view plan,
                              const std::vector<int32_t>& tokens,
                              const Variant& variant);

// The trace under a reading, as AlignedTrace's constructor has it.
AlignedTrace Aligned(const ReferenceTrace& trace, size_t num_layers,
                     int state_shift, bool last_state_normed);

struct DiagnosedWith {
  size_t memory = SIZE_MAX;
  std::function<bool()> stop;  // or null
  bool explain_rounding = true;
};

// Against our plan.
Diagnosis DiagnosisOf(const std::string& model, const ReferenceTrace& trace,
                      const DiagnosedWith& options = {},
                      absl::string_view plan = "f32");
Diagnosis DiagnosisOf(const OpenedModel& model, const ReferenceTrace& trace,
                      const DiagnosedWith& options = {},
                      absl::string_view plan = "f32");

// Ids of what was found, but for rounding, which is no mistake.
std::vector<std::string> FoundIn(const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_DIAGNOSIS_DIAGNOSED_MODEL_H_
