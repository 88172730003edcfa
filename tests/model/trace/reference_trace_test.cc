#include "model/trace/reference_trace.h"

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
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "tests/model/files/checkpoint_bytes.h"
#include "tests/model/files/trace_bytes.h"
#include "tests/model/trace/traced_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<double> Row(const TracedTensor& tensor, size_t row) {
  const Matrix<double> m = tensor.rows.view();
  return {m.Row(row), m.Row(row) + m.cols};
}

std::vector<double> AsRow(size_t count, float first) {
  const std::vector<float> values = Counting(count, first);
  return {values.begin(), values.end()};
}

TEST(ReferenceTraceTest, ReadsTheFolderOfTheSeedReport) {
  WriteTestFile("after_embeddings.bin", BinBytes(Counting(18, 0)));
  WriteTestFile("after_layer_1.bin", BinBytes(Counting(18, 100)));
  WriteTestFile("after_layer_2.bin", BinBytes(Counting(18, 200)));
  WriteTestFile("final_logits.bin", BinBytes(Counting(12, 300)));
  WriteTestFile("notes.txt", "not a tensor");
  const auto trace = LoadTrace(TestFolder());
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
  EXPECT_EQ(trace->path, TestFolder());
  EXPECT_FALSE(trace->has_tokens);
  EXPECT_EQ(trace->tokens, TracedTokens());
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
  const auto trace = LoadTrace(WriteTrace(TracedStates()));
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
  ASSERT_EQ(trace->states.size(), 3u);
  for (const auto& [index, state] : trace->states) {
    EXPECT_EQ(Row(state, 2), AsRow(6, 100.f * index + 12));
  }
}

TEST(ReferenceTraceTest, KnowsEveryOutputByItsNameAndWidth) {
  const std::string layer = "model.layers.1";
  const std::map<std::string, std::pair<Op, std::vector<int64_t>>> outputs = {
      {"model.embed_tokens", {Op::kEmbed, {1, 3, 6}}},
      {layer + ".input_layernorm", {Op::kInputNorm, {3, 6}}},
      {layer + ".self_attn.q_proj", {Op::kQProj, {3, 8}}},
      {layer + ".self_attn.k_proj", {Op::kKProj, {3, 4}}},
      {layer + ".self_attn.v_proj", {Op::kVProj, {1, 3, 4}}},
      {layer + ".self_attn.q_norm", {Op::kQNorm, {1, 3, 2, 4}}},
      {layer + ".self_attn.k_norm", {Op::kKNorm, {1, 3, 1, 4}}},
      {layer + ".self_attn.o_proj.input", {Op::kAv, {3, 2, 4}}},
      {layer + ".self_attn.o_proj", {Op::kOProj, {18}}},
      {layer + ".post_attention_layernorm.input", {Op::kAttnResidual, {3, 6}}},
      {layer + ".post_attention_layernorm", {Op::kPostNorm, {3, 6}}},
      {layer + ".mlp.gate_proj", {Op::kGateProj, {3, 10}}},
      {layer + ".mlp.up_proj", {Op::kUpProj, {3, 10}}},
      {layer + ".mlp.down_proj.input", {Op::kSwiGlu, {3, 10}}},
      {layer + ".mlp.down_proj", {Op::kDownProj, {3, 6}}},
      {layer, {Op::kMlpResidual, {3, 6}}},
      {"model.norm", {Op::kFinalNorm, {3, 6}}},
      {"logits", {Op::kLmHead, {1, 3, 12}}},
  };
  std::map<std::string, RawTensor> tensors;
  float first = 0;
  for (const auto& [name, output] : outputs) {
    tensors[name] = F32Tensor(output.second, first += 1000);
  }
  const auto trace = LoadTrace(WriteTrace(tensors));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->outputs.size(), outputs.size());
  first = 0;
  for (const auto& [name, output] : outputs) {
    first += 1000;
    const size_t at = IsPerLayer(output.first) ? 2 : 0;
    const auto found = trace->outputs.find({at, output.first});
    ASSERT_NE(found, trace->outputs.end()) << name;
    const size_t width = found->second.rows.view().cols;
    EXPECT_EQ(found->second.name, name);
    EXPECT_EQ(found->second.rows.rows(), 3u);
    EXPECT_EQ(Row(found->second, 1), AsRow(width, first + width)) << name;
  }
  // The series that the first layer lacks.
  EXPECT_EQ(trace->not_measured.size(), outputs.size() - 3);
  EXPECT_THAT(NotMeasuredLines(*trace),
              Contains("model.layers.0: not in the trace, which has it of "
                       "other layers"));
}

// [heads, positions, head_dim] as transformers has it, or positions first.
TEST(ReferenceTraceTest, RopeIsQThenKWhicheverComesFirst) {
  const std::string q = "model.layers.0.self_attn.q_rope";
  const std::string k = "model.layers.0.self_attn.k_rope";
  for (const bool heads_first : {false, true}) {
    std::vector<float> values;  // of head h, position t: 100 h + 10 t + i
    for (int a = 0; a < (heads_first ? 2 : 3); ++a) {
      for (int b = 0; b < (heads_first ? 3 : 2); ++b) {
        for (int i = 0; i < 4; ++i) {
          values.push_back(static_cast<float>(
              heads_first ? 100 * a + 10 * b + i : 100 * b + 10 * a + i));
        }
      }
    }
    std::vector<int64_t> shape = {1, 3, 2, 4};
    if (heads_first) shape = {1, 2, 3, 4};
    const auto trace = LoadTrace(
        WriteTrace({{q, {"F32", shape, F32Bytes(values)}},
                    {k, {"F64", {1, 1, 3, 4}, F64Bytes(AsRow(12, 1000))}}}));
    ASSERT_THAT(trace, IsOk());
    const TracedTensor& rope = trace->outputs.at({1, Op::kRope});
    EXPECT_EQ(rope.stored_as, "F32, F64");
    EXPECT_EQ(rope.name, q + ", " + k);
    EXPECT_THAT(Row(rope, 2), ElementsAre(20, 21, 22, 23, 120, 121, 122, 123,
                                          1008, 1009, 1010, 1011));
  }
}

TEST(ReferenceTraceTest, WithAsManyHeadsAsPositionsTheyComeFirst) {
  const auto trace = LoadTrace(
      WriteTrace(
          {{"model.layers.0.self_attn.q_rope", F32Tensor({2, 2, 4}, 0)},
           {"model.layers.0.self_attn.k_rope", F32Tensor({1, 2, 4}, 100)}}),
      {3, 1});
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(Row(trace->outputs.at({1, Op::kRope}), 1),
              ElementsAre(8, 9, 10, 11, 12, 13, 14, 15, 104, 105, 106, 107));
}

TEST(ReferenceTraceTest, ScoresAreARowPerHeadAndPosition) {
  const auto trace =
      LoadTrace(WriteTrace({{"model.layers.0.self_attn.attention_scores",
                             F32Tensor({1, 2, 3, 3}, 0)},
                            {"model.layers.1.self_attn.attention_weights",
                             F32Tensor({1, 2, 3, 3}, 50)}}));
  ASSERT_THAT(trace, IsOk());
  const TracedTensor& scores = trace->scores.at({1, Op::kQk});
  EXPECT_EQ(scores.rows.rows(), 6u);
  EXPECT_THAT(Row(scores, 1 * 3 + 2), ElementsAre(15, 16, 17));
  EXPECT_THAT(Row(trace->scores.at({2, Op::kSoftmax}), 0),
              ElementsAre(50, 51, 52));
  EXPECT_TRUE(trace->outputs.empty());
}

TEST(ReferenceTraceTest, WidensEveryDtypeExactly) {
  const std::vector<double> wide = {0.1,    -0.0,     1e300,
                                    5e-324, HUGE_VAL, 1 + 0x1p-52};
  const std::vector<float> narrow = {0.1f, -0.f, 1e38f, 1e-45f, -HUGE_VALF, 3};
  std::vector<double> of_narrow(narrow.begin(), narrow.end());
  // 1, -0, the largest, the smallest subnormal, -infinity, 1 + ulp.
  const std::vector<uint16_t> half = {0x3C00, 0x8000, 0x7BFF,
                                      0x0001, 0xFC00, 0x3C01};
  const std::vector<uint16_t> brain = {0x3F80, 0x8000, 0x7F7F,
                                       0x0001, 0xFF80, 0x3F81};
  const auto trace =
      LoadTrace(WriteTrace({{"hidden_states.0", {"F64", {6}, F64Bytes(wide)}},
                            {"hidden_states.1", {"F32", {6}, F32Bytes(narrow)}},
                            {"hidden_states.2", {"F16", {6}, Bytes16(half)}},
                            {"model.norm", {"BF16", {6}, Bytes16(brain)}}}),
                {7});
  ASSERT_THAT(trace, IsOk());
  const auto expect = [](const TracedTensor& tensor, const char* dtype,
                         const std::vector<double>& values) {
    EXPECT_EQ(tensor.stored_as, dtype);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(Row(tensor, 0)[i], values[i]) << dtype << " " << i;
      EXPECT_EQ(std::signbit(Row(tensor, 0)[i]), std::signbit(values[i]));
    }
  };
  expect(trace->states.at(0), "F64", wide);
  expect(trace->states.at(1), "F32", of_narrow);
  expect(trace->states.at(2), "F16",
         {1, -0.0, 65504, 0x1p-24, -HUGE_VAL, 1 + 0x1p-10});
  expect(trace->outputs.at({0, Op::kFinalNorm}), "BF16",
         {1, -0.0, 0x1.FEp127, 0x1p-133, -HUGE_VAL, 1 + 0x1p-7});
}

TEST(ReferenceTraceTest, KeepsNanAndInfinity) {
  std::map<std::string, RawTensor> tensors = TracedStates();
  std::vector<float> values(18, std::numeric_limits<float>::quiet_NaN());
  values[7] = -HUGE_VALF;
  tensors["hidden_states.1"].bytes = F32Bytes(values);
  const auto trace = LoadTrace(WriteTrace(tensors));
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
  EXPECT_TRUE(std::isnan(Row(trace->states.at(1), 0)[0]));
  EXPECT_EQ(Row(trace->states.at(1), 1)[1], -HUGE_VAL);
}

// Of what only the last positions may be there: those. Of others, not.
TEST(ReferenceTraceTest, FewerRowsAreTheLastPositionsWhereThatIsUsual) {
  const auto trace =
      LoadTrace(WriteTrace({{"hidden_states.0", F32Tensor({2, 6}, 0)},
                            {"hidden_states.1", F32Tensor({3, 6}, 0)},
                            {"hidden_states.2", F32Tensor({1, 2, 6}, 0)},
                            {"model.norm", F32Tensor({1, 6}, 0)},
                            {"logits", F32Tensor({2, 12}, 0)},
                            {"model.layers.0", F32Tensor({2, 6}, 0)},
                            {"model.layers.1", F32Tensor({4, 6}, 0)}}));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->states.at(2).first_position, 1u);
  EXPECT_EQ(trace->outputs.at({0, Op::kFinalNorm}).first_position, 2u);
  EXPECT_EQ(trace->outputs.at({0, Op::kLmHead}).first_position, 1u);
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("hidden_states.0: expected 3 positions x hidden_size "
                          "6, found [2, 6]",
                          "model.layers.0: expected 3 positions x hidden_size "
                          "6, found [2, 6]",
                          "model.layers.1: expected 3 positions x hidden_size "
                          "6, found [4, 6]"));
}

std::map<std::string, RawTensor> StatesAndTokens(
    const std::vector<int64_t>& tokens) {
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["input_ids"] = {
      "I64", {1, static_cast<int64_t>(tokens.size())}, I64Bytes(tokens)};
  return tensors;
}

TEST(ReferenceTraceTest, TokensAreTheTracesOwnIfItHasThem) {
  const std::string path = WriteTrace(StatesAndTokens({3, 1, 4}));
  for (const std::vector<int32_t>& given :
       {std::vector<int32_t>(), TracedTokens()}) {
    const auto trace = LoadTrace(path, given);
    ASSERT_THAT(trace, IsOk());
    EXPECT_TRUE(trace->has_tokens);
    EXPECT_EQ(trace->tokens, TracedTokens());
    EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
  }
  std::map<std::string, RawTensor> narrow = TracedStates();
  narrow["input_ids"] = {"I32", {3}, Encode32(3) + Encode32(1) + Encode32(4)};
  const auto trace = LoadTrace(WriteTrace(narrow), {});
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->tokens, TracedTokens());
}

TEST(ReferenceTraceTest, OtherTokensThanTheTracesAreAnError) {
  const std::string path = WriteTrace(StatesAndTokens({3, 1, 4}));
  EXPECT_THAT(LoadTrace(path, {3, 2, 4}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("position 1: expected token 2, as --tokens "
                                 "says, found 1 in the trace's input_ids")));
  EXPECT_THAT(LoadTrace(path, {3, 1}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected 2 tokens, as --tokens says, found "
                                 "3 in the trace's input_ids")));
}

TEST(ReferenceTraceTest, TokensMustBeInTheVocabulary) {
  for (const int64_t token : {int64_t{-1}, int64_t{12}, int64_t{1} << 32}) {
    EXPECT_THAT(
        LoadTrace(WriteTrace(StatesAndTokens({3, token, 4})), {}),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr(absl::StrCat("input_ids: position 1: expected a "
                                        "token below 12, the model's "
                                        "vocab_size, found ",
                                        token))));
  }
  EXPECT_THAT(LoadTrace(WriteTrace(TracedStates()), {3, 12, 4}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--tokens: position 1: expected a token "
                                 "below 12, the model's vocab_size, found "
                                 "12")));
}

TEST(ReferenceTraceTest, WithoutTokensItAsksForThem) {
  EXPECT_THAT(LoadTrace(WriteTrace(TracedStates()), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("the trace has no input_ids; give the tokens "
                                 "that it is of: --tokens")));
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["input_ids"] = F32Tensor({3}, 0);
  EXPECT_THAT(LoadTrace(WriteTrace(tensors), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("input_ids: expected I64 or I32, found F32 "
                                 "[3]; give the tokens")));
}

TEST(ReferenceTraceTest, AMappingRenames) {
  const std::string mapping =
      WriteTestFile("names.txt",
                    "l_out-{i} = hidden_states.{i+1}\n"
                    "blk.{i}.attn_q = model.layers.{i}.self_attn.q_proj\n"
                    "inp_embd = hidden_states.0\n");
  const auto trace =
      LoadTrace(WriteTrace({{"inp_embd", F32Tensor({3, 6}, 0)},
                            {"l_out-0", F32Tensor({3, 6}, 100)},
                            {"l_out-1", F32Tensor({3, 6}, 200)},
                            {"blk.0.attn_q", F32Tensor({3, 8}, 300)},
                            {"blk.1.attn_q", F32Tensor({3, 8}, 400)}}),
                TracedTokens(), mapping);
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
  EXPECT_EQ(Row(trace->states.at(2), 0), AsRow(6, 200));
  EXPECT_EQ(trace->states.at(2).name, "l_out-1");
  EXPECT_EQ(Row(trace->outputs.at({2, Op::kQProj}), 0), AsRow(8, 400));
}

// llama.cpp calls the final norm before its weight "norm", which is a name of
// ours for the one after it.
TEST(ReferenceTraceTest, AMappingBeatsOtherSpellings) {
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["norm"] = F32Tensor({3, 6}, 500);
  tensors["result_norm"] = F32Tensor({3, 6}, 600);
  const std::pair<size_t, Op> final_norm(0, Op::kFinalNorm);
  const std::string path = WriteTrace(tensors);
  const auto renamed =
      LoadTrace(path, TracedTokens(),
                WriteTestFile("names.txt", "result_norm = model.norm\n"));
  ASSERT_THAT(renamed, IsOk());
  EXPECT_EQ(Row(renamed->outputs.at(final_norm), 0), AsRow(6, 600));
  EXPECT_THAT(NotMeasuredLines(*renamed),
              ElementsAre("norm: a name of model.norm, which is read from "
                          "result_norm"));
  const auto dropped = LoadTrace(
      path, TracedTokens(),
      WriteTestFile("names.txt", "norm = -\nresult_norm = model.norm\n"));
  ASSERT_THAT(dropped, IsOk());
  EXPECT_EQ(Row(dropped->outputs.at(final_norm), 0), AsRow(6, 600));
  EXPECT_THAT(NotMeasuredLines(*dropped), IsEmpty());
  const auto neither =
      LoadTrace(path, TracedTokens(),
                WriteTestFile("names.txt", "norm = -\nresult_norm = -\n"));
  ASSERT_THAT(neither, IsOk());
  EXPECT_EQ(neither->outputs.count(final_norm), 0u);
}

TEST(ReferenceTraceTest, AMappingMustNotGiveTwoTensorsOneName) {
  const std::string mapping =
      WriteTestFile("names.txt", "l_out-{i} = hidden_states.{i}\n");
  std::map<std::string, RawTensor> tensors = TracedStates();
  tensors["l_out-1"] = F32Tensor({3, 6}, 0);
  EXPECT_THAT(LoadTrace(WriteTrace(tensors), TracedTokens(), mapping),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected one array for hidden_states.1, "
                                 "found \"hidden_states.1\" and \"l_out-1\"")));
  EXPECT_THAT(LoadTrace(WriteTrace(TracedStates()), TracedTokens(),
                        mapping + ".missing"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("names.txt")));
}

TEST(ReferenceTraceTest, ReadsWhatNumpySaves) {
  for (const char* name : {"stored", "deflated"}) {
    const auto trace =
        LoadTrace(TestDataPath(absl::StrCat("trace/", name, ".npz")), {});
    ASSERT_THAT(trace, IsOk());
    EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
    EXPECT_EQ(trace->tokens, TracedTokens());
    ASSERT_EQ(trace->states.size(), 3u);
    EXPECT_EQ(trace->states.at(0).stored_as, "F32");
    EXPECT_EQ(trace->states.at(1).stored_as, "F16");
    EXPECT_EQ(trace->states.at(2).stored_as, "F64");
    for (const auto& [index, state] : trace->states) {
      for (size_t i = 0; i < 18; ++i) {
        EXPECT_EQ(state.rows.data()[i], index + i / 8.0) << name << " " << i;
      }
    }
  }
}

TEST(ReferenceTraceTest, ReadsAFolderOfFilesOfAllKinds) {
  WriteTestFile("hidden_states.0.npy",
                NpyBytes("<f4", {3, 6}, F32Bytes(Counting(18, 0))));
  WriteTestFile(
      "hidden_states.1.npy",
      NpyBytes("<f4", {3, 6}, F32Bytes(Counting(18, 0))).substr(0, 99));
  WriteTestFile("after_layer_2.bin", BinBytes(Counting(18, 0)));
  WriteTestFile("norm.safetensors",
                SafetensorsOf({{"model.norm", F32Tensor({3, 6}, 0)}}));
  WriteTestFile("logits.npz",
                NpzBytes({{"logits.npy",
                           NpyBytes("<f4", {12}, F32Bytes(Counting(12, 0)))}}));
  const auto trace = LoadTrace(TestFolder());
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->states.size(), 2u);
  EXPECT_EQ(trace->outputs.size(), 2u);
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre(HasSubstr("hidden_states.1: expected a numpy header "
                                    "of at most 89 bytes")));
}

TEST(ReferenceTraceTest, AFileAloneIsATrace) {
  const std::string npy =
      WriteTestFile("hidden_states.1.npy",
                    NpyBytes("<f4", {3, 6}, F32Bytes(Counting(18, 5))));
  auto trace = LoadTrace(npy);
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(1), 0), AsRow(6, 5));
  const std::string bin =
      WriteTestFile("after_layer_2.bin", BinBytes(Counting(18, 7)));
  trace = LoadTrace(bin);
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(2), 0), AsRow(6, 7));
}

TEST(ReferenceTraceTest, WhatCannotBeOpenedIsAnError) {
  const std::string folder = TestFolder();
  EXPECT_THAT(LoadTrace(folder),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected a .safetensors, .npz, .npy or "
                                 "after_layer_N.bin file in the folder, found "
                                 "nothing")));
  EXPECT_THAT(LoadTrace(folder + "/missing"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/missing")));
  EXPECT_THAT(LoadTrace(WriteTestFile("notes.txt", "text")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("notes.txt: expected a folder or a "
                                 ".safetensors, .npz, .npy or "
                                 "after_layer_N.bin file")));
  EXPECT_THAT(LoadTrace(folder), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("found 1 other files")));
  EXPECT_THAT(LoadTrace(WriteTestFile("a.npz", "PK")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a.npz: expected a zip archive, found no end "
                                 "of its directory")));
}

TEST(ReferenceTraceTest, FilesMustNotHoldATensorTwice) {
  WriteTestFile("a.safetensors", SafetensorsOf(TracedStates()));
  WriteTestFile("b.safetensors",
                SafetensorsOf({{"hidden_states.1", F32Tensor({3, 6}, 0)}}));
  EXPECT_THAT(LoadTrace(TestFolder()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("found \"hidden_states.1\" in "),
                             HasSubstr("a.safetensors and in "),
                             HasSubstr("b.safetensors"))));
}

}  // namespace
}  // namespace ulpscope
