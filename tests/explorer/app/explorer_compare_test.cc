#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
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
  EXPECT_EQ(Gated("", base, "plan=f32 rel_l2 <= base\n").exit_code, 4);
  EXPECT_EQ(Gated("", base, "plan=other rel_l2 <= 1\n").exit_code, 4);
  EXPECT_EQ(Gated("", base, "plan=f32 final_rel_l2 <= 1\n").exit_code, 0);
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
