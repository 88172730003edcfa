// What LoadReferenceTrace does not measure, each with its reason.

#include <cstddef>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/trace/reference_trace.h"
#include "tests/model/files/checkpoint_bytes.h"
#include "tests/model/files/trace_bytes.h"
#include "tests/model/trace/traced_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct NotMeasuredCase {
  std::string name;
  std::map<std::string, RawTensor> tensors;  // beside the states
  std::vector<std::string> lines;
};

void PrintTo(const NotMeasuredCase& c, std::ostream* out) { *out << c.name; }

class NotMeasuredTest : public testing::TestWithParam<NotMeasuredCase> {};

TEST_P(NotMeasuredTest, SaysWhy) {
  std::map<std::string, RawTensor> tensors = GetParam().tensors;
  for (const auto& [name, tensor] : TracedStates())
    tensors.emplace(name, tensor);
  const auto trace = LoadTrace(WriteTrace(tensors));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(NotMeasuredLines(*trace), GetParam().lines);
  EXPECT_TRUE(trace->outputs.empty());
  EXPECT_TRUE(trace->scores.empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, NotMeasuredTest,
    testing::Values(
        NotMeasuredCase{
            "TransposedLogits",
            {{"logits", F32Tensor({12, 3}, 0)}},
            {"logits: expected at most 3 positions x vocab_size 12, found "
             "[12, 3]"}},
        NotMeasuredCase{
            "OtherWidth",
            {{"model.norm", F32Tensor({3, 7}, 0)}},
            {"model.norm: expected at most 3 positions x hidden_size 6, found "
             "[3, 7]"}},
        NotMeasuredCase{"NoValues",
                        {{"model.norm", {"F32", {0, 6}, ""}}},
                        {"model.norm: expected at most 3 positions x "
                         "hidden_size 6, found [0, 6]"}},
        NotMeasuredCase{
            "OtherDtype",
            {{"model.norm", {"I32", {1, 6}, std::string(24, '\0')}}},
            {"model.norm: expected F64, F32, F16 or BF16, found I32 [1, 6]"}},
        NotMeasuredCase{
            "OtherNumberOfHeads",
            {{"model.layers.0.self_attn.attention_weights",
              F32Tensor({3, 3, 3}, 0)},
             {"model.layers.1.self_attn.attention_weights",
              F32Tensor({2, 9}, 0)}},
            {"model.layers.0.self_attn.attention_weights: expected "
             "num_attention_heads 2 x 3 positions x 3 positions, found "
             "[3, 3, 3]",
             "model.layers.1.self_attn.attention_weights: expected "
             "num_attention_heads 2 x 3 positions x 3 positions, found "
             "[2, 9]"}},
        NotMeasuredCase{
            "RopeWithoutK",
            {{"model.layers.0.self_attn.q_rope", F32Tensor({3, 8}, 0)},
             {"model.layers.1.self_attn.q_rope", F32Tensor({3, 8}, 0)}},
            {"model.layers.0.self_attn.q_rope: "
             "model.layers.0.self_attn.k_rope is not in the trace",
             "model.layers.1.self_attn.q_rope: "
             "model.layers.1.self_attn.k_rope is not in the trace"}},
        NotMeasuredCase{
            "RopeOfOtherHeads",
            {{"model.layers.0.self_attn.q_rope", F32Tensor({3, 8}, 0)},
             {"model.layers.0.self_attn.k_rope", F32Tensor({3, 8}, 0)},
             {"model.layers.1.self_attn.q_rope", F32Tensor({8, 3}, 0)},
             {"model.layers.1.self_attn.k_rope", F32Tensor({3, 4}, 0)}},
            {"model.layers.0.self_attn.q_rope: "
             "model.layers.0.self_attn.k_rope: expected 3 positions x "
             "num_key_value_heads 1 x head_dim 4, or the heads first, found "
             "[3, 8]",
             "model.layers.1.self_attn.q_rope: "
             "model.layers.1.self_attn.q_rope: expected 3 positions x "
             "num_attention_heads 2 x head_dim 4, or the heads first, found "
             "[8, 3]"}},
        NotMeasuredCase{
            "LayerOfALongerModel",
            {{"model.layers.2", F32Tensor({3, 6}, 0)}},
            {"model.layers.2: expected a layer below num_hidden_layers 2, "
             "found 2"}},
        NotMeasuredCase{
            "UnknownName",
            {{"blk.0.attn_q", F32Tensor({3, 8}, 0)}},
            {"blk.0.attn_q: not a name that is known; --mapping can rename "
             "it"}},
        NotMeasuredCase{
            "TwoSpellings",
            {{"after_layer_1", F32Tensor({3, 6}, 0)}},
            {"after_layer_1: a name of hidden_states.1, which is read from "
             "hidden_states.1"}},
        NotMeasuredCase{"TokensThatAreNone",
                        {{"input_ids", F32Tensor({3}, 0)}},
                        {"input_ids: expected I64 or I32, found F32 [3]"}}),
    [](const testing::TestParamInfo<NotMeasuredCase>& c) {
      return c.param.name;
    });

TEST(UnmeasuredTraceTest, AModelWithoutQkNormHasNone) {
  ModelConfig config = TracedModel();
  config.qk_norm = false;
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["model.layers.0.self_attn.q_norm"] = F32Tensor({3, 8}, 0);
  tensors["model.layers.1.self_attn.q_norm"] = F32Tensor({3, 8}, 0);
  const auto trace =
      LoadReferenceTrace(WriteTrace(tensors), "", config, TracedTokens());
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("model.layers.0.self_attn.q_norm: the model has no "
                          "q_norm",
                          "model.layers.1.self_attn.q_norm: the model has no "
                          "q_norm"));
}

TEST(UnmeasuredTraceTest, MissingStatesAreNotMeasured) {
  const auto trace =
      LoadTrace(WriteTrace({{"hidden_states.1", F32Tensor({3, 6}, 0)}}));
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("hidden_states.0: not in the trace",
                          "hidden_states.2: not in the trace"));
}

TEST(UnmeasuredTraceTest, NamesOnlySoManyForeignTensors) {
  std::map<std::string, RawTensor> tensors = TracedStates();
  for (int i = 0; i < 320; ++i) {
    tensors[absl::StrCat("foreign.", i)] = F32Tensor({1}, 0);
  }
  const auto trace = LoadTrace(WriteTrace(tensors));
  ASSERT_THAT(trace, IsOk());
  ASSERT_EQ(trace->not_measured.size(), 21u);
  EXPECT_EQ(trace->not_measured.back().name, "and 300 more");
}

TEST(UnmeasuredTraceTest, BrokenBinFilesAreNotMeasured) {
  const std::string good = BinBytes(Counting(18, 0));
  WriteTestFile("after_embeddings.bin", good);
  WriteTestFile("after_layer_1.bin",
                Swapped(good.substr(0, 4), 4) + Swapped(good.substr(4), 4));
  WriteTestFile("after_layer_2.bin", good.substr(0, good.size() - 5));
  WriteTestFile("final_logits.bin", "");
  const auto trace = LoadTrace(TestFolder());
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->states.size(), 1u);
  EXPECT_THAT(
      NotMeasuredLines(*trace),
      ElementsAre(
          "after_layer_1: expected a little-endian int32 count of 18, as 76 "
          "bytes hold after it, found 301989888: the file is big-endian",
          "after_layer_2: expected a little-endian int32 count of 16, as 71 "
          "bytes hold after it, found 18: the file is truncated or of another "
          "kind",
          AllOf(HasSubstr("final_logits: "), HasSubstr("file is empty"))));
}

// An array that would unpack to far more than the model's, as a zip bomb does.
TEST(UnmeasuredTraceTest, ABombIsNotUnpacked) {
  const std::string state = NpyBytes("<f4", {3, 6}, F32Bytes(Counting(18, 0)));
  std::string npz = NpzBytes({{"hidden_states.0.npy", state},
                              {"hidden_states.1.npy", std::string(70000, 'x')},
                              {"hidden_states.2.npy", state}});
  size_t entry = npz.find("PK\x01\x02");
  entry = npz.find("PK\x01\x02", entry + 1);
  npz[entry + 10] = 8;                                   // deflated
  npz.replace(entry + 24, 4, Encode32((64 << 20) + 1));  // unpacked size
  const auto trace = LoadTrace(WriteTestFile("a.npz", npz));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->states.size(), 2u);
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("hidden_states.1: expected at most 67108864 unpacked "
                          "bytes, found 67108865"));
}

TEST(UnmeasuredTraceTest, AnotherModelsDimensionsAreNothingToMeasure) {
  EXPECT_THAT(
      LoadTrace(WriteTrace({{"hidden_states.0", F32Tensor({1, 3, 9}, 0)},
                            {"hidden_states.1", F32Tensor({1, 3, 9}, 0)},
                            {"foreign", F32Tensor({3, 6}, 0)}})),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("trace.safetensors: expected hidden states or "
                               "outputs of this model, found none"),
                     HasSubstr("\"hidden_states.0\": expected 3 positions x "
                               "hidden_size 6, found [1, 3, 9]"),
                     HasSubstr("\"foreign\": not a name that is known"))));
}

}  // namespace
}  // namespace ulpscope
