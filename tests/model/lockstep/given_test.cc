// Runs whose ops go on with outputs that they are given.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "tests/kernels/ops/bits.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/decoder/kept_outputs.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr const char* kModel = "synthetic:tiny-qwen3";

const std::vector<int32_t>& Tokens() {
  static const auto* const tokens = new std::vector<int32_t>{3, 14, 15, 92, 6};
  return *tokens;
}

Stream StreamOf(const Weights& weights, const std::string& plan,
                const GivenOutputs* given = nullptr) {
  Stream stream{Plan::Parse(plan, weights.layers.size()).value(), Tokens()};
  stream.given = given;
  return stream;
}

KeptOutputs RunAll(const Weights& weights, const std::vector<Stream>& streams) {
  KeptOutputs kept(streams.size());
  Parallel parallel(2);
  LockstepOptions options;
  options.logits = Logits::kAll;
  EXPECT_THAT(RunLockstep(weights, streams, options, kept, parallel), IsOk());
  return kept;
}

bool SameOutput(const KeptOutputs& a, size_t stream_a, const KeptOutputs& b,
                size_t stream_b, const KeptOutputs::Key& key) {
  return static_cast<bool>(HasBits<double>(a.outputs[stream_a].at(key).values,
                                           b.outputs[stream_b].at(key).values));
}

// The order in which ops run.
std::pair<size_t, Op> Order(const Weights& weights, size_t layer, Op op) {
  const bool head = op == Op::kFinalNorm || op == Op::kLmHead;
  return {head ? weights.layers.size() + 1 : layer, op};
}

void ExpectSame(const KeptOutputs& a, size_t stream_a, const KeptOutputs& b,
                size_t stream_b) {
  ASSERT_EQ(a.outputs[stream_a].size(), b.outputs[stream_b].size());
  for (const auto& [key, output] : a.outputs[stream_a]) {
    EXPECT_TRUE(SameOutput(a, stream_a, b, stream_b, key))
        << "layer " << std::get<0>(key) << " " << OpName(std::get<1>(key));
  }
  ASSERT_EQ(a.states[stream_a].size(), b.states[stream_b].size());
  for (const auto& [layer, state] : a.states[stream_a]) {
    const StreamState& other = b.states[stream_b].at(layer);
    EXPECT_TRUE(HasBits<double>(state.stream, other.stream)) << layer;
    EXPECT_TRUE(HasBits<double>(state.carry, other.carry)) << layer;
  }
}

// Of plans without a carry, which is not given.
TEST(GivenTest, ItsOwnOutputsReproduceARun) {
  for (const char* model : {"synthetic:tiny", kModel}) {
    const Weights& weights = LoadedOnce(model);
    for (const char* plan : {"f32", "torch-bf16", "oracle"}) {
      SCOPED_TRACE(plan);
      const KeptOutputs alone = RunAll(weights, {StreamOf(weights, plan)});
      const Given given = GivenOf(alone, 0);
      const KeptOutputs replayed =
          RunAll(weights, {StreamOf(weights, plan, &given)});
      ExpectSame(replayed, 0, alone, 0);
    }
  }
}

TEST(GivenTest, ItsOwnOutputsReproduceAVariant) {
  const Weights& weights = LoadedOnce(kModel);
  Stream stream = StreamOf(weights, "f32");
  stream.variant.qk_norm = QkNorm::kAfterRope;
  stream.variant.q_position_offset = 1;
  stream.variant.causal = false;
  const KeptOutputs alone = RunAll(weights, {stream});
  const Given given = GivenOf(alone, 0);
  stream.given = &given;
  ExpectSame(RunAll(weights, {stream}), 0, alone, 0);
}

// A perturbed output is gone on with; it is not what is shown.
TEST(GivenTest, APerturbedOutputChangesWhatFollows) {
  const Weights& weights = LoadedOnce(kModel);
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32")});
  for (const auto& [perturbed, output] : alone.outputs[0]) {
    const auto& [layer, op, position] = perturbed;
    if (IsScore(op) || op == Op::kLmHead || layer > 1) continue;
    SCOPED_TRACE(OpName(op));
    KeptOutputs::Output other = output;
    for (double& value : other.values) value += 0.5;
    Given given;
    given.Set(layer, op, other);
    const KeptOutputs kept =
        RunAll(weights, {StreamOf(weights, "f32", &given)});
    for (const auto& [key, unused] : alone.outputs[0]) {
      const auto at = Order(weights, std::get<0>(key), std::get<1>(key));
      if (at <= Order(weights, layer, op)) {
        EXPECT_TRUE(SameOutput(kept, 0, alone, 0, key))
            << std::get<0>(key) << " " << OpName(std::get<1>(key));
      }
    }
    const KeptOutputs::Key logits = {0, Op::kLmHead, 0};
    EXPECT_FALSE(SameOutput(kept, 0, alone, 0, logits));
  }
}

// Of two runs a and b: a goes on from what it is given of b as b does.
class GivenOfAnotherTest : public testing::TestWithParam<Op> {
 protected:
  // Ops that read nothing but the op's output.
  static std::vector<Op> Readers(Op op) {
    switch (op) {
      case Op::kEmbed:
        return {Op::kInputNorm, Op::kQProj, Op::kAttnResidual,
                Op::kMlpResidual};
      case Op::kInputNorm:
        return {Op::kQProj, Op::kKProj, Op::kVProj, Op::kAv, Op::kOProj};
      case Op::kQProj:
        return {Op::kQNorm};
      case Op::kKProj:
        return {Op::kKNorm};
      case Op::kAv:
        return {Op::kOProj};
      case Op::kAttnResidual:
        return {Op::kPostNorm, Op::kGateProj, Op::kMlpResidual};
      case Op::kPostNorm:
        return {Op::kGateProj, Op::kUpProj, Op::kSwiGlu, Op::kDownProj};
      case Op::kSwiGlu:
        return {Op::kDownProj};
      case Op::kMlpResidual:
        return {};  // the next layer
      case Op::kFinalNorm:
        return {Op::kLmHead};
      default:
        return {};
    }
  }
};

TEST_P(GivenOfAnotherTest, IsWhatIsReadNext) {
  const Op op = GetParam();
  const Weights& weights = LoadedOnce(kModel);
  const std::vector<int32_t> others = {17, 29, 2, 240, 31};
  Stream other = StreamOf(weights, "f32");
  other.tokens = others;
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32"), other});
  const size_t layer = IsPerLayer(op) ? 1 : 0;
  Given given;
  given.Set(layer, op, alone.Get(1, layer, op));
  const KeptOutputs kept = RunAll(weights, {StreamOf(weights, "f32", &given)});
  std::vector<KeptOutputs::Key> readers;
  for (const Op reader : Readers(op)) {
    readers.emplace_back(IsPerLayer(reader) ? 1 : 0, reader, 0);
  }
  if (op == Op::kMlpResidual) {
    for (const auto& [key, output] : alone.outputs[0]) {
      if (std::get<0>(key) > 1) readers.push_back(key);
    }
    EXPECT_TRUE(HasBits<double>(kept.states[0].at(1).stream,
                                alone.states[1].at(1).stream));
  }
  EXPECT_FALSE(readers.empty());
  for (const KeptOutputs::Key& key : readers) {
    EXPECT_TRUE(SameOutput(kept, 0, alone, 1, key))
        << std::get<0>(key) << " " << OpName(std::get<1>(key));
    // The softmax of one score is 1.
    if (std::get<1>(key) == Op::kSoftmax && std::get<2>(key) == 0) continue;
    EXPECT_FALSE(SameOutput(kept, 0, alone, 0, key))
        << std::get<0>(key) << " " << OpName(std::get<1>(key));
  }
  // Its own is shown.
  EXPECT_TRUE(SameOutput(kept, 0, alone, 0, {layer, op, 0}));
}

INSTANTIATE_TEST_SUITE_P(Ops, GivenOfAnotherTest,
                         testing::Values(Op::kEmbed, Op::kInputNorm, Op::kQProj,
                                         Op::kKProj, Op::kAv, Op::kAttnResidual,
                                         Op::kPostNorm, Op::kSwiGlu,
                                         Op::kMlpResidual, Op::kFinalNorm),
                         [](const auto& test) {
                           return std::string(OpName(test.param));
                         });

// Ops of several inputs, all of them given.
TEST(GivenTest, OpsOfSeveralInputsReadAllOfThem) {
  const Weights& weights = LoadedOnce(kModel);
  const std::vector<int32_t> others = {17, 29, 2, 240, 31};
  Stream other = StreamOf(weights, "f32");
  other.tokens = others;
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32"), other});
  const struct {
    std::vector<Op> given;
    Op reader;
  } cases[] = {{{Op::kQNorm, Op::kKNorm}, Op::kRope},
               {{Op::kRope, Op::kVProj}, Op::kAv},
               {{Op::kGateProj, Op::kUpProj}, Op::kSwiGlu},
               {{Op::kEmbed, Op::kOProj}, Op::kAttnResidual},
               {{Op::kAttnResidual, Op::kDownProj}, Op::kMlpResidual}};
  for (const auto& c : cases) {
    Given given;
    for (const Op op : c.given) {
      const size_t layer = IsPerLayer(op) ? 1 : 0;
      given.Set(layer, op, alone.Get(1, layer, op));
    }
    const KeptOutputs kept =
        RunAll(weights, {StreamOf(weights, "f32", &given)});
    EXPECT_TRUE(SameOutput(kept, 0, alone, 1, {1, c.reader, 0}))
        << OpName(c.reader);
    EXPECT_FALSE(SameOutput(kept, 0, alone, 0, {1, c.reader, 0}))
        << OpName(c.reader);
  }
}

// f32's keys and values are kept in f32; given ones as they are.
TEST(GivenTest, KeysAndValuesAreNotRounded) {
  const Weights& weights = LoadedOnce(kModel);
  const KeptOutputs oracle = RunAll(weights, {StreamOf(weights, "oracle")});
  const Given given = GivenOf(oracle, 0);
  const KeptOutputs kept = RunAll(
      weights,
      {StreamOf(weights, "f32,qk=oracle,softmax=oracle,av=oracle", &given)});
  for (const auto& [key, output] : oracle.outputs[0]) {
    const Op op = std::get<1>(key);
    if (IsScore(op) || op == Op::kAv) {
      EXPECT_TRUE(SameOutput(kept, 0, oracle, 0, key)) << OpName(op);
    }
    if (op == Op::kRope) {
      EXPECT_FALSE(SameOutput(kept, 0, oracle, 0, key));
    }
  }
}

TEST(GivenTest, AGivenStreamHasNoCarry) {
  const Weights& weights = LoadedOnce(kModel);
  const KeptOutputs alone =
      RunAll(weights, {StreamOf(weights, "residual=kahan")});
  ASSERT_THAT(alone.states[0].at(1).carry, testing::Contains(testing::Ne(0)));
  Given given;
  given.Set(1, Op::kMlpResidual, alone.Get(0, 1, Op::kMlpResidual));
  const KeptOutputs kept =
      RunAll(weights, {StreamOf(weights, "residual=kahan", &given)});
  EXPECT_TRUE(HasBits<double>(kept.states[0].at(1).stream,
                              alone.states[0].at(1).stream));
  EXPECT_THAT(kept.states[0].at(1).carry, testing::Each(0));
  EXPECT_THAT(kept.states[0].at(2).carry, testing::Contains(testing::Ne(0)));
}

// Streams of one GivenOutputs go on as one from each output that it gives,
// whatever their own were; and it is asked once for all.
TEST(GivenTest, StreamsOfOneShareWhatIsGiven) {
  const Weights& weights = LoadedOnce(kModel);
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32")});
  const Given given = GivenOf(alone, 0);
  const KeptOutputs kept =
      RunAll(weights, {StreamOf(weights, "f32", &given),
                       StreamOf(weights, "down_proj=bf16", &given),
                       StreamOf(weights, "f32")});
  for (const auto& [key, output] : kept.outputs[1]) {
    const auto& [layer, op, position] = key;
    const std::vector<size_t>& with = output.shown_with;
    EXPECT_EQ(std::count(with.begin(), with.end(), 0u),
              op == Op::kDownProj ? 0 : 1)
        << layer << " " << OpName(op);
  }
  ExpectSame(kept, 2, alone, 0);
  // All ops but scores and logits, in order, once each.
  std::vector<Given::Key> expected = {{0, Op::kEmbed}};
  for (size_t layer = 1; layer <= weights.layers.size(); ++layer) {
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      if (IsPerLayer(op) && !IsScore(op)) expected.emplace_back(layer, op);
    }
  }
  expected.emplace_back(0, Op::kFinalNorm);
  EXPECT_EQ(given.asked, expected);
}

TEST(GivenTest, IsAskedOncePerPass) {
  const Weights& weights = LoadedOnce(kModel);
  const Given given;
  KeptOutputs kept(2);
  Parallel parallel;
  LockstepOptions options;
  options.memory = 0;
  ASSERT_THAT(RunLockstep(weights,
                          {StreamOf(weights, "f32", &given),
                           StreamOf(weights, "f32", &given)},
                          options, kept, parallel),
              IsOk());
  EXPECT_EQ(std::count(given.asked.begin(), given.asked.end(),
                       Given::Key{1, Op::kQProj}),
            2);
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32")});
  EXPECT_TRUE(SameOutput(kept, 1, alone, 0, {0, Op::kFinalNorm, 0}));
}

TEST(GivenErrorTest, AnotherShapeEndsTheRun) {
  const Weights& weights = LoadedOnce(kModel);
  const KeptOutputs alone = RunAll(weights, {StreamOf(weights, "f32")});
  const KeptOutputs::Output& own = alone.Get(0, 1, Op::kUpProj);
  for (const auto& [rows, cols] :
       {std::pair<size_t, size_t>{own.rows - 1, own.cols},
        {own.rows, own.cols + 1},
        {own.rows, own.cols - 1}}) {
    Given given;
    given.Set(1, Op::kUpProj,
              {rows, cols, std::vector<double>(rows * cols), {}});
    KeptOutputs kept(2);
    Parallel parallel;
    EXPECT_THAT(
        RunLockstep(
            weights,
            {StreamOf(weights, "f32"), StreamOf(weights, "f32", &given)}, {},
            kept, parallel),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr("stream 1: the given output of layer 1, up_proj")));
    EXPECT_EQ(kept.outputs[0].count({1, Op::kUpProj, 0}), 1u);
    EXPECT_EQ(kept.outputs[0].count({1, Op::kSwiGlu, 0}), 0u);
    EXPECT_EQ(kept.states[0].count(1), 0u);
  }
  Given embedding;
  embedding.Set(0, Op::kEmbed, {1, 2, {3, 4}, {}});
  KeptOutputs kept(1);
  Parallel parallel;
  EXPECT_THAT(RunLockstep(weights, {StreamOf(weights, "f32", &embedding)}, {},
                          kept, parallel),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("embed")));
  EXPECT_TRUE(kept.states[0].empty());
}

}  // namespace
}  // namespace ulpscope
