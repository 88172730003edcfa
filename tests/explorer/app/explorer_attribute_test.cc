#include <signal.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ExplorerAttributeTest, AttributionExplainsThePlanOrTheWorstOne) {
  const std::string folder = absl::StrCat(TestFolder(), "/attribution");
  const Outcome run = Explorer(absl::StrCat(
      kQuick,
      "--attribute --plan=f32,down_proj@2=bf16 --on=prompt --wisdom=none "
      "'--budget=rel_l2<=1e-4' --out='",
      folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("# Attribution of `down_proj@2=bf16`\n"));
  EXPECT_THAT(run.out, HasSubstr("(SYNTHETIC weights)"));
  EXPECT_THAT(run.out, HasSubstr("\n## Verdict\n"));
  EXPECT_THAT(run.out, HasSubstr("The smallest repair found for rel_l2<=0.0001 "
                                 "is `down_proj@2=f32`: 1 (layer, op) cell"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  const auto json =
      nlohmann::json::parse(Read(folder + "/results.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["context"]["tokens"].size(), 3u);
  EXPECT_TRUE(json["context"]["stopped_in"].is_null());
  EXPECT_EQ(json["minimal_repair"]["entries"],
            nlohmann::json({"down_proj@2=f32"}));
  EXPECT_THAT(Read(folder + "/cells.csv"), StartsWith("model,synthetic,"));

  const Outcome worst = Explorer(absl::StrCat(
      kQuick, "--attribute '--axes=matmul=f32,bf16' --wisdom=none"));
  ASSERT_EQ(worst.exit_code, 0) << worst.err;
  EXPECT_THAT(worst.err, HasSubstr("the worst plan by rmse: matmul=bf16\n"));
  EXPECT_THAT(worst.out, StartsWith("# Attribution of `matmul=bf16`\n"));
  EXPECT_THAT(worst.out, HasSubstr("alone at position 0"));
}

TEST(ExplorerAttributeTest, AgainstAnotherPlanIsTheirDifference) {
  const std::string folder = absl::StrCat(TestFolder(), "/against");
  const Outcome run = Explorer(absl::StrCat(
      "--model=synthetic:tiny --tokens=6 --timing_seconds=0 --threads=2 "
      "--attribute --plan=torch-bf16,down_proj@2=bf16_acc "
      "--against=torch-bf16 --on=prompt --wisdom=none '--budget=kl<=1e-20' "
      "--out='",
      folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Errors are against the reference, "
                                 "`torch-bf16`, over all positions"));
  EXPECT_THAT(run.out, Not(HasSubstr("racle's")));
  const auto json =
      nlohmann::json::parse(Read(folder + "/results.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["context"]["against"], "torch-bf16");
  for (const auto& cell : json["cells"]) {
    const bool is_it = cell["layer"] == 2 && cell["op"] == "down_proj";
    EXPECT_EQ(cell["changes_bits"], is_it) << cell;
  }
  EXPECT_EQ(json["minimal_repair"]["entries"],
            nlohmann::json({"down_proj@2=bf16"}));
  EXPECT_EQ(json["minimal_repair"]["strategies"], nlohmann::json::array());
  ASSERT_EQ(json["truth"].size(), 2u);
  EXPECT_EQ(json["truth"][0]["whose"], "plan");
  EXPECT_EQ(json["truth"][0]["plan"], json["context"]["plan"]);
  EXPECT_EQ(json["truth"][1]["whose"], "reference");
  EXPECT_EQ(json["truth"][1]["plan"], "torch-bf16");
  // By far the larger: of both against the oracle.
  EXPECT_GT(json["truth"][1]["rel_l2"], json["effect"]["rel_l2"]);

  ASSERT_EQ(json["positions"].size(), 6u);
  double share = 0, logits_share = 0;
  size_t massive = 0;
  for (size_t i = 0; i < 6; ++i) {
    const auto& position = json["positions"][i];
    EXPECT_EQ(position["position"], i);
    EXPECT_EQ(position["token"], json["context"]["tokens"][i]);
    share += position["squared_share"].get<double>();
    logits_share += position["logits_squared_share"].get<double>();
    massive += position["massive"].get<bool>() ? 1 : 0;
  }
  EXPECT_NEAR(share, 1, 1e-14);
  EXPECT_NEAR(logits_share, 1, 1e-14);
  EXPECT_EQ(massive, 1u);
  EXPECT_NE(json["effect"]["ordinary_rel_l2"], json["effect"]["rel_l2"]);

  const Outcome same = Explorer(absl::StrCat(
      kQuick, "--attribute --plan=f32 --against=f32 --wisdom=none"));
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("`f32` is compared with itself"));

  const Outcome bad = Explorer(absl::StrCat(
      kQuick, "--attribute --plan=f32 --against=no --wisdom=none"));
  EXPECT_NE(bad.exit_code, 0);
  EXPECT_THAT(bad.err, HasSubstr("--against=no"));
}

TEST(ExplorerAttributeTest, AttributionThatIsStoppedReportsWhatThereIs) {
  const std::string folder = absl::StrCat(TestFolder(), "/stopped");
  const Outcome run =
      StopExplorer({"--attribute", "--plan=torch-bf16",
                    "--model=synthetic:tiny", "--tokens=300", "--on=prompt",
                    "--threads=2", "--wisdom=none", "--out=" + folder},
                   "attribution: layers: done", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in the "));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by Ctrl-C: the "));
  EXPECT_THAT(run.out, HasSubstr("## Where it arises, layer by layer"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_by\":\"Ctrl-C\""));
}

}  // namespace
}  // namespace ulpscope
