#include "model/reference_trace.h"

#include <sys/stat.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/config.h"
#include "model/op.h"
#include "tests/checkpoint_bytes.h"
#include "tests/trace_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Two layers, three positions in most tests. q is 8 wide and k 4.
ModelConfig Config() {
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

const std::vector<int32_t> kTokens = {3, 1, 4};

absl::StatusOr<ReferenceTrace> Load(const std::string& path,
                                    std::vector<int32_t> tokens = kTokens,
                                    const std::string& mapping = "") {
  return LoadReferenceTrace(path, mapping, Config(), tokens);
}

// first, first + 1, ...
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

std::vector<double> Row(const TracedTensor& tensor, size_t row) {
  const Matrix<double> m = tensor.rows.view();
  return {m.Row(row), m.Row(row) + m.cols};
}

std::vector<double> AsRow(size_t count, float first) {
  const std::vector<float> values = Counting(count, first);
  return {values.begin(), values.end()};
}

// "name: reason", each.
std::vector<std::string> NotMeasured(const ReferenceTrace& trace) {
  std::vector<std::string> lines;
  for (const ReferenceTrace::NotMeasured& entry : trace.not_measured) {
    lines.push_back(absl::StrCat(entry.name, ": ", entry.reason));
  }
  return lines;
}

std::string WriteSafetensors(const std::map<std::string, RawTensor>& tensors) {
  return WriteTestFile("trace.safetensors", SafetensorsOf(tensors));
}

// All states, and nothing else.
std::map<std::string, RawTensor> States() {
  return {{"hidden_states.0", F32Tensor({1, 3, 6}, 0)},
          {"hidden_states.1", F32Tensor({3, 6}, 100)},
          {"hidden_states.2", F32Tensor({18}, 200)}};
}

TEST(ReferenceTraceTest, ReadsTheFolderOfTheSeedReport) {
  WriteTestFile("after_embeddings.bin", BinBytes(Counting(18, 0)));
  WriteTestFile("after_layer_1.bin", BinBytes(Counting(18, 100)));
  WriteTestFile("after_layer_2.bin", BinBytes(Counting(18, 200)));
  WriteTestFile("final_logits.bin", BinBytes(Counting(12, 300)));
  WriteTestFile("notes.txt", "not a tensor");
  const auto trace = Load(TestFolder());
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasured(*trace), IsEmpty());
  EXPECT_EQ(trace->path, TestFolder());
  EXPECT_FALSE(trace->has_tokens);
  EXPECT_EQ(trace->tokens, kTokens);
  ASSERT_EQ(trace->states.size(), 3u);
  for (const auto& [index, state] : trace->states) {
    EXPECT_EQ(state.rows.rows(), 3u);
    EXPECT_EQ(state.first_position, 0u);
    EXPECT_EQ(state.stored_as, "F32");
    for (size_t t = 0; t < 3; ++t) {
      EXPECT_EQ(Row(state, t), AsRow(6, 100.f * index + 6 * t));
    }
  }
  EXPECT_EQ(trace->states.at(1).name, "after_layer_1");
  const TracedTensor& logits = trace->outputs.at({0, Op::kLmHead});
  EXPECT_EQ(logits.rows.rows(), 1u);
  EXPECT_EQ(logits.first_position, 2u);
  EXPECT_EQ(Row(logits, 0), AsRow(12, 300));
}

TEST(ReferenceTraceTest, ReadsStatesOfAnyOfTheShapesTheyComeIn) {
  const auto trace = Load(WriteSafetensors(States()));
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasured(*trace), IsEmpty());
  ASSERT_EQ(trace->states.size(), 3u);
  for (const auto& [index, state] : trace->states) {
    EXPECT_EQ(Row(state, 2), AsRow(6, 100.f * index + 12));
  }
}

}  // namespace
}  // namespace ulpscope
