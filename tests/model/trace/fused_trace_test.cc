// Traces whose arrays are more than one tensor of the model, or part of one:
// stacks of states, fused projections, pairs, and batches.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
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
using ::testing::Not;

constexpr char kLayer[] = "model.layers.0";

std::vector<double> Row(const TracedTensor& tensor, size_t row) {
  const Matrix<double> m = tensor.rows.view();
  return {m.Row(row), m.Row(row) + m.cols};
}

std::vector<double> AsRow(size_t count, float first) {
  const std::vector<float> values = Counting(count, first);
  return {values.begin(), values.end()};
}

// Of values that bf16 holds.
RawTensor BF16Tensor(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) {
    uint32_t wide = 0;
    std::memcpy(&wide, &value, sizeof(wide));
    bits.push_back(static_cast<uint16_t>(wide >> 16));
  }
  return {"BF16", {3, 6}, Bytes16(bits)};
}

absl::StatusOr<ReferenceTrace> LoadRow(
    const std::map<std::string, RawTensor>& tensors, size_t row,
    const std::vector<int32_t>& tokens = TracedTokens()) {
  return LoadReferenceTrace(WriteTrace(tensors), "", TracedModel(), tokens,
                            row);
}

// As numpy.stack of the tuple that transformers returns has them, with a batch
// and without.
TEST(FusedTraceTest, UnstacksHiddenStates) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 3, 6}, {3, 1, 3, 6}, {3, 3, 2, 3}}) {
    const auto trace =
        LoadTrace(WriteTrace({{"hidden_states", F32Tensor(shape, 100)}}));
    ASSERT_THAT(trace, IsOk());
    EXPECT_THAT(NotMeasuredLines(*trace), IsEmpty());
    ASSERT_EQ(trace->states.size(), 3u);
    for (const auto& [index, state] : trace->states) {
      EXPECT_EQ(state.name, absl::StrCat("hidden_states[", index, "]"));
      for (size_t t = 0; t < 3; ++t) {
        EXPECT_EQ(Row(state, t), AsRow(6, 100.f + 18 * index + 6 * t));
      }
    }
  }
}

TEST(FusedTraceTest, UnstacksNpzArraysThatArePacked) {
  const std::string path = WriteTestFile(
      "stacked.npz",
      NpzBytes({{"hidden_states.npy",
                 NpyBytes("<f4", {3, 3, 6}, F32Bytes(Counting(54, 0)))}}));
  const auto trace = LoadTrace(path);
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(2), 2), AsRow(6, 48));
}

TEST(FusedTraceTest, AStackThatTheModelCannotHaveIsNotMeasured) {
  const struct {
    std::vector<int64_t> shape;
    const char* found;
  } kCases[] = {{{4, 3, 6}, "F32 [4, 3, 6]"},
                {{1 << 20, 0, 6}, "F32 [1048576, 0, 6]"},
                {{54}, "F32 [54]"},
                {{0, 3, 6}, "F32 [0, 3, 6]"},
                {{1, 3, 6}, "F32 [1, 3, 6]"}};
  for (const auto& c : kCases) {
    std::map<std::string, RawTensor> tensors = {
        {"hidden_states", F32Tensor(c.shape, 0)},
        {"model.norm", F32Tensor({3, 6}, 0)}};
    const auto trace = LoadTrace(WriteTrace(tensors));
    ASSERT_THAT(trace, IsOk());
    EXPECT_THAT(trace->states, IsEmpty());
    EXPECT_THAT(NotMeasuredLines(*trace),
                Contains(absl::StrCat("hidden_states: expected a stack of 2 "
                                      "to 3 entries, num_hidden_layers + 1, "
                                      "found ",
                                      c.found)));
  }
}

// An entry of another shape says so by its own name.
TEST(FusedTraceTest, EntriesOfAnotherWidthAreNotMeasured) {
  const auto trace =
      LoadTrace(WriteTrace({{"hidden_states", F32Tensor({3, 3, 7}, 0)},
                            {"model.norm", F32Tensor({3, 6}, 0)}}));
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(NotMeasuredLines(*trace),
              Contains("hidden_states[1]: expected 3 positions x hidden_size "
                       "6, found [3, 7]"));
}

// A state by itself counts more than an entry of the stack.
TEST(FusedTraceTest, ATensorOfItsOwnCountsMoreThanAnEntry) {
  const auto trace =
      LoadTrace(WriteTrace({{"hidden_states", F32Tensor({3, 3, 6}, 0)},
                            {"hidden_states.1", F32Tensor({3, 6}, 500)}}));
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(1), 0), AsRow(6, 500));
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("hidden_states[1]: a name of hidden_states.1, which "
                          "is read from hidden_states.1"));
}

TEST(FusedTraceTest, RulesUnstackFromAnyIndex) {
  const std::string mapping = WriteTestFile(
      "stack.map",
      "after = hidden_states.{n+1}\nups = model.layers.{n}.mlp.up_proj\n");
  const auto trace =
      LoadTrace(WriteTrace({{"after", F32Tensor({2, 3, 6}, 0)},
                            {"ups", F32Tensor({2, 3, 10}, 100)}}),
                TracedTokens(), mapping);
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(2), 0), AsRow(6, 18));
  EXPECT_EQ(Row(trace->outputs.at({2, Op::kUpProj}), 1), AsRow(10, 140));
  EXPECT_THAT(NotMeasuredLines(*trace),
              ElementsAre("hidden_states.0: not in the trace"));
}

// vLLM and SGLang: q, then k, then v; gate, then up.
TEST(FusedTraceTest, SplitsFusedProjections) {
  for (const char* prefix : {"model.layers.0", "layers.0"}) {
    const auto trace = LoadTrace(WriteTrace(
        {{absl::StrCat(prefix, ".self_attn.qkv_proj"),
          F32Tensor({1, 3, 16}, 0)},
         {absl::StrCat(prefix, ".mlp.gate_up_proj"), F32Tensor({3, 20}, 100)},
         {absl::StrCat(prefix, ".mlp.down_proj"), F32Tensor({3, 6}, 0)}}));
    ASSERT_THAT(trace, IsOk());
    const auto& outputs = trace->outputs;
    EXPECT_EQ(outputs.size(), 6u);
    EXPECT_EQ(Row(outputs.at({1, Op::kQProj}), 1), AsRow(8, 16));
    EXPECT_EQ(Row(outputs.at({1, Op::kKProj}), 1), AsRow(4, 24));
    EXPECT_EQ(Row(outputs.at({1, Op::kVProj}), 2), AsRow(4, 44));
    EXPECT_EQ(Row(outputs.at({1, Op::kGateProj}), 0), AsRow(10, 100));
    EXPECT_EQ(Row(outputs.at({1, Op::kUpProj}), 0), AsRow(10, 110));
    EXPECT_EQ(outputs.at({1, Op::kKProj}).name,
              absl::StrCat(prefix, ".self_attn.qkv_proj (k_proj)"));
  }
}

TEST(FusedTraceTest, AFusedProjectionOfAnotherWidthIsNotMeasured) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 15}, {3, 4, 4}, {3, 0}, {48}}) {
    const auto trace = LoadTrace(
        WriteTrace({{"model.layers.0.self_attn.qkv_proj", F32Tensor(shape, 0)},
                    {"model.norm", F32Tensor({3, 6}, 0)}}));
    ASSERT_THAT(trace, IsOk());
    EXPECT_EQ(trace->outputs.size(), 1u);
    EXPECT_THAT(NotMeasuredLines(*trace),
                Contains(HasSubstr(
                    "model.layers.0.self_attn.qkv_proj (v_proj): expected rows "
                    "of q_proj 8 + k_proj 4 + v_proj 4 columns, found F32 ")));
  }
}

// bf16 keeps 8 bits: 256 + 1 is a tie, and 256 + 3 is not held either.
TEST(FusedTraceTest, AddsPairsAsTheirDtypeRounds) {
  const std::vector<float> hidden(18, 256);
  std::vector<float> residual(18, 1);
  residual[1] = 3;
  residual[2] = std::numeric_limits<float>::infinity();
  const std::string first = absl::StrCat(kLayer, ".hidden_states");
  const std::string second = absl::StrCat(kLayer, ".residual");
  const auto trace = LoadTrace(WriteTrace(
      {{first, BF16Tensor(hidden)}, {second, BF16Tensor(residual)}}));
  ASSERT_THAT(trace, IsOk());
  const TracedTensor& sum = trace->outputs.at({1, Op::kMlpResidual});
  EXPECT_EQ(sum.name, absl::StrCat(first, " + ", second));
  EXPECT_EQ(Row(sum, 0)[0], 256);
  EXPECT_EQ(Row(sum, 0)[1], 260);
  EXPECT_TRUE(std::isinf(Row(sum, 0)[2]));
  EXPECT_EQ(Row(sum, 1)[1], 256);
  const auto exact =
      LoadTrace(WriteTrace({{first, {"F32", {3, 6}, F32Bytes(hidden)}},
                            {second, {"F32", {3, 6}, F32Bytes(residual)}}}));
  ASSERT_THAT(exact, IsOk());
  EXPECT_EQ(Row(exact->outputs.at({1, Op::kMlpResidual}), 0)[0], 257);
}

TEST(FusedTraceTest, APairThatIsNoneIsNotMeasured) {
  const std::string hidden = absl::StrCat(kLayer, ".hidden_states");
  const std::string residual = absl::StrCat(kLayer, ".residual");
  const RawTensor norm = F32Tensor({3, 6}, 0);
  const auto reason = [&](const std::map<std::string, RawTensor>& tensors) {
    const auto trace = LoadTrace(WriteTrace(tensors));
    EXPECT_THAT(trace, IsOk());
    EXPECT_EQ(trace->outputs.size(), 1u);
    return absl::StrJoin(NotMeasuredLines(*trace), "\n");
  };
  EXPECT_THAT(reason({{"model.norm", norm}, {residual, norm}}),
              HasSubstr(absl::StrCat(residual, ": expected two terms of ",
                                     kLayer, " or more, found this one")));
  EXPECT_THAT(reason({{"model.norm", norm},
                      {hidden, norm},
                      {residual, F32Tensor({3, 5}, 0)}}),
              HasSubstr("\"model.layers.0.residual\": expected F32 [3, 6] as "
                        "\"model.layers.0.hidden_states\" has, found F32 [3, "
                        "5]"));
  EXPECT_THAT(reason({{"model.norm", norm},
                      {hidden, norm},
                      {residual, {"F16", {3, 6}, std::string(36, '0')}}}),
              HasSubstr("found F16 [3, 6]"));
  EXPECT_THAT(reason({{"model.norm", norm},
                      {hidden, {"I32", {3, 6}, std::string(72, '0')}},
                      {residual, norm}}),
              HasSubstr("found I32 [3, 6]"));
}

// Of llama.cpp's nodes the fourth is rotated with biases, the third without.
TEST(FusedTraceTest, AFallbackGivesWay) {
  std::map<std::string, RawTensor> tensors = {
      {"Qcur-0", F32Tensor({3, 8}, 0)},
      {"Qcur-0.2", F32Tensor({3, 8}, 100)},
      {"Qcur-0.3", F32Tensor({3, 2, 4}, 200)},
      {"Kcur-0", F32Tensor({3, 4}, 0)},
      {"Kcur-0.2", F32Tensor({3, 4}, 100)},
      {"Kcur-0.3", F32Tensor({3, 1, 4}, 200)},
      {"norm", F32Tensor({3, 6}, 0)}};
  // But for what the second layer lacks, as there is none of it here.
  const auto expect_all_are_read = [](const ReferenceTrace& trace) {
    for (const std::string& line : NotMeasuredLines(trace)) {
      EXPECT_THAT(line, HasSubstr("model.layers.1."));
    }
  };
  auto trace = LoadTrace(WriteTrace(tensors), TracedTokens(), "llama.cpp");
  ASSERT_THAT(trace, IsOk());
  expect_all_are_read(*trace);
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kQProj}), 0), AsRow(8, 100));
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kRope}), 0)[0], 200);
  EXPECT_EQ(trace->outputs.count({0, Op::kFinalNorm}), 0u);
  tensors["Qcur-0.4"] = F32Tensor({3, 2, 4}, 300);
  tensors["Kcur-0.4"] = F32Tensor({3, 1, 4}, 400);
  trace = LoadTrace(WriteTrace(tensors), TracedTokens(), "llama.cpp");
  ASSERT_THAT(trace, IsOk());
  expect_all_are_read(*trace);
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kQProj}), 0), AsRow(8, 100));
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kRope}), 0)[0], 300);
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kRope}), 0)[8], 400);
}

// Of a Llama alone llama.cpp has the halves of a head interleaved.
TEST(FusedTraceTest, HeadsOfNeighboursAreBroughtToHalves) {
  const std::string path = WriteTrace({{"Qcur-0.2", F32Tensor({3, 8}, 0)},
                                       {"Qcur-0.3", F32Tensor({3, 2, 4}, 100)},
                                       {"Kcur-0.3", F32Tensor({3, 4}, 200)},
                                       {"Kcur-0.2", F32Tensor({3, 1, 3}, 0)}});
  ModelConfig config = TracedModel();
  config.architecture = Architecture::kLlama;
  const auto trace =
      LoadReferenceTrace(path, "llama.cpp", config, TracedTokens());
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(Row(trace->outputs.at({1, Op::kQProj}), 1),
              ElementsAre(8, 10, 9, 11, 12, 14, 13, 15));
  EXPECT_THAT(
      Row(trace->outputs.at({1, Op::kRope}), 0),
      ElementsAre(100, 102, 101, 103, 104, 106, 105, 107, 200, 202, 201, 203));
  EXPECT_THAT(NotMeasuredLines(*trace),
              Contains("Kcur-0.2: expected rows of heads of head_dim 4, found "
                       "F32 [3, 1, 3]"));
  config.architecture = Architecture::kQwen2;
  const auto qwen =
      LoadReferenceTrace(path, "llama.cpp", config, TracedTokens());
  ASSERT_THAT(qwen, IsOk());
  EXPECT_EQ(Row(qwen->outputs.at({1, Op::kQProj}), 1), AsRow(8, 8));
}

std::map<std::string, RawTensor> Batch() {
  return {
      {"input_ids", {"I64", {2, 3}, I64Bytes({3, 1, 4, 5, 6, 7})}},
      {"hidden_states", F32Tensor({3, 2, 3, 6}, 0)},
      {"model.layers.0.self_attn.q_rope", F32Tensor({2, 2, 3, 4}, 0)},
      {"model.layers.0.self_attn.k_rope", F32Tensor({2, 1, 3, 4}, 0)},
      {"model.layers.0.self_attn.attention_scores", F32Tensor({2, 2, 3, 3}, 0)},
      {"logits", F32Tensor({2, 1, 12}, 0)},
      {"attention_mask", {"I64", {2, 3}, I64Bytes({0, 1, 1, 1, 1, 1})}}};
}

TEST(FusedTraceTest, ReadsARowOfABatch) {
  const auto trace = LoadRow(Batch(), 1, {});
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->tokens, (std::vector<int32_t>{5, 6, 7}));
  for (const size_t n : {0, 1, 2}) {
    EXPECT_EQ(Row(trace->states.at(n), 0), AsRow(6, 36.f * n + 18));
  }
  // [heads, positions, head_dim] of the second sequence.
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kRope}), 1)[0], 24 + 4);
  EXPECT_EQ(Row(trace->outputs.at({1, Op::kRope}), 1)[8], 12 + 4);
  EXPECT_EQ(Row(trace->scores.at({1, Op::kQk}), 0), AsRow(3, 18));
  const TracedTensor& logits = trace->outputs.at({0, Op::kLmHead});
  EXPECT_EQ(logits.first_position, 2u);
  EXPECT_EQ(Row(logits, 0), AsRow(12, 12));
  EXPECT_THAT(NotMeasuredLines(*trace),
              Contains(HasSubstr("attention_mask: masks, padding and positions "
                                 "are not read")));
  const auto other = LoadRow(Batch(), 0, {});
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(other->tokens, TracedTokens());
  EXPECT_EQ(Row(other->states.at(2), 0), AsRow(6, 72));
}

// Without tokens of its own, the first tensor tells.
TEST(FusedTraceTest, ABatchIsKnownByItsShape) {
  std::map<std::string, RawTensor> tensors = Batch();
  tensors.erase("input_ids");
  const auto trace = LoadRow(tensors, 1);
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(Row(trace->states.at(0), 0), AsRow(6, 18));
  EXPECT_EQ(trace->outputs.at({0, Op::kLmHead}).rows.rows(), 1u);
  EXPECT_THAT(LoadTrace(WriteTrace(tensors)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"hidden_states[0]\": found a batch of 2 "
                                 "sequences; choose one of them: --row=0 to "
                                 "--row=1")));
}

TEST(FusedTraceTest, ARowMustBeChosenAndBeThere) {
  EXPECT_THAT(
      LoadTrace(WriteTrace(Batch()), {}),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("trace.safetensors: "),
                     HasSubstr("\"input_ids\": found a batch of 2 sequences; "
                               "choose one of them: --row=0 to --row=1"))));
  EXPECT_THAT(LoadRow(Batch(), 2, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"input_ids\": expected a --row below 2, the "
                                 "size of the batch, found 2")));
  EXPECT_THAT(LoadRow(TracedStates(), 0), IsOk());
  EXPECT_THAT(LoadRow(TracedStates(), 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected a batch of more than 1 sequences, "
                                 "as --row says, found one sequence")));
}

// A tensor of another batch than the trace's is of no use.
TEST(FusedTraceTest, ATensorOfAnotherBatchIsNotMeasured) {
  std::map<std::string, RawTensor> tensors = Batch();
  tensors["model.norm"] = F32Tensor({4, 3, 6}, 0);
  const auto trace = LoadRow(tensors, 1, {});
  ASSERT_THAT(trace, IsOk());
  EXPECT_EQ(trace->outputs.count({0, Op::kFinalNorm}), 0u);
  EXPECT_THAT(NotMeasuredLines(*trace),
              Contains("model.norm: expected at most 3 positions x hidden_size "
                       "6, found [4, 3, 6]"));
}

}  // namespace
}  // namespace ulpscope
