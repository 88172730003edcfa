#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "explorer/store/record.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/stored_runs.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

// The folder of a run's report.
std::string Measured(const std::string& name, const std::string& flags) {
  const std::string folder = absl::StrCat(TestFolder(), "/", name);
  const Outcome run =
      Explorer(absl::StrCat(kQuick, flags, " --out='", folder, "'"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return folder;
}

// The results of this plan under the name of that one: what a build would give
// in which that one rounds somewhere else.
std::string Renamed(const std::string& folder, const std::string& plan,
                    const std::string& as) {
  const std::string path = folder + "/results.json";
  const std::string text = absl::StrReplaceAll(
      Read(path),
      {{absl::StrCat("\"", plan, "\""), absl::StrCat("\"", as, "\"")}});
  std::ofstream(path, std::ios::binary) << text;
  return folder;
}

Outcome Gated(const std::string& base, const std::string& now,
              const std::string& gate, const std::string& flags = "") {
  return Explorer(absl::StrCat(
      base.empty() ? "" : absl::StrCat("--compare='", base, "' "), "--with='",
      now, "' --gate='", WriteTestFile("gate", gate), "' ", flags));
}

// Of what -o json printed.
std::vector<Json> Failed(const Outcome& run) {
  const Json json = Json::parse(run.out, nullptr, false);
  std::vector<Json> failed;
  if (!json.is_object()) return failed;
  for (const Json& check : json["checks"]) {
    if (check["outcome"] == "failed") failed.push_back(check);
  }
  return failed;
}

TEST(ExplorerCompareTest, TheSameCommandGivesTheSameErrors) {
  const std::string base = Measured("base", "--sweep");
  const std::string now = Measured("now", "--sweep --threads=1");
  const Outcome run = Explorer(
      absl::StrCat("--compare='", base, "' --with='", now, "' -o json"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["differences"], Json::array());
  EXPECT_GT(json["compared"].size(), 2u);
  EXPECT_THAT(json["context"]["times_not_comparable"].get<std::string>(),
              HasSubstr("threads"));
  const Outcome gated =
      Gated(base, now + "/results.json",
            "plan=* bits == base\nplan=* layer=* rel_l2 <= base\n");
  EXPECT_EQ(gated.exit_code, 0) << gated.err << gated.out;
  EXPECT_THAT(gated.out, StartsWith("# Comparison\n"));
}

// One rounding of one op in one layer.
TEST(ExplorerCompareTest, AGateCatchesOneRounding) {
  constexpr char kPlanted[] = "mlp_residual@3=bf16";
  const std::string base = Measured("f32", "--plan=f32");
  const std::string now = Renamed(
      Measured("planted", absl::StrCat("--plan=", kPlanted)), kPlanted, "f32");
  const std::string junit = absl::StrCat(TestFolder(), "/junit.xml");
  const Outcome run =
      Gated(base, now, "plan=f32 layer=* tokens=prompt rel_l2 <= 1.02 x base\n",
            absl::StrCat("-o json --junit='", junit, "'"));
  EXPECT_EQ(run.exit_code, 3) << run.err;
  const std::vector<Json> failed = Failed(run);
  ASSERT_FALSE(failed.empty());
  EXPECT_EQ(failed[0]["of"], "plan=f32 tokens=prompt layer=3");
  EXPECT_EQ(failed[0]["metric"], "rel_l2");
  EXPECT_GT(failed[0]["ratio"].get<double>(), 1.02);
  EXPECT_THAT(
      failed[0]["command"].get<std::string>(),
      AllOf(HasSubstr("--plan='f32'"), HasSubstr("--model='synthetic:tiny'")));
  EXPECT_THAT(Read(junit),
              AllOf(HasSubstr("<failure message=\"rel_l2 is "),
                    HasSubstr("layer=3"), HasSubstr("--plan='f32'")));
  EXPECT_EQ(Gated(base, now, "plan=f32 bits == base\n").exit_code, 3);
  EXPECT_EQ(Gated(base, base, "plan=f32 bits == base\n").exit_code, 0);
}

// What a build gives in which one op rounds once more.
TEST(ExplorerCompareTest, AGateCatchesAPlantedRounding) {
  const std::string flags = absl::StrCat(kQuick, "--attribute --plan=f32");
  const std::string base = Measured("unplanted", "--attribute --plan=f32");
  const std::string now = absl::StrCat(TestFolder(), "/with_planted");
  const Outcome measured =
      PlantedExplorer(absl::StrCat(flags, " --out='", now, "'"));
  ASSERT_EQ(measured.exit_code, 0) << measured.err;
  const Outcome run = Gated(
      base, now, "table=cells layer=* op=* rel_l2 <= 1.02 x base\n", "-o json");
  EXPECT_EQ(run.exit_code, 3) << run.err;
  std::set<std::string> ops, layers;
  for (const Json& check : Failed(run)) {
    EXPECT_EQ(check["metric"], "rel_l2");
    EXPECT_GT(check["ratio"].get<double>(), 1.02);
    // "layer=3 op=mlp_residual"
    const std::vector<std::string> of =
        absl::StrSplit(check["of"].get<std::string>(), ' ');
    ASSERT_GE(of.size(), 2u);
    layers.insert(of[0]);
    ops.insert(of[1]);
  }
  EXPECT_THAT(ops, ElementsAre("op=attn_residual", "op=mlp_residual"));
  EXPECT_THAT(layers, Contains("layer=1"));
  // The plan's own error, after every layer.
  const Outcome plan =
      Gated(base, now, "table=layers layer=* total_rel_l2 <= 1.02 x base\n",
            "-o json");
  EXPECT_EQ(plan.exit_code, 3) << plan.err;
}

// The maps of an attribution name the op too.
TEST(ExplorerCompareTest, AGateOfCellsNamesTheOp) {
  constexpr char kPlanted[] = "mlp_residual@3=bf16";
  const std::string base = Measured("f32_cells", "--attribute --plan=f32");
  const std::string now = Renamed(
      Measured("planted_cells", absl::StrCat("--attribute --plan=", kPlanted)),
      kPlanted, "f32");
  const Outcome run = Gated(
      base, now, "table=cells layer=* op=* rel_l2 <= 1.02 x base\n", "-o json");
  EXPECT_EQ(run.exit_code, 3) << run.err;
  const std::vector<Json> failed = Failed(run);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_THAT(failed[0]["of"].get<std::string>(),
              StartsWith("layer=3 op=mlp_residual"));
}

TEST(ExplorerCompareTest, AnotherModelIsNotComparable) {
  const std::string base = Measured("tiny", "--plan=f32");
  const std::string other = absl::StrCat(TestFolder(), "/qwen3");
  ASSERT_EQ(Explorer(absl::StrCat("--plan=f32 --model=synthetic:tiny-qwen3 "
                                  "--tokens=3 --timing_seconds=0 --out='",
                                  other, "'"))
                .exit_code,
            0);
  EXPECT_EQ(Gated(base, other, "plan=f32 rel_l2 <= 9 x base\n").exit_code, 4);
  EXPECT_EQ(
      Explorer(absl::StrCat("--compare='", base, "' --with='", other, "'"))
          .exit_code,
      4);
  const std::string report = absl::StrCat(TestFolder(), "/new/report");
  EXPECT_EQ(Explorer(absl::StrCat("--compare='", base, "' --with='", base,
                                  "' --out='", report, "'"))
                .exit_code,
            0);
  EXPECT_THAT(Read(report + "/report.md"), StartsWith("# Comparison"));
  EXPECT_EQ(Gated("", base, "plan=f32 rel_l2 <= base\n").exit_code, 4);
  EXPECT_EQ(Gated("", base, "plan=other rel_l2 <= 1\n").exit_code, 4);
  EXPECT_EQ(Gated("", base, "plan=f32 final_rel_l2 <= 1\n").exit_code, 0);
}

// Runs of a store, by their times.
std::vector<std::string> Runs(const std::string& store) {
  std::vector<std::string> runs;
  for (const Record& record : Contents(store).records) {
    if (runs.empty() || runs.back() != record.run) runs.push_back(record.run);
  }
  return runs;
}

TEST(ExplorerCompareTest, AStoreIsComparedWithItsReport) {
  const std::string store = Path("a store");
  const std::string axes = "--sweep --axes='matmul=f32,bf16;softmax=f32,bf16'";
  const std::string flags = absl::StrCat(axes, " --store='", store, "'");
  const std::string report = Measured("report", flags);
  for (const std::string& pair :
       {absl::StrCat("--compare='", report, "' --with='", store, "'"),
        absl::StrCat("--compare='", store, "' --with='", report, "'"),
        absl::StrCat("--compare='", store, "' --with='", store, "'")}) {
    const Outcome run = Explorer(pair + " -o json");
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const Json json = Json::parse(run.out);
    EXPECT_EQ(json["differences"], Json::array());
    std::map<std::string, size_t> figures;
    for (const Json& table : json["compared"]) {
      figures[table["table"]] = table["figures"];
    }
    // Four plans on two prompts, after five layers.
    EXPECT_GE(figures["layers"], 4u * 2 * 5 * 10);
    EXPECT_GE(figures["evaluations"], 4u * 2 * 5);
    EXPECT_EQ(json["speeds"].size(), 4u * 2);
    EXPECT_EQ(json["speeds"][0]["speed_ratio"], 1);
    EXPECT_EQ(json["context"]["base_model"], "synthetic:tiny");
  }
  // Of more than one prompt a store needs the other run to say which.
  const std::string other = Measured("other", flags + " --tokens=4");
  Outcome run =
      Explorer(absl::StrCat("--compare='", other, "' --with='", store, "'"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  run = Gated("", store, "plan=f32 rel_l2 <= 1\n");
  EXPECT_EQ(run.exit_code, 1);
  for (const std::string& name : Runs(store)) {
    EXPECT_THAT(run.err, HasSubstr(absl::StrCat(store, "@", name)));
  }
  EXPECT_EQ(Gated("", absl::StrCat(store, "@", Runs(store)[0]),
                  "plan=f32 layer=* rel_l2 <= 1\n")
                .exit_code,
            0);
  // It has nothing of another model, and there is no such run.
  const std::string qwen3 = Path("qwen3");
  ASSERT_EQ(Explorer(absl::StrCat("--plan=f32 --model=synthetic:tiny-qwen3 "
                                  "--tokens=3 --timing_seconds=0 --out='",
                                  qwen3, "'"))
                .exit_code,
            0);
  EXPECT_EQ(
      Explorer(absl::StrCat("--compare='", qwen3, "' --with='", store, "'"))
          .exit_code,
      4);
  run = Explorer(
      absl::StrCat("--compare='", report, "' --with='", store, "@nobody'"));
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.err, HasSubstr("nobody"));
  run = Explorer(
      absl::StrCat("--compare='", report, "' --with='", Path("no"), "'"));
  EXPECT_EQ(run.exit_code, 4);
}

// Two builds that keep what they measure in one store.
TEST(ExplorerCompareTest, RunsOfAStoreAreCompared) {
  const std::string store = Path("builds");
  const std::string flags =
      absl::StrCat(kQuick, "--plan=f32 --store='", store, "'");
  ASSERT_EQ(Explorer(flags).exit_code, 0);
  ASSERT_EQ(PlantedExplorer(flags + " --force").exit_code, 0);
  std::vector<std::string> runs = Runs(store);
  ASSERT_EQ(runs.size(), 2u);
  std::vector<std::pair<std::string, std::string>> by_time;
  for (const Record& record : Contents(store).records) {
    by_time.emplace_back(record.time, record.run);
  }
  const std::string base =
      absl::StrCat(store, "@", absl::c_min_element(by_time)->second);
  const std::string now =
      absl::StrCat(store, "@", absl::c_max_element(by_time)->second);
  const Outcome run =
      Gated(base, now, "plan=f32 layer=* rel_l2 <= 1.02 x base\n", "-o json");
  EXPECT_EQ(run.exit_code, 3) << run.err;
  const std::vector<Json> failed = Failed(run);
  ASSERT_FALSE(failed.empty());
  EXPECT_THAT(failed[0]["of"].get<std::string>(), HasSubstr("layer=1"));
}

TEST(ExplorerCompareTest, BadFilesAreNamed) {
  const std::string base = Measured("good", "--plan=f32");
  const std::string text = WriteTestFile("text.json", "{\"schema\":3}");
  Outcome run =
      Explorer(absl::StrCat("--compare='", base, "' --with='", text, "'"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr(text));
  run = Gated("", base, "plan=f32 rel_l2 ! 3\n");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("gate:1: "));
  run = Explorer(absl::StrCat("--compare='", base, "'"));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("--with"));
  run = Explorer(
      absl::StrCat("--compare='", base, "' --with='", base, "' --junit=x"));
  EXPECT_EQ(run.exit_code, 2);
}

}  // namespace
}  // namespace ulpscope
