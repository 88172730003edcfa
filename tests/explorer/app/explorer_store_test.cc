// A store, however the program ends: nothing is lost, or measured twice.

#include <signal.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/stored_runs.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

const char kSweep[] =
    "--sweep --wisdom=none --model=synthetic:tiny --tokens=3 "
    "--timing_seconds=0 --threads=2";
// Errors of 27 plans on a token and a prompt, and two rounds of their times.
constexpr size_t kMeasurements = 27 * (2 + 2);

std::string Flags(const std::string& store, const std::string& out = "") {
  std::string flags = absl::StrCat(kSweep, " --store=", store);
  if (!out.empty()) absl::StrAppend(&flags, " --out=", out);
  return flags;
}

TEST(ExplorerStoreTest, SecondRunMeasuresNothing) {
  const std::string store = Path("store");
  const Outcome first = Explorer(Flags(store, Path("first")));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Counts(first), std::make_pair(size_t{0}, kMeasurements));
  const StoreContents contents = Contents(store);
  EXPECT_THAT(contents.records, SizeIs(kMeasurements));
  EXPECT_THAT(Keys(contents), SizeIs(kMeasurements));
  EXPECT_THAT(contents.skipped, IsEmpty());

  const Outcome second = Explorer(Flags(store, Path("second")));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Counts(second), std::make_pair(kMeasurements, size_t{0}));
  EXPECT_THAT(Contents(store).records, SizeIs(kMeasurements));
  EXPECT_EQ(Results(Path("second")), Results(Path("first")));
  EXPECT_EQ(second.out, first.out);

  // A plan of the sweep alone is there; another prompt is not.
  const std::string plan = absl::StrCat(
      "--plan=f32 --wisdom=none --threads=2 --model=synthetic:tiny "
      "--timing_seconds=0 --store=",
      store);
  const Outcome alone = Explorer(plan + " --tokens=3");
  EXPECT_EQ(Counts(alone), std::make_pair(size_t{4}, size_t{0})) << alone.err;
  const Outcome longer = Explorer(plan + " --tokens=4");
  EXPECT_EQ(Counts(longer), std::make_pair(size_t{1}, size_t{3}));
  // Times are of a number of threads.
  const Outcome threads = Explorer(plan + " --tokens=3 --threads=1");
  EXPECT_EQ(Counts(threads), std::make_pair(size_t{2}, size_t{2}));
}

TEST(ExplorerStoreTest, ForceMeasuresAllAndCompares) {
  const std::string store = Path("forced");
  const std::string flags = absl::StrCat(
      "--plan=bf16 --wisdom=none --threads=2 --model=synthetic:tiny "
      "--tokens=3 --timing_seconds=0 --store=",
      store);
  ASSERT_EQ(Explorer(flags).exit_code, 0);
  const Outcome same = Explorer(flags + " --force");
  EXPECT_EQ(Counts(same), std::make_pair(size_t{0}, size_t{4}));
  EXPECT_THAT(same.err, Not(HasSubstr("warning")));
  // As a machine whose kernels round once otherwise would have kept it.
  const StoreContents contents = Contents(store);
  std::filesystem::remove_all(store + "/shards");
  ASSERT_TRUE(MakeStore(store, "a test").ok());
  ShardWriter writer(store, "other-1-20260101T000000.000000");
  for (Record record : contents.records) {
    if (record.kind != "error") continue;
    auto result = nlohmann::json::parse(record.result);
    result["layers"][1]["error"]["rmse"] =
        1.5 * result["layers"][1]["error"]["rmse"].get<double>();
    record.result = result.dump();
    record.run = "other-1-20260101T000000.000000";
    ASSERT_TRUE(writer.Append(LineOf(record)).ok());
    break;
  }
  const Outcome forced = Explorer(flags + " --force");
  EXPECT_EQ(forced.exit_code, 0);
  EXPECT_THAT(forced.err,
              HasSubstr("explorer: warning: a strategy fixes the bits, but two "
                        "measurements of error "));
  EXPECT_THAT(forced.err,
              HasSubstr("plan bf16, differ: layers/1/error/rmse: "));
  EXPECT_THAT(forced.err, HasSubstr("other-1-20260101T000000.000000"));
}

// Kills sweeps at random moments, a number of records and then up to a few
// milliseconds, and runs the same command again. ULPSCOPE_KILLS says how many,
// of all shards together.
class ExplorerStoreKillTest : public testing::TestWithParam<int> {};

TEST_P(ExplorerStoreKillTest, SameCommandCompletesTheStore) {
  const char* const text = std::getenv("ULPSCOPE_KILLS");
  int kills = 20;
  if (text != nullptr) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &kills));
  }
  const int shard = GetParam();
  const std::string store = Path(absl::StrCat("killed", shard));
  ASSERT_EQ(Explorer(Flags(store)).exit_code, 0);  // the files are then cached
  std::filesystem::remove_all(store);
  ASSERT_EQ(Explorer(Flags(store, Path("undisturbed"))).exit_code, 0);
  const StoreContents expected = Contents(store);
  ASSERT_THAT(Keys(expected), SizeIs(kMeasurements));

  std::mt19937 random(static_cast<unsigned>(shard));
  size_t disturbed = 0;
  for (int i = shard; i < kills; i += 4) {
    std::filesystem::remove_all(store);
    std::vector<std::string> arguments =
        absl::StrSplit(Flags(store), ' ', absl::SkipEmpty());
    KillInTheMiddle(arguments, store, kMeasurements, random);
    const size_t kept = Contents(store).records.size();
    if (kept > 0 && kept < kMeasurements) ++disturbed;
    const Outcome again = Explorer(Flags(store, Path("again")));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    // Nothing was measured twice, and nothing lost.
    EXPECT_EQ(Counts(again), std::make_pair(kept, kMeasurements - kept));
    const StoreContents contents = Contents(store);
    EXPECT_THAT(contents.records, SizeIs(kMeasurements));
    EXPECT_EQ(Keys(contents), Keys(expected));
    EXPECT_EQ(Errors(contents), Errors(expected));
    // Of a run that was not disturbed on the finished store.
    ASSERT_EQ(Explorer(Flags(store, Path("third"))).exit_code, 0);
    EXPECT_EQ(Results(Path("again")), Results(Path("third")));
    for (const char* table : {"evaluations", "layers"}) {  // without speeds
      std::set<std::string> rows, undisturbed;
      for (const auto& row : Results(Path("again"))[table]) {
        rows.insert(row.dump());
      }
      for (const auto& row : Results(Path("undisturbed"))[table]) {
        undisturbed.insert(row.dump());
      }
      EXPECT_EQ(rows, undisturbed) << table;
    }
  }
  EXPECT_GT(disturbed, 0u);
  RecordProperty("disturbed", static_cast<int>(disturbed));
}

INSTANTIATE_TEST_SUITE_P(Shards, ExplorerStoreKillTest, testing::Range(0, 4));

TEST(ExplorerStoreTest, StoppedSweepGoesOn) {
  const std::string store = Path("stopped");
  const std::string sweep =
      "--sweep --model=synthetic:tiny --tokens=300 --threads=2 "
      "--axes=matmul=f32,bf16;softmax=f32,bf16 --timing_seconds=1 "
      "--wisdom=none --store=" +
      store;
  const Outcome stopped =
      StopExplorer(absl::StrSplit(sweep, ' '), "errors: done", SIGINT);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  const size_t kept = Contents(store).records.size();
  EXPECT_GE(kept, 8u);  // all errors
  const Outcome again = Explorer(absl::StrReplaceAll(sweep, {{";", "\\;"}}));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Counts(again).first, kept);
  EXPECT_GE(Counts(again).second, 1u);
  EXPECT_THAT(Keys(Contents(store)), SizeIs(kept + Counts(again).second));
}

TEST(ExplorerStoreTest, TwoProcessesAtOnce) {
  const std::string store = Path("two");
  Outcome runs[2];
  std::thread other([&] { runs[1] = Explorer(Flags(store)); });
  runs[0] = Explorer(Flags(store));
  other.join();
  for (const Outcome& run : runs) {
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.err, Not(HasSubstr("fixes the bits")));
  }
  // Both may have measured the same, never differently.
  const StoreContents contents = Contents(store);
  EXPECT_THAT(contents.skipped, IsEmpty());
  EXPECT_THAT(Keys(contents), SizeIs(kMeasurements));
  EXPECT_THAT(Errors(contents), SizeIs(54));
  const Outcome third = Explorer(Flags(store));
  EXPECT_EQ(Counts(third), std::make_pair(kMeasurements, size_t{0}));
  EXPECT_THAT(third.err, Not(HasSubstr("warning")));
}

TEST(ExplorerStoreTest, StoreThatCannotBeIsSaidBeforeAnythingRuns) {
  const std::string file = WriteTestFile("file", "x");
  const std::string fifo = Path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string other = Path("other");
  ASSERT_TRUE(MakeStore(other, "a test").ok());
  WriteTestFile("other/meta.json",
                "{\"schema\":\"ulpscope/store\",\"version\":9}");
  for (const std::string& path :
       {file, file + "/store", fifo, std::string("/proc/store"), other}) {
    const Outcome run = Explorer(Flags(path));
    EXPECT_EQ(run.exit_code, 1) << path;
    EXPECT_THAT(run.err, StartsWith("explorer: " + path)) << run.err;
    EXPECT_THAT(run.err, Not(HasSubstr("loading"))) << path;
    EXPECT_EQ(run.out, "");
  }
  EXPECT_THAT(Explorer(Flags(other)).err, HasSubstr("is of version 9"));
  const Outcome force = Explorer(std::string(kSweep) + " --force");
  EXPECT_EQ(force.exit_code, 2);
  EXPECT_THAT(force.err, HasSubstr("--force does nothing without --store"));
}

// A limit on the size of files, as of a disk that fills up on the way.
TEST(ExplorerStoreTest, FullDiskLosesNoReport) {
  const std::string store = Path("full");
  const Outcome run = Explorer(Flags(store), "", "ulimit -f 64");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("explorer: warning: "));
  EXPECT_THAT(run.err, HasSubstr("File too large"));
  EXPECT_THAT(run.out, StartsWith("# ulpscope\n"));
  EXPECT_THAT(run.out, HasSubstr("\n| 27 | "));
  const StoreContents contents = Contents(store);
  EXPECT_THAT(contents.skipped, IsEmpty());
  EXPECT_GT(contents.records.size(), 0u);
  EXPECT_LT(contents.records.size(), kMeasurements);
  const Outcome again = Explorer(Flags(store));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Counts(again).first, contents.records.size());
  EXPECT_THAT(Keys(Contents(store)), SizeIs(kMeasurements));
}

}  // namespace
}  // namespace ulpscope
