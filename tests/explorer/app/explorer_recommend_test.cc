#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/stored_runs.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kFlags[] =
    " --recommend --wisdom=none --model=synthetic:tiny --tokens=5 --threads=2 "
    "--timing_seconds=0 --axes='matmul=f32,f64,bf16,f16;rmsnorm=f32,bf16' ";

// What follows "--plan=" on a line of its own.
std::string PlanIn(const std::string& report) {
  for (absl::string_view line : absl::StrSplit(report, '\n')) {
    if (absl::ConsumePrefix(&line, "    --plan=")) return std::string(line);
  }
  return "";
}

TEST(ExplorerRecommendTest, PrintsAPlanThatKeepsTheBudget) {
  const std::string folder = Path("found");
  const Outcome run = Explorer(
      absl::StrCat(kFlags, "--budget='rel_l2<=1e-2' --out='", folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string plan = PlanIn(run.out);
  ASSERT_THAT(plan, Not(IsEmpty())) << run.out;
  EXPECT_THAT(run.out, HasSubstr("SYNTHETIC"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/report.html"), HasSubstr("ulpscope/recommend"));

  const Json json = Json::parse(Read(folder + "/results.json"));
  EXPECT_EQ(json["context"]["verdict"], "recommended");
  EXPECT_EQ(json["context"]["chosen"], plan);
  EXPECT_EQ(json["context"]["budget"], "rel_l2<=0.01");
  double error = 1;
  for (const Json& row : json["plans"]) {
    if (row["chosen"] == true) error = row["error"];
    EXPECT_GT(row["decode_tokens_per_second"], 0);
    EXPECT_FALSE(row["other_error"].is_null());
  }
  EXPECT_LE(error, 1e-2);

  // As --plan takes it, it has that error.
  const std::string alone = Path("alone");
  const Outcome again = Explorer(absl::StrCat(
      "--wisdom=none --model=synthetic:tiny --tokens=5 --threads=2 "
      "--timing_seconds=0 --plan='",
      plan, "' --out='", alone, "'"));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const Json of_plan = Json::parse(Read(alone + "/results.json"));
  EXPECT_NEAR(of_plan["plans"][0]["final_rel_l2"], error, 1e-12 * error);
}

TEST(ExplorerRecommendTest, SaysThatABudgetCannotBeMet) {
  const std::string folder = Path("not_met");
  const Outcome run = Explorer(
      absl::StrCat(kFlags, "--budget='kl<=1e-40' --out='", folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("**Not met:**"));
  const Json json = Json::parse(Read(folder + "/results.json"));
  EXPECT_EQ(json["context"]["verdict"], "not met");
  double least = 1;
  for (const Json& row : json["plans"]) {
    least = std::min(least, row["error"].get<double>());
    EXPECT_EQ(row["keeps"], false);
  }
  for (const Json& row : json["plans"]) {
    if (row["chosen"] == true) {
      EXPECT_EQ(row["error"], least);
    }
  }
}

TEST(ExplorerRecommendTest, BadUsageIsSaid) {
  const auto error_of = [](const std::string& flags) {
    const Outcome run = Explorer(absl::StrCat(kFlags, flags));
    EXPECT_EQ(run.exit_code, 2) << flags;
    return run.err;
  };
  EXPECT_THAT(error_of("--axes='matmul=f32,int8'"), HasSubstr("--axes"));
  EXPECT_THAT(error_of("--for=both"), HasSubstr("--for=both"));
  EXPECT_THAT(error_of("--plan=f32"), HasSubstr("--plan"));
  EXPECT_THAT(error_of("--budget='kl<1'"), HasSubstr("--budget"));
  // The model has no tokenizer.
  EXPECT_THAT(error_of("--confirm_prompt=hello"),
              HasSubstr("--confirm_prompt"));
  EXPECT_THAT(Explorer("--sweep --for=decode").err, HasSubstr("--for"));
}

TEST(ExplorerRecommendTest, ASecondRunMeasuresNothing) {
  const std::string store = Path("store");
  const std::string flags =
      absl::StrCat(kFlags, "--budget='rel_l2<=1e-2' --store='", store, "' ");
  const Outcome first =
      Explorer(absl::StrCat(flags, "--out='", Path("first"), "'"));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const size_t all = Counts(first).second;
  EXPECT_GT(all, 0);
  const Outcome second =
      Explorer(absl::StrCat(flags, "--out='", Path("second"), "'"));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Counts(second), std::make_pair(all, size_t{0}));
  EXPECT_EQ(second.out, first.out);
}

TEST(ExplorerRecommendTest, StoppedItPrintsWhatItFound) {
  const std::string folder = Path("stopped");
  // The files say what comes next.
  const auto is_timing = [&] {
    return absl::StrContains(Read(folder + "/results.json"),
                             "the timing of the finalists");
  };
  const Outcome run = StopExplorerWhen(
      {"--recommend", "--wisdom=none", "--model=synthetic:tiny", "--tokens=400",
       "--threads=2", "--timing_seconds=600",
       "--axes=matmul=f32,bf16,f16;rmsnorm=f32,bf16", "--out=" + folder},
      is_timing, SIGINT);
  EXPECT_EQ(run.exit_code, 130) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Stopped by Ctrl-C"));
  EXPECT_THAT(PlanIn(run.out), Not(IsEmpty())) << run.out;
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
}

}  // namespace
}  // namespace ulpscope
