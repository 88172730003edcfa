#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr const char kTiny[] =
    " --model=synthetic:tiny --threads=2 --wisdom=none ";

std::string Dump(const std::string& name, const std::string& flags) {
  const std::string path = absl::StrCat(TestFolder(), "/", name);
  const Outcome run =
      Explorer(absl::StrCat("--dump-trace='", path, "'", kTiny, flags));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return path;
}

Outcome Compared(const std::string& a, const std::string& b,
                 const std::string& flags) {
  return Explorer(absl::StrCat("--diagnose --reference='", a,
                               "' --against-trace='", b, "'", kTiny, flags));
}

TEST(ExplorerTracePairTest, NamesTheOpThatDiffers) {
  const std::string tokens = "--tokens=97,3,200";
  const std::string a = Dump("a.safetensors", tokens);
  const std::string b =
      Dump("b.safetensors", tokens + " --plan=f32,down_proj@4=bf16");
  const std::string folder = absl::StrCat(TestFolder(), "/pair");
  const Outcome run = Compared(a, b, absl::StrCat("--out='", folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("# Two traces\n"));
  EXPECT_THAT(run.out, HasSubstr("down_proj in layer 4"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  const Json json = Json::parse(Read(folder + "/results.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["schema"], "ulpscope/trace_pair");
  EXPECT_EQ(json["pair"]["outcome"], "differs");
  EXPECT_EQ(json["pair"]["added_by"], "b");
  const size_t first = json["pair"]["first_added"].get<size_t>();
  const Json point = json["pair_points"][first];
  EXPECT_EQ(point["layer"], 4);
  EXPECT_EQ(point["op"], "down_proj");
  EXPECT_EQ(point["origin"], "added_by_b");
  EXPECT_EQ(json["pair_points"][first + 1]["origin"], "inherited");
  EXPECT_EQ(json["pair_difference"]["point"], first);
  EXPECT_EQ(json["context"]["against_trace"], b);
  EXPECT_EQ(json["pair_states"][8]["nearer"], "a");
  EXPECT_THAT(Read(folder + "/pair_points.csv"),
              StartsWith("model,synthetic,"));

  EXPECT_EQ(Compared(a, b, "--fail-on=implementation").exit_code, 3);
  EXPECT_EQ(Compared(a, a, "--fail-on=implementation").exit_code, 0);
}

// A folder of states has no tokens: they are those of the other.
TEST(ExplorerTracePairTest, TokensAreTheReferences) {
  const std::string a = Dump("a.safetensors", "--tokens=97,3");
  const std::string states = Dump("states", "--tokens=97,3");
  Outcome run = Compared(a, states, "");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("The traces are the same"));
  const std::string other = Dump("other.safetensors", "--tokens=97,4");
  run = Compared(a, other, "");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("position 1: expected token 3, as --reference "
                              "says, found 4"),
                    Not(HasSubstr("loading"))));
}

TEST(ExplorerTracePairTest, FlagsThatDoNothingAreErrors) {
  const std::string pair = "--diagnose --reference=a --against-trace=b";
  const struct {
    std::string flags;
    const char* error;
  } kCases[] = {
      {"--diagnose --reference=a --against-row=0",
       "--against_row does nothing without --against_trace"},
      {"--diagnose --reference=a --against-mapping=x",
       "--against_mapping does nothing without --against_trace"},
      {pair + " --plan=f32", "--plan does nothing with --against_trace"},
      {pair + " --store=x", "--store does nothing with --against_trace"},
      {"--diagnose --reference=a --row=-1", "--row"},
      {"--diagnose --reference=a --row=x", "--row"},
      {"--sweep --row=1", "--row does nothing without --diagnose"},
  };
  for (const auto& c : kCases) {
    const Outcome run = Explorer(absl::StrCat(c.flags, kTiny));
    EXPECT_EQ(run.exit_code, 2) << c.flags;
    EXPECT_THAT(run.err, HasSubstr(c.error)) << c.flags;
  }
}

}  // namespace
}  // namespace ulpscope
