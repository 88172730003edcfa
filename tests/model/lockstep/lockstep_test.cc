#include "model/lockstep/lockstep.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/strategy/targets.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/lockstep/one_layer.h"
#include "tests/model/lockstep/random_streams.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

// Weights that strategies round: the synthetic ones are bf16.
constexpr const char* kF32Checkpoint = "tests/testdata/reference/qwen3_untied";
constexpr const char* kMlpBias = "tests/testdata/reference/llama_fused";

class LockstepTest
    : public testing::TestWithParam<std::tuple<int64_t, const char*>> {};

TEST_P(LockstepTest, HasTheBitsOfEachStreamAlone) {
  const auto& [target, model] = GetParam();
  const Weights& weights = LoadedOnce(model);
  // The expected bits are another target's where there is one.
  const Family family(weights);
  std::vector<Outputs> expected;
  for (size_t i = 0; i < family.size(); ++i) {
    expected.push_back(family.Expected(i, true));
  }
  const ScopedTarget scoped_target(target);
  for (const size_t threads : {1, 2}) {
    Parallel parallel(threads);
    KeepStreams keep(family.size(), threads == 1);
    LockstepOptions options;
    options.logits = Logits::kAll;
    ASSERT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                IsOk());
    for (size_t i = 0; i < family.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("stream ", i, ", ", threads, " threads"));
      Outputs wanted = expected[i];
      if (threads == 2) wanted = family.Expected(i, false);
      ExpectSame(keep.outputs[i], wanted);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, LockstepTest,
    testing::Combine(testing::ValuesIn(RunnableTargets()),
                     testing::Values("synthetic:tiny", "synthetic:tiny-qwen3",
                                     kF32Checkpoint, kMlpBias)),
    [](const auto& test) {
      std::string model = std::get<1>(test.param);
      model = model.substr(model.find_last_of(":/") + 1);
      std::replace(model.begin(), model.end(), '-', '_');
      return absl::StrCat(hwy::TargetName(std::get<0>(test.param)), "_", model);
    });

// Plans that differ in one cell of the last layer compute all but that layer
// once.
TEST(LockstepSharingTest, EqualPrefixesAreComputedOnce) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  const std::vector<int32_t> tokens = {3, 14, 15};
  std::vector<Stream> streams;
  for (const char* strategy : {"f32", "bf16", "oracle", "f32"}) {
    const std::string text = absl::StrCat("down_proj@", n, "=", strategy);
    streams.push_back({Plan::Parse(text, n).value(), tokens});
  }
  KeepStreams keep(streams.size(), false);
  Parallel parallel;
  ASSERT_THAT(RunLockstep(weights, streams, {}, keep, parallel), IsOk());
  // Three states after the last layer, and each op's output until then once:
  // down_proj and mlp_residual three times, and the final norm.
  const size_t per_layer = weights.config.qk_norm ? 18 : 16;  // without scores
  EXPECT_EQ(keep.shown, 1 + n * per_layer + 2 + 2 + 3);
  EXPECT_EQ(keep.outputs[0], keep.outputs[3]);
}

// Streams that have come to the same bits go on as one.
TEST(LockstepSharingTest, EqualBitsAreSharedAgain) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  // Softmax over one position is 1 under every strategy.
  const std::vector<int32_t> tokens = {3};
  std::vector<Stream> streams;
  for (const char* text : {"f32", "softmax@1=bf16", "softmax@1=oracle"}) {
    streams.push_back({Plan::Parse(text, n).value(), tokens});
  }
  KeepStreams keep(streams.size(), false);
  Parallel parallel;
  ASSERT_THAT(RunLockstep(weights, streams, {}, keep, parallel), IsOk());
  EXPECT_EQ(keep.shown * 3, keep.shown_to);
}

TEST(LockstepPiecesTest, OfColumnsHaveTheSameBitsAndAskForTheStop) {
  // Of 49 rows, half a billion products are 622 of the 1024 panels of the head
  // and of q_proj.
  const Weights weights = OneLayer(512, 64, 32768);
  const Plan plan(1);
  Random random(6);
  const std::vector<int32_t> tokens = RandomTokens(97, weights, random);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kAll;
  std::vector<size_t> shown_when_asked;
  KeepStreams keep(1, false);
  options.stop = [&] {
    shown_when_asked.push_back(keep.shown);
    return false;
  };
  ASSERT_THAT(RunLockstep(weights, {{plan, tokens}}, options, keep, parallel),
              IsOk());
  Outputs expected = Alone(weights, plan, tokens);
  for (size_t position = 0; position < tokens.size(); ++position) {
    expected.erase({1, Op::kQk, position});
    expected.erase({1, Op::kSoftmax, position});
  }
  ExpectSame(keep.outputs[0], expected);
  // Before the head, before each of its two pieces of rows, and once within
  // each.
  EXPECT_EQ(std::count(shown_when_asked.begin(), shown_when_asked.end(),
                       keep.shown - 1),
            5);
  // And after the logits were shown: what of them was left undone?
  EXPECT_EQ(shown_when_asked.back(), keep.shown);
  const size_t last = shown_when_asked.size() - 1;
  for (const size_t stop_at : {last - 2, last - 1, last}) {
    size_t asked = 0;
    options.stop = [&] { return asked++ == stop_at; };
    KeepStreams stopped(1, false);
    EXPECT_THAT(
        RunLockstep(weights, {{plan, tokens}}, options, stopped, parallel),
        StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(stopped.shown, keep.shown - (stop_at < last ? 1 : 0));
    EXPECT_EQ(asked, stop_at + 1);
  }
}

TEST(LockstepLogitsTest, OfTheLastPositionAlone) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t vocab = static_cast<size_t>(weights.config.vocab_size);
  const Plan plan(weights.layers.size());
  const std::vector<int32_t> tokens = {3, 14, 15, 9};
  const std::vector<int32_t> shorter = {3, 14};
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kLast;
  ASSERT_THAT(RunLockstep(weights, {{plan, tokens}, {plan, shorter}}, options,
                          keep, parallel),
              IsOk());
  const std::vector<double> all =
      Alone(weights, plan, tokens).at({0, Op::kLmHead, 0});
  for (const size_t s : {0, 1}) {
    const size_t last = s == 0 ? 3 : 1;
    const Outputs& outputs = keep.outputs[s];
    ASSERT_EQ(outputs.count({0, Op::kLmHead, last}), 1u);
    EXPECT_TRUE(
        HasBits<double>(outputs.at({0, Op::kLmHead, last}),
                        absl::MakeConstSpan(all).subspan(last * vocab, vocab)));
  }
}

TEST(LockstepRangeTest, StopsAfterTheLastLayer) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = {3, 4};
  Stream stream{Plan(weights.layers.size()), tokens};
  stream.last_layer = 2;
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kAll;
  Stream all{Plan(weights.layers.size()), tokens};
  ASSERT_THAT(RunLockstep(weights, {stream, all}, options, keep, parallel),
              IsOk());
  EXPECT_EQ(keep.states[0].size(), 3u);  // 0, 1, 2
  EXPECT_EQ(keep.states[1].size(), weights.layers.size() + 1);
  for (const auto& [key, values] : keep.outputs[0]) {
    EXPECT_LE(std::get<0>(key), 2u);
    EXPECT_NE(std::get<1>(key), Op::kFinalNorm);
    EXPECT_NE(std::get<1>(key), Op::kLmHead);
    EXPECT_TRUE(HasBits<double>(values, keep.outputs[1].at(key)));
  }
}

TEST(LockstepStopTest, EndsWhereItIsStoppedAndShowsWhatCameBefore) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Family family(weights);
  Parallel parallel;
  KeepStreams all(family.size(), false);
  ASSERT_THAT(RunLockstep(weights, family.Streams(), {}, all, parallel),
              IsOk());
  size_t asked = 0, last = 0;
  for (const size_t stop_at : {0, 1, 10, 100, 150}) {
    asked = 0;
    LockstepOptions options;
    options.stop = [&] { return asked++ >= stop_at; };
    KeepStreams keep(family.size(), false);
    EXPECT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(asked, stop_at + 1) << "asked again after the stop";
    EXPECT_GE(keep.shown, last);
    EXPECT_LT(keep.shown, all.shown);
    last = keep.shown;
    for (size_t i = 0; i < family.size(); ++i) {
      for (const auto& [key, values] : keep.outputs[i]) {
        EXPECT_TRUE(HasBits<double>(values, all.outputs[i].at(key)));
      }
    }
  }
  EXPECT_GT(last, 0u);
}

TEST(LockstepProgressTest, EndsWithAllWorkDone) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = {3};
  const Plan plan(weights.layers.size());
  Stream part{plan, tokens};
  part.last_layer = 1;
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  std::vector<size_t> done;
  size_t all = 0;
  options.progress = [&](size_t d, size_t total) {
    done.push_back(d);
    all = total;
  };
  ASSERT_THAT(RunLockstep(weights, {Stream{plan, tokens}, part}, options, keep,
                          parallel),
              IsOk());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), all);
  EXPECT_EQ(all, weights.layers.size() + 1 + 1);
}

TEST(LockstepErrorTest, BadStreamsAreRefused) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  const std::vector<int32_t> tokens = {3, 4};
  const std::vector<int32_t> bad_token = {
      3, static_cast<int32_t>(weights.config.vocab_size)};
  const auto status_of = [&](const Stream& stream) {
    KeepStreams keep(2, false);
    Parallel parallel;
    const absl::Status status = RunLockstep(
        weights, {Stream{Plan(n), tokens}, stream}, {}, keep, parallel);
    EXPECT_EQ(keep.shown, 0u);
    return status;
  };
  const auto refused = [](const char* what) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(status_of({Plan(n), {}}), refused("stream 1: no tokens"));
  EXPECT_THAT(status_of({Plan(n), bad_token}), refused("vocabulary"));
  EXPECT_THAT(status_of({Plan(n + 1), tokens}), refused("layers"));
  EXPECT_THAT(status_of({Plan(n), tokens, 2}), refused("no input of layer 2"));
  EXPECT_THAT(status_of({Plan(n), tokens, 0}), refused("layers 0 to"));
  EXPECT_THAT(status_of({Plan(n), tokens, n + 1}), refused("layers"));
  StreamState start;
  start.stream.resize(
      tokens.size() * static_cast<size_t>(weights.config.hidden_size) - 1);
  EXPECT_THAT(status_of({Plan(n), tokens, 2, &start}), refused("values"));
  start.stream.push_back(0);
  start.carry.resize(1);
  EXPECT_THAT(status_of({Plan(n), tokens, 2, &start}), refused("values"));
  start.carry.clear();
  Stream backwards{Plan(n), tokens, 2, &start, 1};
  EXPECT_THAT(status_of(backwards), refused("layers 2 to 1"));
}

}  // namespace
}  // namespace ulpscope
