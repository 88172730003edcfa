#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ExplorerSweepTest, SweepPrintsTheReportAndWritesIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/report");
  const Outcome run =
      Explorer(absl::StrCat("--sweep --out='", folder, "'", kQuick));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("# ulpscope\n"));
  EXPECT_THAT(run.out, HasSubstr("\n| 27 | "));
  EXPECT_THAT(run.out, HasSubstr("SYNTHETIC"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"), StartsWith("{"));
  EXPECT_THAT(Read(folder + "/plans.csv"), StartsWith("model,synthetic,"));
  // Progress is on stderr, in whole lines: it is no terminal.
  EXPECT_THAT(run.out, Not(HasSubstr("done in")));
  for (const char* task : {"loading", "errors", "timing"}) {
    EXPECT_THAT(run.err, HasSubstr(task));
  }
  for (const std::string& text : {run.out, run.err}) {
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\r")));
    EXPECT_TRUE(absl::EndsWith(text, "\n"));
  }
}

TEST(ExplorerSweepTest, PlanPrintsItsReport) {
  const Outcome run = Explorer(
      absl::StrCat("--plan=softmax=f32,matmul=kahan --layers=2-3", kQuick));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("## Plan `matmul=kahan`"));
  EXPECT_THAT(run.out, HasSubstr("\n| 2 | "));
  EXPECT_THAT(run.out, HasSubstr("\n| 3 | "));
  EXPECT_THAT(run.out, Not(HasSubstr("\n| 4 | ")));
}

// Without timings the report is the same whatever the threads; another seed is
// another prompt.
TEST(ExplorerSweepTest, ErrorsDependOnTheSeedAlone) {
  const auto errors = [](const std::string& flags) {
    const Outcome run = Explorer(absl::StrCat(
        "--plan=bf16 --model=synthetic:tiny --tokens=20 --timing_seconds=0 ",
        flags));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    for (absl::string_view line : absl::StrSplit(run.out, '\n')) {
      const std::vector<std::string> cells = absl::StrSplit(line, '|');
      if (cells.size() > 6 && cells[1] == " 1 ") {
        return absl::StrCat(cells[6], cells[7], cells[8], cells[9]);
      }
    }
    ADD_FAILURE() << "no ranking";
    return std::string();
  };
  const std::string one = errors("--threads=1");
  EXPECT_EQ(errors("--threads=2 --seed=1"), one);
  EXPECT_NE(errors("--seed=2"), one);
}

// However few plans are measured together.
TEST(ExplorerSweepTest, MemoryChangesNoError) {
  const std::string folder = absl::StrCat(TestFolder(), "/memory");
  const auto errors_with = [&folder](const std::string& memory) {
    const Outcome run = Explorer(absl::StrCat(
        "--sweep --axes=matmul=f32,kahan --model=synthetic:tiny --tokens=3 "
        "--timing_seconds=0 --threads=1 --out='",
        folder, "' --memory=", memory));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    // The cells from final_rmse on, of the heads and of both plans.
    std::vector<std::string> errors;
    size_t first = 0;
    for (absl::string_view line :
         absl::StrSplit(Read(folder + "/plans.csv"), '\n')) {
      const std::vector<std::string> cells = absl::StrSplit(line, ',');
      if (first == 0) {
        const auto at = std::find(cells.begin(), cells.end(), "final_rmse");
        first = static_cast<size_t>(at - cells.begin());
      }
      if (cells.size() <= first) continue;
      errors.insert(errors.end(), cells.begin() + static_cast<ptrdiff_t>(first),
                    cells.end());
    }
    return errors;
  };
  const std::vector<std::string> expected = errors_with("50%");
  ASSERT_GE(expected.size(), 3u * 8);
  EXPECT_EQ(expected[0], "final_rmse");
  for (const char* memory : {"1", "1.5K", "2M", "1G", "100%"}) {
    EXPECT_EQ(errors_with(memory), expected) << memory;
  }
}

// On prompts that take many times as long as a signal.
TEST(ExplorerSweepTest, SweepThatIsStoppedInItsTimingReportsIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/timing");
  const Outcome run =
      StopExplorer({"--sweep", "--model=synthetic:tiny", "--tokens=1500",
                    "--threads=2", "--axes=matmul=f32,bf16;softmax=f32,bf16",
                    "--timing_seconds=1e9", "--wisdom=none", "--out=" + folder},
                   "errors: done", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in round "));
  EXPECT_THAT(run.err, HasSubstr("wrote "));
  EXPECT_THAT(run.err, Not(HasSubstr("timing: done")));
  EXPECT_THAT(run.out, StartsWith("# ulpscope\n"));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by Ctrl-C: in round "));
  EXPECT_THAT(run.out, HasSubstr("\n| 4 | "));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_in\":\"in round "));
  EXPECT_THAT(Read(folder + "/plans.csv"), StartsWith("model,synthetic,"));
}

TEST(ExplorerSweepTest, SweepThatIsStoppedInItsErrorsReportsIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/errors");
  const Outcome run = StopExplorer(
      {"--sweep", "--model=synthetic:tiny", "--tokens=4000", "--threads=2",
       "--wisdom=none", "--out=" + folder},
      // Which comes a moment before the errors, of seconds.
      "loading synthetic:tiny: done", SIGTERM, absl::Milliseconds(100));
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by SIGTERM while "
                                 "measuring errors, "));
  EXPECT_THAT(run.err, Not(HasSubstr("errors: done")));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by SIGTERM: while measuring "
                                 "errors, "));
  EXPECT_THAT(run.out, HasSubstr("\n## Until it was stopped\n"));
  EXPECT_THAT(run.out, HasSubstr("\n| matmul=bf16,rmsnorm=kahan | "));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_by\":\"SIGTERM\""));
}

TEST(ExplorerSweepTest, PlansOfAFileAreSwept) {
  const std::string file = WriteTestFile(
      "plans.txt", "# three plans\n\nf32\n matmul=kahan \nbf16\nmatmul=f32\n");
  const Outcome run = Explorer(absl::StrCat(
      "--sweep --timed_plans=1 -o json --plan_file='", file, "'", kQuick));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* plan : {"f32", "matmul=kahan", "bf16"}) {
    EXPECT_THAT(run.out, HasSubstr(absl::StrCat("\"plan\":\"", plan, "\"")));
  }
  EXPECT_THAT(run.out, HasSubstr("\"not_timed\":\"not chosen\""));
  EXPECT_THAT(run.err, HasSubstr("1 lines have a plan that stands above"));
}

TEST(ExplorerSweepTest, FileWithoutPlansIsAnError) {
  for (const auto& [text, message] :
       std::vector<std::pair<std::string, std::string>>{
           {"", "empty"},
           {"# nothing\n", "expected a plan a line, found none"},
           {"f32\n\nmatmul=f33\n", ": line 3: "},
           {std::string("f32\n\0\n", 6), ": line 2: "}}) {
    const std::string file = WriteTestFile("no_plans.txt", text);
    const Outcome run =
        Explorer(absl::StrCat("--sweep --plan_file='", file, "'", kQuick));
    EXPECT_EQ(run.exit_code, 2) << run.out;
    EXPECT_THAT(run.err, HasSubstr("--plan_file"));
    EXPECT_THAT(run.err, HasSubstr(message));
  }
  EXPECT_EQ(Explorer("--sweep --plan_file=/no/such").exit_code, 2);
  const Outcome both = Explorer("--sweep --plan_file=x --axes=matmul=f32");
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("--axes does nothing with --plan_file"));
}

}  // namespace
}  // namespace ulpscope
