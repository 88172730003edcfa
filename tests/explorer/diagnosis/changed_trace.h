#ifndef TESTS_EXPLORER_DIAGNOSIS_CHANGED_TRACE_H_
#define TESTS_EXPLORER_DIAGNOSIS_CHANGED_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "explorer/diagnosis/results.h"
#include "kernels/base/matrix.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

inline constexpr size_t kLayers = 8;  // of both models
inline const std::vector<int32_t> kTokens = {97, 1, 130, 299, 0};
inline constexpr const char* kModels[] = {"synthetic:tiny",
                                          "synthetic:tiny-qwen3"};

// Every tensor of the trace.
template <typename Fn>
void ForEachTensor(ReferenceTrace& trace, const Fn& fn) {
  for (auto& [place, tensor] : trace.outputs) fn(tensor);
  for (auto& [place, tensor] : trace.scores) fn(tensor);
  for (auto& [index, tensor] : trace.states) fn(tensor);
}

// Every value of a tensor.
template <typename Fn>
void ForEachValue(TracedTensor& tensor, const Fn& fn) {
  const Matrix<double> rows = tensor.rows.view();
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t c = 0; c < rows.cols; ++c) fn(rows.Row(r)[c]);
  }
}

// What it is after, where a trace has a list of states alone.
void KeepStates(ReferenceTrace& trace, const std::vector<size_t>& indices);

// Of synthetic:tiny and kTokens: hidden_states[n] is what was after layer n +
// shift.
ReferenceTrace Shifted(const char* plan, int shift, bool normed);

// "rope@3", the first point that nothing explains; else empty.
std::string FirstUnexplained(const Diagnosis& d);

// A diagnosis that ran to its end and found nothing.
void ExpectCorrect(const Diagnosis& d);

// Sums of n < 2^10 squares in two orders differ by 2 n roundings at most.
constexpr double SumTolerance(double expected) { return expected * 0x1p-42; }

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_DIAGNOSIS_CHANGED_TRACE_H_
