#include "explorer/store/shards.h"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "explorer/store/record.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/store/made_records.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// An empty store of the running test's own.
std::string MadeStore(const std::string& name) {
  const std::string folder = absl::StrCat(TestFolder(), "/", name);
  std::filesystem::remove_all(folder);
  const absl::Status made = MakeStore(folder, "a test");
  EXPECT_TRUE(made.ok()) << made;
  return folder;
}

StoreContents Contents(const std::string& folder) {
  auto contents = ReadStore(folder);
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? *std::move(contents) : StoreContents();
}

std::string Lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, LineOf(MadeRecord(i)), "\n");
  }
  return text;
}

TEST(ShardsTest, WhatIsAppendedIsRead) {
  const std::string folder = MadeStore("appended");
  EXPECT_THAT(Contents(folder).records, IsEmpty());
  ShardWriter writer(folder, NewRun());
  EXPECT_FALSE(std::filesystem::exists(writer.path()));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(writer.Append(LineOf(MadeRecord(i))).ok());
    // At once, for whoever reads it.
    const StoreContents contents = Contents(folder);
    ASSERT_THAT(contents.records, SizeIs(i + 1));
    EXPECT_EQ(contents.records.back().key, MadeRecord(i).key);
    EXPECT_THAT(contents.skipped, IsEmpty());
  }
  EXPECT_THAT(MakeStore(folder, "another").message(), IsEmpty());
  EXPECT_THAT(Contents(folder).records, SizeIs(3));
}

TEST(ShardsTest, ShardCutAtAnyByteHasTheLinesBefore) {
  const std::string folder = MadeStore("cut");
  const std::string path = absl::StrCat(folder, "/shards/a.jsonl");
  const std::string text = Lines(3);
  for (size_t size = 0; size <= text.size(); ++size) {
    Write(path, text.substr(0, size));
    const StoreContents contents = Contents(folder);
    size_t whole = 0, end = 0;
    for (size_t i = 0; i < size; ++i) {
      if (text[i] != '\n') continue;
      ++whole;
      end = i + 1;
    }
    // A line that lacks nothing but its end is whole.
    const bool lacks_end = size < text.size() && text[size] == '\n';
    EXPECT_THAT(contents.records, SizeIs(whole + (lacks_end ? 1 : 0))) << size;
    if (size == end || lacks_end) {
      EXPECT_THAT(contents.skipped, IsEmpty()) << size;
    } else {
      EXPECT_THAT(contents.skipped,
                  ElementsAre(absl::StrCat(
                      path, ": line ", whole + 1,
                      ": it is cut off, as by a process that was killed")));
    }
  }
}

// As where shards were put into one file, the first of them cut.
TEST(ShardsTest, DamagedLinesTakeNoOthersAway) {
  const std::string folder = MadeStore("damaged");
  const std::string path = absl::StrCat(folder, "/shards/a.jsonl");
  const std::string line = LineOf(MadeRecord(1));
  Write(path, absl::StrCat(Lines(1), line.substr(0, 50), line, "\n\n{}\n", line,
                           "\n", line, "\n"));
  const StoreContents contents = Contents(folder);
  ASSERT_THAT(contents.records, SizeIs(3));  // the last one twice
  EXPECT_EQ(contents.records[2].key, MadeRecord(1).key);
  EXPECT_THAT(contents.skipped, ElementsAre(HasSubstr(": line 2: it: ")));
  EXPECT_THAT(contents.skipped[0], HasSubstr(", and 2 more lines"));
}

TEST(ShardsTest, WhatIsNoShardIsSaidOrLeftAlone) {
  const std::string folder = MadeStore("strange");
  const std::string shards = absl::StrCat(folder, "/shards/");
  Write(shards + "a.jsonl", Lines(2));
  Write(shards + "b.jsonl", "");
  Write(shards + "notes.txt", "to whom it may concern");
  std::filesystem::create_directory(shards + "c.jsonl");
  ASSERT_EQ(mkfifo((shards + "d.jsonl").c_str(), 0600), 0);
  std::filesystem::create_symlink("nowhere", shards + "e.jsonl");
  const StoreContents contents = Contents(folder);
  EXPECT_THAT(contents.records, SizeIs(2));
  EXPECT_THAT(contents.skipped,
              ElementsAre(HasSubstr("c.jsonl"), HasSubstr("d.jsonl"),
                          HasSubstr("e.jsonl")));
}

TEST(ShardsTest, OtherVersionIsAnError) {
  const std::string folder = MadeStore("version");
  const std::string meta = absl::StrCat(folder, "/meta.json");
  for (const char* text :
       {"{\"schema\":\"ulpscope/store\",\"version\":2}",
        "{\"schema\":\"ulpscope/sweep\",\"version\":1}", "{}", "[]", "x",
        "{\"schema\":\"ulpscope/store\",\"version\":\"1\"}",
        "{\"schema\":\"ulpscope/store\",\"version\":1", ""}) {
    Write(meta, text);
    EXPECT_FALSE(ReadStore(folder).ok()) << text;
    const absl::Status made = MakeStore(folder, "a test");
    EXPECT_THAT(made.message(), HasSubstr(meta)) << text;
  }
  Write(meta, "{\"schema\":\"ulpscope/store\",\"version\":2}");
  EXPECT_THAT(ReadStore(folder).status().message(),
              HasSubstr("the store is of version 2; this program reads and "
                        "writes version 1"));
  Write(meta, std::string(1 << 17, ' '));
  EXPECT_THAT(ReadStore(folder).status().message(), HasSubstr("more than"));
  std::filesystem::remove(meta);
  ASSERT_EQ(mkfifo(meta.c_str(), 0600), 0);
  EXPECT_THAT(ReadStore(folder).status().message(), HasSubstr("FIFO"));
}

TEST(ShardsTest, FileInTheWayIsAnError) {
  const std::string file = WriteTestFile("in_the_way", "x");
  EXPECT_THAT(MakeStore(file, "a test").message(), HasSubstr(file));
  EXPECT_THAT(MakeStore(file + "/store", "a test").message(), HasSubstr(file));
  const std::string folder = MadeStore("no_shards");
  std::filesystem::remove(absl::StrCat(folder, "/shards"));
  EXPECT_THAT(ReadStore(folder).status().message(),
              HasSubstr("shards: cannot read the folder"));
  Write(absl::StrCat(folder, "/shards"), "x");
  EXPECT_THAT(MakeStore(folder, "a test").message(), HasSubstr("/shards"));
  ShardWriter writer(folder, NewRun());
  EXPECT_THAT(writer.Append("x").status().message(),
              HasSubstr("cannot create"));
}

// As a user whom the modes of files bind, which root is only without its
// capabilities.
class WithoutCapabilities {
 public:
  WithoutCapabilities() {
    EXPECT_EQ(syscall(SYS_capget, &header_, had_), 0);
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    std::copy(std::begin(had_), std::end(had_), std::begin(none));
    for (auto& of : none) of.effective = 0;
    EXPECT_EQ(syscall(SYS_capset, &header_, none), 0);
  }
  ~WithoutCapabilities() { syscall(SYS_capset, &header_, had_); }

 private:
  __user_cap_header_struct header_ = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct had_[_LINUX_CAPABILITY_U32S_3] = {};
};

TEST(ShardsTest, AReadOnlyStoreCanBeReadAlone) {
  namespace fs = std::filesystem;
  const std::string folder = MadeStore("read_only");
  const std::string shards = absl::StrCat(folder, "/shards");
  Write(shards + "/a.jsonl", Lines(2));
  const fs::perms mode = fs::perms::owner_read | fs::perms::owner_exec;
  for (const std::string& path : {folder, shards}) fs::permissions(path, mode);
  {
    const WithoutCapabilities bound;
    EXPECT_THAT(MakeStore(folder, "a test").message(),
                AllOf(HasSubstr(folder), HasSubstr("denied")));
    EXPECT_THAT(Contents(folder).records, SizeIs(2));
    ShardWriter writer(folder, NewRun());
    EXPECT_THAT(writer.Append("x").status().message(),
                AllOf(HasSubstr(writer.path()), HasSubstr("cannot create"),
                      HasSubstr("denied")));
    EXPECT_THAT(MakeStore(folder + "/below", "a test").message(),
                AllOf(HasSubstr(folder), HasSubstr("denied")));
  }
  for (const std::string& path : {folder, shards}) {
    fs::permissions(path, fs::perms::owner_all);
  }
  EXPECT_THAT(Contents(folder).records, SizeIs(2));
}

TEST(ShardsTest, RunsAreOfTheirOwn) {
  const std::string run = NewRun();
  EXPECT_NE(NewRun(), run);
  EXPECT_EQ(run.find('/'), std::string::npos);
}

}  // namespace
}  // namespace ulpscope
