#include <signal.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A number alone is a length; with a comma after it, an id.
TEST(ExplorerGenerateTest, PromptOfOneId) {
  const Outcome id =
      Explorer("--generate=3 --model=synthetic:tiny --tokens=3,");
  ASSERT_EQ(id.exit_code, 0) << id.err;
  EXPECT_EQ(id.out, Explorer("--generate=3 --model=synthetic:tiny --tokens=1 "
                             "--token=3")
                        .out);
}

TEST(ExplorerGenerateTest, GeneratePrintsIdsAlone) {
  const std::string prompt = " --model=synthetic:tiny --tokens=97,3,200";
  const Outcome two = Explorer(absl::StrCat("--generate=2", prompt));
  const Outcome five = Explorer(absl::StrCat("--generate=5", prompt));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_THAT(two.out, testing::MatchesRegex("[0-9]+,[0-9]+\n"));
  EXPECT_THAT(five.out,
              testing::MatchesRegex("[0-9]+(,[0-9]+)(,[0-9]+)(,[0-9]+)(,[0-9]+)"
                                    "\n"));
  EXPECT_TRUE(absl::StartsWith(
      five.out, absl::StrCat(two.out.substr(0, two.out.size() - 1), ",")));
  EXPECT_EQ(Explorer(absl::StrCat("--generate=5 --plan=f32", prompt)).out,
            five.out);
}

TEST(ExplorerGenerateTest, GenerationThatIsStoppedPrintsTheTokensSoFar) {
  // Between loading and generating it ends at once, without tokens: the signal
  // has to come later, on a slow machine by more.
  for (absl::Duration delay = absl::Milliseconds(50); delay < absl::Seconds(5);
       delay *= 3) {
    const Outcome run =
        StopExplorer({"--generate=50000", "--model=synthetic:tiny",
                      "--threads=2", "--wisdom=none"},
                     "loading synthetic:tiny: done", SIGINT, delay);
    EXPECT_EQ(run.exit_code, 130);
    EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C"));
    if (!absl::StrContains(run.err, " of 50000 tokens")) continue;
    EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C after "));
    EXPECT_THAT(run.out, testing::MatchesRegex("([0-9]+(,[0-9]+)*\n)?"));
    return;
  }
  FAIL() << "never stopped while it generated";
}

TEST(ExplorerGenerateTest, EndsAtTheModelsEndToken) {
  const Outcome run =
      Explorer("--generate=30 --model=synthetic:tiny --tokens=32,");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "2\n");
  EXPECT_THAT(run.err, HasSubstr("explorer: the model's end token 2 came "
                                 "after 1 of 30 tokens\n"));
}

TEST(ExplorerGenerateTest, BeyondTheModelsPositionsWarns) {
  const std::string tiny = " --model=synthetic:tiny --tokens=97,3,200";
  const Outcome beyond = Explorer("--generate=511" + tiny);
  EXPECT_EQ(beyond.exit_code, 0);
  EXPECT_THAT(beyond.err,
              HasSubstr("warning: the prompt of 3 tokens and 510 generated "
                        "ones is longer than the model's 512 positions\n"));
  EXPECT_THAT(Explorer("--generate=510" + tiny).err, Not(HasSubstr("warning")));
}

}  // namespace
}  // namespace ulpscope
