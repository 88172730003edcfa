#include "explorer/store/merge.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/run.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/store/made_records.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class OneMonitor : public Monitor {
 public:
  bool stopped() override { return is_stopped; }
  void OnProgress(absl::string_view, size_t, size_t,
                  absl::string_view) override {}

  bool is_stopped = false;
};

// Of another machine, and with another result if that is given.
Record OnMachine(Record record, const std::string& cpu,
                 const std::string& result = "") {
  record.host["cpu"] = cpu;
  record.run = cpu + "-2-20261129T000000.000000";
  if (!result.empty()) record.result = result;
  return record;
}

Record MadeTime(const std::string& time, double value) {
  Record record = MadeRecord(1);
  record.kind = "time";
  record.input = {{"kind", "time"}, {"plan", "f32"}, {"cpu", "A CPU"}};
  record.key = KeyOf(record.input);
  record.time = time;
  record.result = absl::StrCat("{\"value\":", value, "}");
  return record;
}

class MergeTest : public testing::Test {
 protected:
  MergeTest()
      : folder_(absl::StrCat(
            TestFolder(), "/",
            testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }

  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_, "/", name);
  }

  // A store with one shard of these records, and `tail` behind them.
  std::string MadeStore(const std::string& name,
                        const std::vector<Record>& records,
                        const std::string& tail = "") const {
    EXPECT_TRUE(MakeStore(Path(name), "a test").ok());
    std::ofstream shard(Path(name) + "/shards/" + name + ".jsonl",
                        std::ios::binary);
    for (const Record& record : records) shard << LineOf(record) << "\n";
    shard << tail;
    return Path(name);
  }

  absl::StatusOr<Merge> Merged(const std::vector<std::string>& from) {
    return MergeStores(from, Path("into"), "a test", monitor_);
  }

  // Of the merged store, by key; there is one line of each.
  std::map<std::string, std::string> Results() const {
    std::map<std::string, std::string> results;
    const auto contents = ReadStore(Path("into"));
    EXPECT_TRUE(contents.ok()) << contents.status();
    EXPECT_THAT(contents->skipped, IsEmpty());
    for (const Record& record : contents->records) {
      EXPECT_TRUE(results.emplace(record.key, record.result).second);
    }
    return results;
  }

  size_t NumRecords() const {
    const auto contents = ReadStore(Path("into"));
    EXPECT_TRUE(contents.ok()) << contents.status();
    return contents.ok() ? contents->records.size() : 0;
  }

  const std::string folder_;
  OneMonitor monitor_;
};

TEST_F(MergeTest, EachMeasurementIsThereOnce) {
  const auto a = MadeStore("a", {MadeRecord(1), MadeRecord(2), MadeRecord(1)});
  const auto b = MadeStore("b", {MadeRecord(2), MadeRecord(3)});
  const auto merge = Merged({a, b});
  ASSERT_TRUE(merge.ok()) << merge.status();
  EXPECT_EQ(merge->written, 3u);
  EXPECT_THAT(merge->conflicts, IsEmpty());
  ASSERT_THAT(merge->sources, SizeIs(3));
  EXPECT_EQ(merge->sources[1].records, 3u);
  EXPECT_EQ(merge->sources[1].taken, 2u);
  EXPECT_EQ(merge->sources[2].records, 2u);
  EXPECT_EQ(merge->sources[2].taken, 1u);
  EXPECT_EQ(merge->kinds.at("error").records, 5u);
  EXPECT_EQ(merge->kinds.at("error").keys, 3u);
  EXPECT_EQ(merge->kinds.at("error").checked, 0u);
  std::map<std::string, std::string> expected;
  for (const int i : {1, 2, 3}) {
    expected[MadeRecord(i).key] = MadeRecord(i).result;
  }
  EXPECT_EQ(Results(), expected);
  // One shard, in the order of what was read.
  EXPECT_THAT(ShardsOf(Path("into")).value(), ElementsAre(merge->shard));
  const auto contents = ReadStore(Path("into"));
  ASSERT_THAT(contents->records, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(LineOf(contents->records[static_cast<size_t>(i)]),
              LineOf(MadeRecord(i + 1)));
  }
  // The sources are as they were.
  EXPECT_THAT(ReadStore(a)->records, SizeIs(3));
}

TEST_F(MergeTest, AgainChangesNothing) {
  const auto a = MadeStore("a", {MadeRecord(1), MadeRecord(2)});
  ASSERT_TRUE(Merged({a}).ok());
  const auto before = ShardsOf(Path("into")).value();
  const auto again = Merged({a});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->written, 0u);
  EXPECT_EQ(again->shard, "");
  EXPECT_EQ(ShardsOf(Path("into")).value(), before);
  // What is new alone is added.
  const auto b = MadeStore("b", {MadeRecord(2), MadeRecord(3)});
  const auto more = Merged({a, b});
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_EQ(more->written, 1u);
  EXPECT_THAT(Results(), SizeIs(3));
}

TEST_F(MergeTest, OtherBitsOfAnotherMachineAreNamedAndKept) {
  const auto a = MadeStore("a", {MadeRecord(1), MadeRecord(2)});
  const auto b =
      MadeStore("b", {OnMachine(MadeRecord(1), "B"),
                      OnMachine(MadeRecord(2), "B", "{\"value\":2.5}")});
  const auto merge = Merged({a, b});
  ASSERT_TRUE(merge.ok()) << merge.status();
  EXPECT_EQ(merge->kinds.at("error").checked, 2u);
  EXPECT_EQ(merge->kinds.at("error").conflicts, 1u);
  ASSERT_THAT(merge->conflicts, SizeIs(1));
  const BitConflict& conflict = merge->conflicts[0];
  EXPECT_EQ(conflict.key, MadeRecord(2).key);
  EXPECT_EQ(conflict.plan, "plan 2");
  EXPECT_EQ(conflict.tokens, "1,2,3");
  EXPECT_EQ(conflict.difference.figure, "value");
  EXPECT_EQ(conflict.difference.first, "2.25");
  EXPECT_EQ(conflict.difference.second, "2.5");
  EXPECT_EQ(conflict.first.cpu, "A CPU");
  EXPECT_EQ(conflict.second.cpu, "B");
  EXPECT_EQ(merge->written, 3u);
  EXPECT_EQ(NumRecords(), 3u);
  // A merge of what is in conflict says so again, and keeps no third one.
  const auto again = Merged({b});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(again->conflicts, SizeIs(1));
  EXPECT_EQ(NumRecords(), 3u);
}

// NaN is a value: the same on both machines is no conflict, a number is.
TEST_F(MergeTest, NanIsComparedAsAValue) {
  const auto a =
      MadeStore("a", {OnMachine(MadeRecord(1), "A", "{\"value\":\"NaN\"}")});
  const auto b =
      MadeStore("b", {OnMachine(MadeRecord(1), "B", "{\"value\":\"NaN\"}"),
                      OnMachine(MadeRecord(1), "C", "{\"value\":null}")});
  const auto merge = Merged({a, b});
  ASSERT_TRUE(merge.ok()) << merge.status();
  ASSERT_THAT(merge->conflicts, SizeIs(1));
  EXPECT_EQ(merge->conflicts[0].second.cpu, "C");
}

TEST_F(MergeTest, OfTimesTheNewestCountsInAnyOrder) {
  const Record old_one = MadeTime("2026-11-28T00:00:00.000000Z", 1);
  const Record new_one = MadeTime("2026-11-29T00:00:00.000000Z", 2);
  for (const bool new_first : {false, true}) {
    std::filesystem::remove_all(Path("into"));
    const auto a = MadeStore("a", {new_first ? new_one : old_one});
    const auto b = MadeStore("b", {new_first ? old_one : new_one});
    const auto merge = Merged({a, b});
    ASSERT_TRUE(merge.ok()) << merge.status();
    EXPECT_THAT(merge->conflicts, IsEmpty());
    EXPECT_EQ(Results()[new_one.key], "{\"value\":2}");
  }
}

TEST_F(MergeTest, TornTailIsSkippedAndSaid) {
  const std::string line = LineOf(MadeRecord(2));
  const auto a =
      MadeStore("a", {MadeRecord(1)}, line.substr(0, line.size() / 2));
  const auto merge = Merged({a});
  ASSERT_TRUE(merge.ok()) << merge.status();
  EXPECT_THAT(merge->sources[1].skipped,
              ElementsAre(HasSubstr("line 2: it is cut off")));
  EXPECT_THAT(Results(), SizeIs(1));
}

TEST_F(MergeTest, ForeignLinesAndFilesAreSkippedAndSaid) {
  Record other = MadeRecord(2);
  std::string spoilt = LineOf(other);
  spoilt[spoilt.find("2.25")] = '3';
  const auto a = MadeStore(
      "a", {MadeRecord(1)},
      spoilt + "\nnonsense\n[]\n" + std::string("\0\xff\n", 3) + "\n");
  std::ofstream(a + "/shards/readme.txt") << "not a shard";
  std::ofstream(a + "/shards/empty.jsonl");
  std::filesystem::create_directories(a + "/shards/folder.jsonl");
  const auto merge = Merged({a});
  ASSERT_TRUE(merge.ok()) << merge.status();
  EXPECT_THAT(merge->sources[1].skipped, SizeIs(2));
  EXPECT_THAT(merge->sources[1].skipped[0],
              HasSubstr("line 2: its checksum is wrong, and 4 more lines"));
  EXPECT_THAT(merge->sources[1].skipped[1], HasSubstr("folder.jsonl"));
  EXPECT_THAT(Results(), SizeIs(1));
}

TEST_F(MergeTest, ShardAloneIsASourceToo) {
  const auto a = MadeStore("a", {MadeRecord(1), MadeRecord(2)});
  const auto merge = Merged({a + "/shards/a.jsonl"});
  ASSERT_TRUE(merge.ok()) << merge.status();
  EXPECT_THAT(Results(), SizeIs(2));
  // Its process was killed before its first line was whole.
  const std::string torn = Path("torn.jsonl");
  std::ofstream(torn) << LineOf(MadeRecord(3)).substr(0, 60);
  const auto with_torn = Merged({torn});
  ASSERT_TRUE(with_torn.ok()) << with_torn.status();
  EXPECT_THAT(with_torn->sources[1].skipped, SizeIs(1));
}

TEST_F(MergeTest, WhatIsNoStoreIsAnError) {
  const auto a = MadeStore("a", {MadeRecord(1)});
  const std::string text = Path("README.md");
  std::ofstream(text) << "# A file\n\nof no records.\n";
  std::filesystem::create_directories(Path("folder"));
  MadeStore("old", {});
  std::ofstream(Path("old") + "/meta.json")
      << "{\"schema\":\"ulpscope/store\",\"version\":9}";
  const struct {
    std::string path;
    const char* message;
  } cases[] = {{Path("missing"), "found nothing"},
               {text, "line 1"},
               {Path("folder"), "meta.json"},
               {Path("old"), "version 9"}};
  for (const auto& bad : cases) {
    const auto merge = Merged({a, bad.path});
    ASSERT_FALSE(merge.ok()) << bad.path;
    EXPECT_THAT(merge.status().message(), HasSubstr(bad.path));
    EXPECT_THAT(merge.status().message(), HasSubstr(bad.message));
  }
  // Nothing of what was right was written.
  EXPECT_FALSE(std::filesystem::exists(Path("into")));
  ASSERT_TRUE(MakeStore(Path("into"), "a test").ok());
  const auto itself = Merged({a, Path("into")});
  EXPECT_TRUE(absl::IsInvalidArgument(itself.status())) << itself.status();
}

// What is wrong with a source is found before there is a store of it.
TEST_F(MergeTest, NothingIsMadeOfSourcesThatAreNone) {
  const std::string text = Path("README.md");
  std::ofstream(text) << "# A file\n\nof no records.\n";
  std::filesystem::create_directories(Path("folder"));
  const auto a = MadeStore("a", {MadeRecord(1)});
  for (const std::string& bad : {Path("missing"), text, Path("folder")}) {
    EXPECT_FALSE(Merged({a, bad}).ok()) << bad;
    EXPECT_FALSE(std::filesystem::exists(Path("into"))) << bad;
  }
}

// A checksum says that a line did not change, not that its result is one.
TEST_F(MergeTest, NothingIsMadeWithAResultThatIsNone) {
  Record bad = MadeRecord(2);
  bad.result = "{\"value\":1";
  const std::string from = MadeStore("from", {MadeRecord(1), bad});
  const auto merge = Merged({from});
  ASSERT_FALSE(merge.ok());
  EXPECT_THAT(std::string(merge.status().message()),
              HasSubstr("from.jsonl: the result of "));
  EXPECT_FALSE(std::filesystem::exists(Path("into")));
}

TEST_F(MergeTest, StoppedOneWritesNothing) {
  const auto a = MadeStore("a", {MadeRecord(1)});
  monitor_.is_stopped = true;
  EXPECT_TRUE(absl::IsCancelled(Merged({a}).status()));
  EXPECT_FALSE(std::filesystem::exists(Path("into")));
}

}  // namespace
}  // namespace ulpscope
