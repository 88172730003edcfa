#include "tests/model/trace/traced_model.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/architecture/config.h"
#include "model/trace/reference_trace.h"
#include "tests/model/files/checkpoint_bytes.h"
#include "tests/model/files/trace_bytes.h"

namespace ulpscope {

ModelConfig TracedModel() {
  ModelConfig config;
  config.vocab_size = 12;
  config.hidden_size = 6;
  config.intermediate_size = 10;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = 4;
  config.qk_norm = true;
  return config;
}

std::vector<int32_t> TracedTokens() { return {3, 1, 4}; }

std::vector<float> Counting(size_t count, float first) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

RawTensor F32Tensor(std::vector<int64_t> shape, float first) {
  size_t count = 1;
  for (const int64_t n : shape) count *= static_cast<size_t>(n);
  return {"F32", std::move(shape), F32Bytes(Counting(count, first))};
}

std::map<std::string, RawTensor> TracedStates() {
  return {{"hidden_states.0", F32Tensor({1, 3, 6}, 0)},
          {"hidden_states.1", F32Tensor({3, 6}, 100)},
          {"hidden_states.2", F32Tensor({18}, 200)}};
}

std::string WriteTrace(const std::map<std::string, RawTensor>& tensors) {
  return WriteTestFile("trace.safetensors", SafetensorsOf(tensors));
}

absl::StatusOr<ReferenceTrace> LoadTrace(const std::string& path,
                                         const std::vector<int32_t>& tokens,
                                         const std::string& mapping) {
  return LoadReferenceTrace(path, mapping, TracedModel(), tokens);
}

std::vector<std::string> NotMeasuredLines(const ReferenceTrace& trace) {
  std::vector<std::string> lines;
  for (const ReferenceTrace::NotMeasured& entry : trace.not_measured) {
    lines.push_back(absl::StrCat(entry.name, ": ", entry.reason));
  }
  return lines;
}

}  // namespace ulpscope
