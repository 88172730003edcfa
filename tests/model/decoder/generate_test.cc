#include "model/decoder/generate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

class GenerateTest : public testing::TestWithParam<const char*> {};

// Every token by a pass of its own over all that came before: no KV cache is
// used twice.
TEST_P(GenerateTest, EachTokenIsTheLikeliestAfterAllBefore) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const auto plan = Plan::Parse(GetParam(), weights.layers.size());
    ASSERT_THAT(plan, IsOk());
    Parallel two(2), one;
    const std::vector<int32_t> prompt = {97, 3, 200};
    const auto generated = GenerateGreedily(weights, *plan, prompt, 40, two);
    ASSERT_THAT(generated, IsOk());
    ASSERT_EQ(generated->tokens.size(), 40u);
    EXPECT_EQ(generated->end, Generated::End::kCount);
    std::vector<int32_t> tokens = prompt;
    for (const int32_t token : generated->tokens) {
      Decoder decoder(weights, *plan, tokens.size(), one);
      ASSERT_THAT(decoder.Forward(tokens, Logits::kAll), IsOk());
      const double* logits = decoder.logits().Row(tokens.size() - 1);
      int32_t likeliest = 0;
      for (int32_t t = 1; t < weights.config.vocab_size; ++t) {
        if (logits[t] > logits[likeliest]) likeliest = t;
      }
      ASSERT_EQ(token, likeliest) << model << " after " << tokens.size();
      tokens.push_back(token);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Plans, GenerateTest,
                         testing::Values("f32", "torch-bf16", "torch-f16",
                                         "oracle"));

TEST(GenerateErrorTest, NothingToStartFromIsAnError) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  Parallel parallel;
  const Plan plan(weights.layers.size());
  EXPECT_THAT(GenerateGreedily(weights, plan, {}, 2, parallel),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(
      GenerateGreedily(weights, plan, {300}, 2, parallel),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("token 300")));
  const auto nothing = GenerateGreedily(weights, plan, {5}, 0, parallel);
  ASSERT_THAT(nothing, IsOk());
  EXPECT_TRUE(nothing->tokens.empty());
  EXPECT_EQ(nothing->end, Generated::End::kCount);
}

TEST(GenerateErrorTest, NaNIsNotAToken) {
  Parallel parallel;
  Weights weights = LoadedWeights("synthetic:tiny", parallel);
  weights.final_norm[7] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(
      GenerateGreedily(weights, Plan(weights.layers.size()), {5, 6}, 2,
                       parallel),
      StatusIs(absl::StatusCode::kInternal, HasSubstr("after position 1")));
}

TEST(GenerateEndTest, EndsAfterAnEndToken) {
  Parallel parallel;
  Weights weights = LoadedWeights("synthetic:tiny", parallel);
  const Plan plan(weights.layers.size());
  const auto all = GenerateGreedily(weights, plan, {97, 3}, 10, parallel);
  ASSERT_THAT(all, IsOk());
  ASSERT_EQ(all->tokens.size(), 10u);
  const auto fourth = all->tokens.begin() + 3;
  ASSERT_EQ(std::find(all->tokens.begin(), fourth, *fourth), fourth);
  weights.config.eos_token_ids = {100000, *fourth};
  const auto ended = GenerateGreedily(weights, plan, {97, 3}, 10, parallel);
  ASSERT_THAT(ended, IsOk());
  EXPECT_EQ(ended->tokens,
            std::vector<int32_t>(all->tokens.begin(), fourth + 1));
  EXPECT_EQ(ended->end, Generated::End::kEosToken);
}

TEST(GenerateStopTest, HasTheTokensSoFar) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Plan plan(weights.layers.size());
  const std::vector<int32_t> prompt = {97, 3};
  Parallel parallel;
  const auto all = GenerateGreedily(weights, plan, prompt, 10, parallel);
  ASSERT_THAT(all, IsOk());
  // A pass asks before each of 8 layers and before the logits.
  ASSERT_EQ(weights.layers.size(), 8u);
  size_t asked = 0;
  const auto some = GenerateGreedily(weights, plan, prompt, 10, parallel,
                                     [&asked] { return ++asked > 4 * 9 + 5; });
  ASSERT_THAT(some, IsOk());
  EXPECT_EQ(some->tokens,
            std::vector<int32_t>(all->tokens.begin(), all->tokens.begin() + 4));
  EXPECT_EQ(some->end, Generated::End::kStopped);
  const auto none = GenerateGreedily(weights, plan, prompt, 10, parallel,
                                     [] { return true; });
  ASSERT_THAT(none, IsOk());
  EXPECT_TRUE(none->tokens.empty());
  EXPECT_EQ(none->end, Generated::End::kStopped);
}

}  // namespace
}  // namespace ulpscope
