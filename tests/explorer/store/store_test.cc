#include "explorer/store/store.h"

#include <malloc.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/error/kept.h"
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

class StoreTest : public testing::Test {
 protected:
  StoreTest()
      : folder_(absl::StrCat(
            TestFolder(), "/",
            testing::UnitTest::GetInstance()->current_test_info()->name())) {}

  std::unique_ptr<Store> Open(const std::string& cpu = "A CPU",
                              bool force = false) {
    StoreHost host;
    host.cpu = cpu;
    host.target = "AVX2";
    host.threads = 2;
    Store::Options options;
    options.force = force;
    options.warn = [this](absl::string_view text) {
      warnings_.emplace_back(text);
    };
    auto store = Store::Open(folder_, host, options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  // The value that is kept, or 0.
  static double Of(Store& store, const Subject& subject) {
    Figure figure;
    Recall(&store, subject, figure, [](const Figure&) { return true; });
    return figure.value;
  }

  std::vector<Record> Records() const {
    const auto contents = ReadStore(folder_);
    EXPECT_TRUE(contents.ok()) << contents.status();
    return contents.ok() ? contents->records : std::vector<Record>();
  }

  const std::string folder_;
  std::vector<std::string> warnings_;
};

TEST_F(StoreTest, WhatIsKeptIsFoundAgain) {
  {
    const auto store = Open();
    EXPECT_EQ(Of(*store, SubjectOf("f32")), 0);
    Retain(store.get(), SubjectOf("f32"), Figure{1.0 / 3});
    EXPECT_EQ(Of(*store, SubjectOf("f32")), 1.0 / 3);
    EXPECT_EQ(store->num_found(), 0u);
    EXPECT_EQ(store->num_kept(), 1u);
    // Once is enough.
    Retain(store.get(), SubjectOf("f32"), Figure{1.0 / 3});
    EXPECT_THAT(Records(), SizeIs(1));
  }
  // Wherever it is read.
  const auto store = Open("Another CPU");
  EXPECT_EQ(Of(*store, SubjectOf("f32")), 1.0 / 3);
  EXPECT_EQ(Of(*store, SubjectOf("bf16")), 0);
  EXPECT_EQ(store->num_found(), 1u);
  EXPECT_EQ(store->num_kept(), 0u);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(StoreTest, EveryFactIsOfTheKey) {
  const auto store = Open();
  const Subject subject = SubjectOf("f32");
  Retain(store.get(), subject, Figure{1});
  std::vector<Subject> others(5, subject);
  others[0].version = 2;
  others[1].kind = "cell";
  others[2].facts.emplace_back("tokens", "1");
  others[3].of_target = true;
  others[4].is_time = true;
  for (const Subject& other : others) EXPECT_EQ(Of(*store, other), 0);
  EXPECT_EQ(Of(*store, subject), 1);
}

TEST_F(StoreTest, TimesAreOfOneMachineAndTheNewestCounts) {
  const Subject subject = SubjectOf("f32", /*is_time=*/true);
  Retain(Open().get(), subject, Figure{1});
  EXPECT_EQ(Of(*Open("Another CPU"), subject), 0);
  EXPECT_EQ(Of(*Open(), subject), 1);
  const auto forced = Open("A CPU", /*force=*/true);
  EXPECT_EQ(Of(*forced, subject), 0);
  Retain(forced.get(), subject, Figure{2});
  EXPECT_EQ(Of(*Open(), subject), 2);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(StoreTest, DifferenceOfBitsIsSaid) {
  Retain(Open().get(), SubjectOf("f32"), Figure{1});
  const auto forced = Open("Another CPU", /*force=*/true);
  EXPECT_EQ(Of(*forced, SubjectOf("f32")), 0);
  Retain(forced.get(), SubjectOf("f32"), Figure{1});
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(Records(), SizeIs(2));  // both measured it
  const auto third = Open("A third CPU", /*force=*/true);
  Retain(third.get(), SubjectOf("f32"), Figure{1 + 0x1p-52});
  ASSERT_THAT(warnings_, SizeIs(1));
  for (const char* part :
       {"a strategy fixes the bits", "error", "plan f32",
        "value: 1.0 and 1.0000000000000002", "A CPU", "A third CPU"}) {
    EXPECT_THAT(warnings_[0], HasSubstr(part));
  }
  EXPECT_THAT(warnings_[0], HasSubstr(Records()[0].key));
  // Whoever opens it is told, and the first is taken.
  warnings_.clear();
  EXPECT_EQ(Of(*Open(), SubjectOf("f32")), 1);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("a strategy fixes the bits")));
}

TEST_F(StoreTest, TwoAtOnceHaveShardsOfTheirOwn) {
  const auto a = Open(), b = Open();
  Retain(a.get(), SubjectOf("f32"), Figure{1});
  Retain(b.get(), SubjectOf("f32"), Figure{1});
  Retain(b.get(), SubjectOf("bf16"), Figure{2});
  EXPECT_EQ(Of(*a, SubjectOf("bf16")), 0);  // not before it is opened again
  EXPECT_THAT(Records(), SizeIs(3));
  const auto c = Open();
  EXPECT_EQ(Of(*c, SubjectOf("f32")), 1);
  EXPECT_EQ(Of(*c, SubjectOf("bf16")), 2);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(StoreTest, DamagedLineIsSaidAndMeasuredAgain) {
  {
    const auto store = Open();
    Retain(store.get(), SubjectOf("f32"), Figure{1});
    Retain(store.get(), SubjectOf("bf16"), Figure{2});
  }
  for (const auto& shard :
       std::filesystem::directory_iterator(folder_ + "/shards")) {
    std::filesystem::resize_file(shard.path(), shard.file_size() - 5);
  }
  const auto store = Open();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("line 2: it is cut off")));
  EXPECT_EQ(Of(*store, SubjectOf("f32")), 1);
  EXPECT_EQ(Of(*store, SubjectOf("bf16")), 0);
  Retain(store.get(), SubjectOf("bf16"), Figure{2});
  EXPECT_EQ(Of(*Open(), SubjectOf("bf16")), 2);
}

// Of which the checksum and the key are right.
TEST_F(StoreTest, ResultThatMakesNoSenseIsMeasuredAgain) {
  Retain(Open().get(), SubjectOf("f32"), Figure{-1});
  const auto store = Open();
  Figure figure;
  EXPECT_FALSE(Recall(store.get(), SubjectOf("f32"), figure,
                      [](const Figure& f) { return f.value >= 0; }));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("is no result of its kind")));
  EXPECT_EQ(store->num_found(), 0u);
}

// A full disk, as far as it can be had: a limit on the size of files.
TEST_F(StoreTest, FullDiskIsSaidOnceAndLeavesWholeLines) {
  std::signal(SIGXFSZ, SIG_IGN);
  const auto store = Open();
  Retain(store.get(), SubjectOf("f32"), Figure{1});
  const size_t line = LineOf(Records()[0]).size() + 1;
  rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  for (const size_t room : {size_t{0}, size_t{1}, line / 2}) {
    const rlimit tight = {line + room, old.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    Retain(store.get(), SubjectOf(absl::StrCat("plan", room)), Figure{2});
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    EXPECT_THAT(Records(), SizeIs(1)) << room;
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("File too large")));
  EXPECT_THAT(warnings_[0], HasSubstr("/shards/"));
  EXPECT_FALSE(store->status().ok());
  EXPECT_EQ(store->num_kept(), 1u);
  // In this process nothing is lost, and later records are kept.
  EXPECT_EQ(Of(*store, SubjectOf("plan0")), 2);
  Retain(store.get(), SubjectOf("bf16"), Figure{3});
  const auto contents = ReadStore(folder_);
  EXPECT_THAT(contents->skipped, IsEmpty());
  EXPECT_THAT(contents->records, SizeIs(2));
}

// Of many megabytes of results a store holds where they are.
TEST_F(StoreTest, HoldsNoResults) {
  constexpr size_t kRecords = 40, kValues = 20000;  // 16 MB of text
  const auto visit = [](Archive& archive, std::vector<double>& values) {
    archive.Figure("values", values);
  };
  const auto values_of = [](size_t i) {
    return std::vector<double>(kValues, 1.0 / static_cast<double>(3 + i));
  };
  const auto allocated = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const auto expect_all = [&](Store& store) {
    for (size_t i = 0; i < kRecords; ++i) {
      std::vector<double> read;
      EXPECT_TRUE(store.Find(SubjectOf(absl::StrCat(i)),
                             [&](Archive& archive) { visit(archive, read); }));
      EXPECT_EQ(read, values_of(i));
    }
  };
  constexpr size_t kMost = size_t{1} << 20;
  {
    const auto store = Open();
    const size_t before = allocated();
    for (size_t i = 0; i < kRecords; ++i) {
      store->Keep(SubjectOf(absl::StrCat(i)), [&](Archive& archive) {
        std::vector<double> values = values_of(i);
        visit(archive, values);
      });
    }
    EXPECT_LE(allocated() - before, kMost);
    expect_all(*store);
  }
  const size_t before = allocated();
  const auto store = Open();
  EXPECT_LE(allocated() - before, kMost);
  expect_all(*store);
  EXPECT_EQ(store->num_found(), kRecords);
  EXPECT_THAT(warnings_, IsEmpty());
}

// A shard that changes behind a store's back is measured again.
TEST_F(StoreTest, LineThatHasGoneIsSaidAndMeasuredAgain) {
  Retain(Open().get(), SubjectOf("f32"), Figure{1});
  const auto store = Open();
  for (const auto& shard :
       std::filesystem::directory_iterator(folder_ + "/shards")) {
    std::filesystem::resize_file(shard.path(), 10);
  }
  EXPECT_EQ(Of(*store, SubjectOf("f32")), 0);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("has changed")));
  Retain(store.get(), SubjectOf("f32"), Figure{1});
  EXPECT_EQ(Of(*store, SubjectOf("f32")), 1);
}

}  // namespace
}  // namespace ulpscope
