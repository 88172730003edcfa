#ifndef EXPLORER_DIAGNOSIS_ARCHIVED_DIAGNOSIS_H_
#define EXPLORER_DIAGNOSIS_ARCHIVED_DIAGNOSIS_H_

#include <cstddef>
#include <string>

#include "explorer/diagnosis/results.h"
#include "explorer/error/archive.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// As of explorer/error/archived_metrics.h: of what was found, without what was
// asked. A whole diagnosis is kept, or nothing.
inline constexpr int kDiagnosisVersion = 3;
void Visit(Archive& archive, Diagnosis& diagnosis);

// Whether it can be one that was finished, of a trace with so many tokens and a
// model with so many layers.
bool IsWhole(const Diagnosis& diagnosis, size_t num_layers, size_t positions);

// Names the trace's tensors: their places, types, shapes and all values.
std::string FingerprintOf(const ReferenceTrace& trace);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ARCHIVED_DIAGNOSIS_H_
