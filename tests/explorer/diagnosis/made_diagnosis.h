#ifndef TESTS_EXPLORER_DIAGNOSIS_MADE_DIAGNOSIS_H_
#define TESTS_EXPLORER_DIAGNOSIS_MADE_DIAGNOSIS_H_

#include <cstddef>

#include "explorer/diagnosis/results.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Diagnoses put together by hand: figures are random and all different, and
// what they say goes together.

// A bf16 trace with `num_layers` layers of `ops` points each, of which all are
// explained by torch-bf16; ours is f32 and nearer to the oracle.
Diagnosis CleanDiagnosis(size_t num_layers, Random& random);

// The seed report's: a clean one of 24 layers, with the three causes of its
// growth.
Diagnosis SeedDiagnosis(Random& random);

// The trace is NaN at the point and at all behind it, of which only the first
// is judged. (The table of errors stays.)
void MakeNotFinite(Diagnosis& diagnosis, size_t layer, Op op);

// The point differs, and no cause explains it.
void MakeUnexplained(Diagnosis& diagnosis, size_t layer, Op op);

// A cause of the trace's program that explains all that differs from there on.
DiagnosedCause MadeCause(const char* id, size_t layer, Op op, Random& random);

// The points from the cause's first one on of its op differ, and are explained
// by it.
void AddCause(Diagnosis& diagnosis, const DiagnosedCause& cause);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_DIAGNOSIS_MADE_DIAGNOSIS_H_
