// The case that the program is built around (docs/design.md), from the weights
// to the structured verdict in results.json.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/run_info.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::Contains;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

// The verdict on a plan, from results.json.
Json VerdictOn(const std::string& plan_text) {
  Parallel parallel(2);
  const Weights& weights = LoadedOnce("synthetic:seed");
  const auto plan = Plan::Parse(plan_text, weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  const std::vector<int32_t> tokens = {9707};
  const auto run = RunOf(weights, parallel);
  const auto attribution = Attribute(run, *plan, tokens);
  EXPECT_THAT(attribution, IsOk());
  const auto phenomena = FindPhenomena(run, *plan, tokens);
  EXPECT_THAT(phenomena, IsOk());
  Verdict verdict = Judge(*plan, *attribution, &*phenomena);
  const std::vector<Strategy> strategies = {
      Strategy(), *FindStrategy("kahan", Kernel::kMatMul)};
  EXPECT_THAT(TryCures(run, *plan, tokens, strategies, verdict), IsOk());

  RunInfo info;
  info.model = "synthetic:seed";
  info.synthetic = true;
  info.config = weights.config;
  AttributionResults results;
  results.plan = &*plan;
  results.tokens = tokens;
  results.attribution = &*attribution;
  results.phenomena = &*phenomena;
  results.verdict = &verdict;
  return Json::parse(AttributionJson(info, results), nullptr,
                     false)["attribution"]["verdict"];
}

// What is true of the plan's residual adds, whatever its other ops do.
void ExpectSeedCase(const Json& v) {
  const Json& source = v["source"];
  EXPECT_THAT(source["ops"].get<std::vector<std::string>>(),
              UnorderedElementsAre("attn_residual", "mlp_residual"));
  EXPECT_EQ(source["first_layer"], 3);
  EXPECT_EQ(source["last_layer"], 21);
  EXPECT_GT(source["squared_share"].get<double>(), 0.5);
  EXPECT_EQ(source["channel"]["channel"], 62);
  EXPECT_TRUE(source["channel"]["massive"].get<bool>());
  EXPECT_EQ(source["channel"]["format"], "bf16");
  EXPECT_EQ(source["channel"]["spacing"], 8);
  EXPECT_GT(source["channel"]["error_share"].get<double>(), 0.5);

  const Json& exposed = v["exposed_by"];
  EXPECT_EQ(exposed["layer"], 22);
  EXPECT_EQ(exposed["op"], "mlp_residual");
  EXPECT_NEAR(exposed["cancellation"].get<double>(), 59.6, 0.1);
  EXPECT_GT(exposed["rel_l2_after"].get<double>(),
            10 * exposed["rel_l2_before"].get<double>());
  const Json& spread = v["spread_by"];
  EXPECT_EQ(spread["layer"], 23);
  EXPECT_LT(spread["top1_after"].get<double>(),
            spread["top1_before"].get<double>());
  std::vector<std::string> no_effect;
  for (const Json& op : v["no_effect"]) {
    no_effect.push_back(op["op"].get<std::string>());
    EXPECT_EQ(op["over_one_position"].get<bool>(), op["op"] == "softmax");
  }
  EXPECT_THAT(no_effect, Contains("softmax"));

  // By itself the stream's rounding makes the error, and in f32 or kahan not:
  // n = 24 layers of 2 adds each leave at most 2 n u of the largest |x| that
  // was rounded, in the channel that stays when 55.7 / 1.86 of the stream is
  // gone.
  const Json& isolated = source["isolated"];
  EXPECT_GT(isolated["rel_l2"].get<double>(), v["rel_l2"].get<double>() / 2);
  ASSERT_EQ(isolated["upgraded"].size(), 2u);
  for (const Json& upgraded : isolated["upgraded"]) {
    const double left = upgraded["rel_l2"].get<double>();
    EXPECT_GT(left, 0);
    EXPECT_LT(left, 48 * 0x1p-24 * 55.7 / 1.86) << upgraded["strategy"];
  }
}

// The residual stream alone is no cure: what makes and removes the channel's
// value rounds it as coarsely. With both, less than half is left.
TEST(SeedVerdictTest, TorchBf16) {
  const Json v = VerdictOn("torch-bf16");
  ASSERT_TRUE(v.is_object());
  ExpectSeedCase(v);
  EXPECT_EQ(v["source"]["makes"]["layer"], 3);
  EXPECT_EQ(v["source"]["removes"]["layer"], 22);
  EXPECT_EQ(v["source"]["cures"].size(), 6u);
  for (const Json& cure : v["source"]["cures"]) {
    const double left =
        cure["rel_l2"].get<double>() / v["rel_l2"].get<double>();
    if (cure["scope"] == "channel") {
      EXPECT_LT(left, 0.5);
    } else {
      EXPECT_GT(left, 0.5);
    }
  }
}

// Where nothing else is bf16, f32 or kahan in the residual stream is the cure;
// from the layer where the activation is made to where it is removed, half of
// it.
TEST(SeedVerdictTest, ResidualAloneInBf16) {
  const Json v = VerdictOn("residual=bf16");
  ASSERT_TRUE(v.is_object());
  ExpectSeedCase(v);
  EXPECT_FALSE(v["source"].contains("makes"));
  EXPECT_FALSE(v["source"].contains("removes"));
  EXPECT_EQ(v["source"]["cures"].size(), 4u);
  for (const Json& cure : v["source"]["cures"]) {
    const double left =
        cure["rel_l2"].get<double>() / v["rel_l2"].get<double>();
    EXPECT_LT(left, cure["scope"] == "source" ? 0.5 : 1e-3);
  }
}

}  // namespace
}  // namespace ulpscope
