// Sweeps over several windows, against another plan, and over generated text.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/error/metrics.h"
#include "explorer/error/nearer.h"
#include "explorer/error/windows.h"
#include "explorer/sweep/greedy.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/generate.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

const Weights& Tiny() { return LoadedOnce("synthetic:tiny"); }

Plan PlanOf(const std::string& text) {
  return *Plan::Parse(text, Tiny().layers.size());
}

SweepOptions OptionsOf(std::vector<std::string> plans) {
  SweepOptions options;
  options.plans = std::move(plans);
  options.token = 97;
  options.prompt = {97, 5, 17, 250, 3};
  options.metric = &RankMetrics()[0];
  options.max_rounds = 1;
  options.decode_steps = 1;
  return options;
}

std::vector<Window> ThreeWindows() {
  return {{"a", 0, {97, 5, 17, 250, 3}, 0, 4},
          {"a", 3, {250, 3, 8, 9}, 1, 4},
          {"b", 0, {11, 12, 13, 14, 15, 16}, 0, 6}};
}

SweepResult Swept(const SweepOptions& options, size_t memory = SIZE_MAX) {
  Parallel parallel;
  auto result = RunSweep(RunOf(Tiny(), parallel, memory), options);
  EXPECT_THAT(result, IsOk());
  return result.ok() ? *std::move(result) : SweepResult();
}

const PlanResult& Find(const SweepResult& result, const std::string& plan) {
  return *std::find_if(result.plans.begin(), result.plans.end(),
                       [&](const PlanResult& p) { return p.plan == plan; });
}

TEST(TextSweepTest, EachWindowIsAsItIsAlone) {
  SweepOptions options = OptionsOf({"f32", "torch-bf16"});
  options.windows = ThreeWindows();
  const SweepResult all = Swept(options);
  // Windows one after the other, as little memory makes them.
  const SweepResult in_turn = Swept(options, 1);
  for (const char* const plan : {"f32", "torch-bf16"}) {
    SCOPED_TRACE(plan);
    const PlanResult& together = Find(all, plan);
    ASSERT_EQ(together.windows.size(), 3u);
    for (size_t w = 0; w < 3; ++w) {
      SweepOptions alone = options;
      alone.windows = {options.windows[w]};
      const SweepResult one = Swept(alone);
      for (const TraceMetrics* other :
           {&Find(one, plan).windows[0], &Find(in_turn, plan).windows[w]}) {
        const TraceMetrics& m = together.windows[w];
        EXPECT_EQ(m.final_hidden().rmse, other->final_hidden().rmse);
        EXPECT_EQ(m.logits->kl, other->logits->kl);
        EXPECT_EQ(m.tokens->logp, other->tokens->logp);
        EXPECT_EQ(m.tokens->error_l2, other->tokens->error_l2);
        EXPECT_EQ(m.layers[1].ordinary->rel_l2,
                  other->layers[1].ordinary->rel_l2);
      }
    }
  }
}

TEST(TextSweepTest, PositionsOutsideTheScoredOnesDoNotCount) {
  SweepOptions options = OptionsOf({"torch-bf16"});
  options.windows = {ThreeWindows()[1]};
  const TraceMetrics m = Swept(options).plans[0].windows[0];
  const std::vector<double>& kl = m.tokens->kl;
  ASSERT_EQ(kl.size(), 4u);
  EXPECT_DOUBLE_EQ(m.logits->kl, (kl[1] + kl[2] + kl[3]) / 3);
}

TEST(TextSweepTest, ErrorsPerPositionAreThoseOfTheState) {
  const SweepResult result = Swept(OptionsOf({"torch-bf16"}));
  const TraceMetrics& m = result.plans[0].windows[0];
  double squares = 0, reference = 0, ordinary = 0, ordinary_reference = 0;
  ASSERT_EQ(m.tokens->error_l2.size(), 5u);
  for (size_t p = 0; p < 5; ++p) {
    const double e = m.tokens->error_l2[p], r = m.tokens->reference_l2[p];
    squares += e * e;
    reference += r * r;
    if (m.tokens->massive[p] != 0) continue;
    ordinary += e * e;
    ordinary_reference += r * r;
  }
  // The synthetic model's planted activation is the first token's.
  EXPECT_EQ(m.tokens->massive, (std::vector<double>{1, 0, 0, 0, 0}));
  EXPECT_NEAR(m.final_hidden().rel_l2, std::sqrt(squares / reference), 1e-13);
  EXPECT_NEAR(m.layers.back().ordinary->rel_l2,
              std::sqrt(ordinary / ordinary_reference), 1e-13);
}

TEST(TextSweepTest, ReplicatesTellRanksApart) {
  SweepOptions options = OptionsOf({"f32", "kahan", "torch-bf16"});
  options.windows = ThreeWindows();
  options.windows.push_back({"c", 0, {41, 52, 63, 74}, 0, 4});
  const SweepResult result = Swept(options);
  for (const PlanResult& plan : result.plans) {
    EXPECT_EQ(plan.replicate_scores.size(), 3u);  // prompts
    ASSERT_TRUE(plan.last_like.has_value());
    EXPECT_GE(*plan.last_like, plan.rank);
  }
  EXPECT_EQ(result.plans.back().plan, "torch-bf16");
  // 2^16 times the error of f32 is no accident.
  EXPECT_LT(*result.plans[1].last_like, 3u);
  EXPECT_FALSE(Swept(OptionsOf({"f32"})).plans[0].last_like.has_value());
}

TEST(TextSweepTest, AgainstAPlanErrorsAreToIt) {
  SweepOptions options = OptionsOf({"f32", "torch-bf16"});
  options.windows = ThreeWindows();
  options.against = PlanOf("torch-bf16");
  const SweepResult result = Swept(options);
  const PlanResult &f32 = Find(result, "f32"),
                   &same = Find(result, "torch-bf16");
  EXPECT_EQ(same.prompt.final_hidden().rmse, 0);
  EXPECT_EQ(same.prompt.logits->kl, 0);
  EXPECT_GT(f32.prompt.final_hidden().rmse, 0);
  // The truth of both is what a sweep against the oracle says.
  SweepOptions truth = options;
  truth.against.reset();
  const SweepResult against_oracle = Swept(truth);
  for (const char* const plan : {"f32", "torch-bf16"}) {
    const TraceMetrics& expected = Find(against_oracle, plan).prompt;
    const TraceMetrics& found = *Find(result, plan).against_oracle;
    EXPECT_EQ(found.final_hidden().rel_l2, expected.final_hidden().rel_l2);
    EXPECT_EQ(found.logits->kl, expected.logits->kl);
  }
  EXPECT_EQ(result.against_oracle->final_hidden().rel_l2,
            same.against_oracle->final_hidden().rel_l2);
  EXPECT_EQ(f32.nearer, Nearer::kPlan);
  EXPECT_EQ(same.nearer, Nearer::kEqual);  // they are one plan
  // Against the oracle there is nothing more to say.
  truth.against = PlanOf("oracle");
  EXPECT_FALSE(Swept(truth).plans[0].against_oracle.has_value());
  EXPECT_EQ(Swept(truth).plans[0].nearer, Nearer::kUnknown);
}

// Then a plan shares its outputs with the oracle's stream, which comes before
// the one that it is measured against.
TEST(TextSweepTest, TheOracleIsAPlanLikeOthers) {
  SweepOptions options = OptionsOf({"oracle", "f32"});
  options.windows = ThreeWindows();
  options.against = PlanOf("torch-bf16");
  const SweepResult result = Swept(options);
  const PlanResult& oracle = Find(result, "oracle");
  ASSERT_TRUE(oracle.measured());
  EXPECT_EQ(oracle.against_oracle->final_hidden().rmse, 0);
  EXPECT_EQ(oracle.nearer, Nearer::kPlan);
  // Its distance to the other is the other's error, of the same size.
  EXPECT_EQ(oracle.prompt.final_hidden().rmse,
            result.against_oracle->final_hidden().rmse);
  EXPECT_EQ(oracle.prompt.logits->max_abs,
            result.against_oracle->logits->max_abs);
  // Whatever is run at once.
  EXPECT_EQ(Find(Swept(options, 1), "oracle").prompt.logits->kl,
            oracle.prompt.logits->kl);
}

// The definition: two programs generate, and one says something else.
TEST(RunGreedilyTest, LeavesWhereGeneratedTextsDo) {
  constexpr size_t kCount = 40;
  Parallel parallel;
  const std::vector<Plan> plans = {PlanOf("oracle"), PlanOf("f32"),
                                   PlanOf("torch-bf16"),
                                   PlanOf("matmul=bf16,residual=bf16")};
  size_t left = 0;
  for (int32_t first = 20; first < 26; ++first) {
    const std::vector<int32_t> prompt = {97, first, 7};
    const auto greedy =
        RunGreedily(RunOf(Tiny(), parallel), plans[0], plans, prompt, kCount);
    ASSERT_THAT(greedy, IsOk());
    ASSERT_EQ(greedy->plans.size(), plans.size());
    for (size_t p = 0; p < plans.size(); ++p) {
      const auto own =
          GenerateGreedily(Tiny(), plans[p], prompt, kCount, parallel);
      ASSERT_THAT(own, IsOk());
      size_t same = 0;
      while (same < greedy->tokens.size() &&
             own->tokens[same] == greedy->tokens[same]) {
        ++same;
      }
      const GreedyDivergence& found = greedy->plans[p];
      if (same == greedy->tokens.size()) {
        EXPECT_FALSE(found.token.has_value());
        continue;
      }
      ++left;
      EXPECT_EQ(found.token, same + 1);
      EXPECT_EQ(found.chosen, own->tokens[same]);
      EXPECT_GE(found.margin, 0);
    }
  }
  EXPECT_GT(left, 0u);  // the test has seen some leave
}

TEST(RunGreedilyTest, StoppedIsCancelled) {
  Parallel parallel;
  TestMonitor monitor(3);
  EXPECT_EQ(RunGreedily(RunOf(Tiny(), parallel, monitor), PlanOf("f32"),
                        {PlanOf("torch-bf16")}, {97}, 5)
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace ulpscope
