// What is measured is never lost: reports that cannot be written, and programs
// that end early.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::vector<std::string> kFiles = {"report.md", "results.json",
                                         "report.html"};

std::vector<std::string> Report(const std::string& folder) {
  std::vector<std::string> report;
  for (const std::string& name : kFiles) {
    report.push_back(Read(absl::StrCat(folder, "/", name)));
  }
  return report;
}

// The limit lets report.md through, and not the others, which are larger.
TEST(ExplorerReportTest, FailedWriteLeavesTheWholeReportBefore) {
  const std::string folder = absl::StrCat(TestFolder(), "/limited");
  const std::string flags =
      absl::StrCat("--plan=f32 --wisdom=none --out='", folder, "'", kQuick);
  const Outcome first = Explorer(flags);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const std::vector<std::string> before = Report(folder);
  ASSERT_GT(before[1].size(), 8192u + before[0].size());
  const Outcome second =
      Explorer(absl::StrCat("--token=7 ", flags), "",
               absl::StrCat("ulimit -f ", (before[0].size() + 4096) / 512 + 1));
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("File too large"));
  EXPECT_THAT(second.out, StartsWith("# ulpscope"));
  EXPECT_EQ(Report(folder), before);
}

// At 30 moments from its first report on.
TEST(ExplorerReportTest, KilledProgramLeavesWholeFiles) {
  const std::string folder = absl::StrCat(TestFolder(), "/killed");
  const std::string flags =
      absl::StrCat("--plan=f32 --wisdom=none --out='", folder, "'", kQuick);
  ASSERT_EQ(Explorer(flags).exit_code, 0);
  const std::vector<std::string> first = Report(folder);
  for (int i = 0; i < 30; ++i) {
    StopExplorer({"--plan=f32", "--wisdom=none", "--out=" + folder,
                  "--model=synthetic:tiny", "--tokens=300",
                  "--timing_seconds=0", "--threads=2"},
                 "errors: done", SIGKILL, absl::Milliseconds(8 * i));
    const std::vector<std::string> now = Report(folder);
    EXPECT_THAT(now[0], StartsWith("# ulpscope\n")) << i;
    EXPECT_THAT(now[0], HasSubstr("SYNTHETIC")) << i;
    EXPECT_EQ(now[1].substr(now[1].size() - 3),
              first[1].substr(first[1].size() - 3))
        << i;
    EXPECT_THAT(now[2], EndsWith("</html>\n")) << i;
  }
}

TEST(ExplorerReportTest, ErrorsAreWrittenBeforePlansAreTimed) {
  const std::string folder = absl::StrCat(TestFolder(), "/early");
  const Outcome run =
      StopExplorer({"--sweep", "--model=synthetic:tiny", "--tokens=1500",
                    "--threads=2", "--axes=matmul=f32,bf16",
                    "--timing_seconds=1e9", "--wisdom=none", "--out=" + folder},
                   "errors: done", SIGKILL, absl::Milliseconds(500));
  EXPECT_EQ(run.exit_code, -SIGKILL);
  EXPECT_THAT(Read(folder + "/report.md"),
              HasSubstr("Stopped by a sudden end: "));
  EXPECT_THAT(Read(folder + "/report.md"), HasSubstr("| matmul=bf16 |"));
}

// The address space that the weights fit into, and the errors do not.
TEST(ExplorerReportTest, TooLittleMemoryIsSaid) {
  const Outcome run = Explorer(
      "--plan=f32 --wisdom=none --model=synthetic:tiny --threads=1 "
      "--tokens=60000 --timing_seconds=0",
      "", "ulimit -v 300000");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("memory"));
}

TEST(ExplorerReportTest, FolderThatCannotBeWrittenIsFoundBeforeTheRun) {
  const Outcome run = Explorer(absl::StrCat("--plan=f32 --out=/proc", kQuick));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/proc"));
  EXPECT_THAT(run.err, Not(HasSubstr("loading")));
}

}  // namespace
}  // namespace ulpscope
