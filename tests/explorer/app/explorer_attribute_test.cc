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
