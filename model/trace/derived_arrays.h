#ifndef MODEL_TRACE_DERIVED_ARRAYS_H_
#define MODEL_TRACE_DERIVED_ARRAYS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/trace/trace_files.h"

namespace ulpscope {

// Arrays that are made of a trace's arrays when they are read. Errors are as
// those of TraceArray::read: of the array only, what was expected and found.

// The same array, unpacked at most once: what several are made of.
TraceArray ReadOnce(const TraceArray& array);

// Entry `index` of the first dimension, which has more than that: "x[3]".
TraceArray EntryOf(const TraceArray& array, size_t index);

// One of the parts that lie beside each other in the last dimension: "x
// (k_proj)".
struct ColumnPart {
  std::string name;
  size_t width = 0;
};
TraceArray ColumnsOf(const TraceArray& array,
                     const std::vector<ColumnPart>& parts, size_t part);

// Heads of `head_dim` channels with their halves one behind the other, of heads
// whose halves are interleaved: 0, head_dim / 2, 1, head_dim / 2 + 1, ...
TraceArray HalvesOf(const TraceArray& array, size_t head_dim);

// The sum of arrays of one dtype and shape, element by element, two at least:
// "x + y". It is rounded as a program that computes in that dtype rounds it,
// after each addition, and is F32 (of F64, F64).
TraceArray SumOf(const std::vector<TraceArray>& terms);

}  // namespace ulpscope

#endif  // MODEL_TRACE_DERIVED_ARRAYS_H_
