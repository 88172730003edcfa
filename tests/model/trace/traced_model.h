#ifndef TESTS_MODEL_TRACE_TRACED_MODEL_H_
#define TESTS_MODEL_TRACE_TRACED_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/architecture/config.h"
#include "model/trace/reference_trace.h"
#include "tests/model/files/trace_bytes.h"

namespace ulpscope {

// The shape of a model, and traces of it that tests write. Two layers, hidden
// size 6, two heads of 4 with one KV head, intermediate size 10, 12 tokens.
ModelConfig TracedModel();

// Three positions.
std::vector<int32_t> TracedTokens();

// first, first + 1, ...
std::vector<float> Counting(size_t count, float first);
RawTensor F32Tensor(std::vector<int64_t> shape, float first);

// All hidden states, each in another shape; the values of state N count up from
// 100 N.
std::map<std::string, RawTensor> TracedStates();

// In the running test's own folder; returns its path.
std::string WriteTrace(const std::map<std::string, RawTensor>& tensors);

absl::StatusOr<ReferenceTrace> LoadTrace(
    const std::string& path,
    const std::vector<int32_t>& tokens = TracedTokens(),
    const std::string& mapping = "");

// "name: reason", each.
std::vector<std::string> NotMeasuredLines(const ReferenceTrace& trace);

}  // namespace ulpscope

#endif  // TESTS_MODEL_TRACE_TRACED_MODEL_H_
