// Traces damaged in every place: a status or tensors that are not measured, but
// never a crash or a value that the file does not have. Under AddressSanitizer
// and UBSan too.

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "model/trace/reference_trace.h"
#include "tests/model/files/checkpoint_bytes.h"
#include "tests/model/files/trace_bytes.h"
#include "tests/model/trace/traced_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

std::string ReadTestData(const std::string& name) {
  std::ifstream file(TestDataPath(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Kind {
  std::string file;
  std::string bytes;
  // Of a container: damage in its directory is a status.
  bool is_container = false;
};

std::vector<Kind> Kinds() {
  const std::vector<float> values = Counting(18, 1);
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["input_ids"] = {"I64", {3}, I64Bytes({3, 1, 4})};
  tensors["model.norm"] = {"BF16", {1, 6}, std::string(12, '@')};
  std::map<std::string, std::string> arrays;
  for (const int n : {0, 1, 2}) {
    arrays[absl::StrCat("hidden_states.", n, ".npy")] =
        NpyBytes("<f4", {3, 6}, F32Bytes(values));
  }
  const std::string layer = "model.layers.0.";
  const std::map<std::string, RawTensor> fused = {
      {"hidden_states", F32Tensor({3, 3, 6}, 0)},
      {layer + "self_attn.qkv_proj", F32Tensor({1, 3, 16}, 0)},
      {layer + "hidden_states", F32Tensor({3, 6}, 0)},
      {layer + "residual", F32Tensor({3, 6}, 0)}};
  return {
      {"after_layer_1.bin", BinBytes(values)},
      {"hidden_states.1.npy", NpyBytes("<f4", {3, 6}, F32Bytes(values))},
      {"a.safetensors", SafetensorsOf(tensors), true},
      {"fused.safetensors", SafetensorsOf(fused), true},
      {"b.npz", NpzBytes(arrays), true},
      {"zip64.npz", NpzBytes(arrays, true), true},
      {"deflated.npz", ReadTestData("trace/deflated.npz"), true},
  };
}

class MalformedTraceTest : public testing::TestWithParam<size_t> {
 protected:
  Kind kind() const { return Kinds()[GetParam()]; }
};

// Thousands of times: a file that is overwritten goes to the disk each time.
std::string WriteFresh(const std::string& name, const std::string& bytes) {
  std::remove(absl::StrCat(TestFolder(), "/", name).c_str());
  return WriteTestFile(name, bytes);
}

// What is measured must be whole.
void ExpectWhole(const absl::StatusOr<ReferenceTrace>& trace) {
  if (!trace.ok()) {
    EXPECT_FALSE(trace.status().message().empty());
    return;
  }
  EXPECT_FALSE(trace->empty());
  for (const auto& [index, state] : trace->states) {
    EXPECT_GT(state.rows.rows(), 0u);
    EXPECT_EQ(state.rows.rows() + state.first_position, trace->tokens.size());
    EXPECT_EQ(state.rows.view().cols, 6u);
  }
}

TEST_P(MalformedTraceTest, IsReadUndamaged) {
  const auto trace = LoadTrace(WriteTestFile(kind().file, kind().bytes));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->states.size(), kind().is_container ? 3u : 1u);
}

TEST_P(MalformedTraceTest, TruncatedAnywhere) {
  const std::string bytes = kind().bytes;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto trace =
        LoadTrace(WriteFresh(kind().file, bytes.substr(0, size)));
    EXPECT_FALSE(trace.ok()) << "after " << size << " bytes";
  }
}

TEST_P(MalformedTraceTest, AnyByteFlipped) {
  const std::string bytes = kind().bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x80}) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ flip);
      SCOPED_TRACE(absl::StrCat("byte ", i, " ^ ", flip));
      const std::string path = WriteFresh(kind().file, flipped);
      ExpectWhole(LoadTrace(path));
      ExpectWhole(LoadTrace(path, {}));
    }
  }
}

// Of a batch, whatever its header claims of the sizes.
TEST(MalformedBatchTest, AnyByteFlipped) {
  const std::string bytes = SafetensorsOf(
      {{"input_ids", {"I64", {2, 3}, I64Bytes({3, 1, 4, 5, 6, 7})}},
       {"hidden_states", F32Tensor({3, 2, 3, 6}, 0)},
       {"logits", F32Tensor({2, 1, 12}, 0)}});
  const auto load = [](const std::string& path) {
    return LoadReferenceTrace(path, "", TracedModel(), {}, 1);
  };
  ASSERT_THAT(load(WriteFresh("batch.safetensors", bytes)), IsOk());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x04, 0x80}) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ flip);
      SCOPED_TRACE(absl::StrCat("byte ", i, " ^ ", flip));
      ExpectWhole(load(WriteFresh("batch.safetensors", flipped)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, MalformedTraceTest, testing::Range(size_t{0}, Kinds().size()),
    [](const testing::TestParamInfo<size_t>& c) {
      return absl::StrReplaceAll(Kinds()[c.param].file, {{".", "_"}});
    });

}  // namespace
}  // namespace ulpscope
