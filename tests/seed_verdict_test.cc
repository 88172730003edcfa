// The case that the program is built around (docs/design.md), from the weights
// to the structured verdict in results.json.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/attribution.h"
#include "explorer/attribution_report.h"
#include "explorer/cure.h"
#include "explorer/phenomena.h"
#include "explorer/report.h"
#include "explorer/verdict.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/checkpoint.h"
#include "model/plan.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::Contains;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

TEST(SeedVerdictTest, ResidualRoundingOfTheMassiveChannelIsTheSource) {
  Parallel parallel(2);
  const auto checkpoint = OpenCheckpoint("synthetic:seed");
  ASSERT_THAT(checkpoint, IsOk());
  const auto weights =
      LoadWeights(*checkpoint, parallel, [](size_t, size_t) {});
  ASSERT_THAT(weights, IsOk());
  const auto plan = Plan::Parse("torch-bf16", weights->layers.size());
  ASSERT_THAT(plan, IsOk());
  const std::vector<int32_t> tokens = {9707};
  AttributionOptions attribution_options;
  attribution_options.tokens = tokens;
  const auto attribution =
      Attribute(*weights, *plan, attribution_options, parallel);
  ASSERT_THAT(attribution, IsOk());
  PhenomenaOptions phenomena_options;
  phenomena_options.tokens = tokens;
  const auto phenomena =
      FindPhenomena(*weights, *plan, phenomena_options, parallel);
  ASSERT_THAT(phenomena, IsOk());
  Verdict verdict = Judge(*plan, *attribution, &*phenomena);
  CureOptions cure_options;
  cure_options.strategies = {Strategy(),
                             *FindStrategy("kahan", Kernel::kMatMul)};
  cure_options.tokens = tokens;
  ASSERT_THAT(TryCures(*weights, *plan, cure_options, parallel, verdict),
              IsOk());

  RunInfo info;
  info.model = checkpoint->name;
  info.synthetic = checkpoint->synthetic;
  info.config = weights->config;
  AttributionResults results;
  results.plan = &*plan;
  results.tokens = tokens;
  results.attribution = &*attribution;
  results.phenomena = &*phenomena;
  results.verdict = &verdict;
  const Json json = Json::parse(AttributionJson(info, results), nullptr, false);
  ASSERT_TRUE(json.is_object());
  const Json& v = json["attribution"]["verdict"];

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
  EXPECT_EQ(source["makes"]["layer"], 3);
  EXPECT_EQ(source["removes"]["layer"], 22);

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

  // The residual stream alone is no cure: what makes and removes the channel's
  // value rounds it as coarsely. With both, less than half is left.
  ASSERT_EQ(source["cures"].size(), 6u);
  for (const Json& cure : source["cures"]) {
    if (cure["scope"] == "channel") {
      EXPECT_LT(cure["rel_l2"].get<double>(), v["rel_l2"].get<double>() / 2);
    } else {
      EXPECT_GT(cure["rel_l2"].get<double>(), v["rel_l2"].get<double>() / 2);
    }
  }
}

}  // namespace
}  // namespace ulpscope
