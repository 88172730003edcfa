#include "model/files/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr size_t kMost = 1 << 20;

std::string MakeFifo() {
  const std::string path = absl::StrCat(TestFolder(), "/fifo");
  std::remove(path.c_str());
  EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
  return path;
}

// Reads a FIFO into which `write` writes meanwhile.
template <typename Write>
absl::StatusOr<std::string> ReadWhile(size_t most, const Write& write) {
  const std::string fifo = MakeFifo();
  const int both = open(fifo.c_str(), O_RDWR);
  std::thread writer([&] {
    write(both);
    close(both);
  });
  auto text = ReadTextFile(fifo, most);
  writer.join();
  return text;
}

void Put(int file, const std::string& text) {
  ASSERT_EQ(write(file, text.data(), text.size()),
            static_cast<ssize_t>(text.size()));
}

TEST(ReadTextFileTest, ReadsAllOfAFile) {
  for (const size_t size : {1, 65535, 65536, 65537, 1 << 20}) {
    const std::string text(size, 'x');
    EXPECT_THAT(ReadTextFile(WriteTestFile("text", text), kMost),
                IsOkAndHolds(text));
  }
}

TEST(ReadTextFileTest, WaitsForTheWriterOfAFifo) {
  const std::string part(50'000, 'x');
  const auto text = ReadWhile(kMost, [&](int file) {
    for (int i = 0; i < 3; ++i) {
      absl::SleepFor(absl::Milliseconds(20));
      Put(file, part);
    }
  });
  EXPECT_THAT(text, IsOkAndHolds(absl::StrCat(part, part, part)));
}

TEST(ReadTextFileTest, FifoOfNobodyIsEmptyAtOnce) {
  EXPECT_THAT(ReadTextFile(MakeFifo(), kMost),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("/fifo: file is empty (a FIFO")));
}

TEST(ReadTextFileTest, HasNoMoreThanItMay) {
  const std::string file = WriteTestFile("text", std::string(101, 'x'));
  EXPECT_THAT(ReadTextFile(file, 101), IsOkAndHolds(std::string(101, 'x')));
  EXPECT_THAT(ReadTextFile(file, 100),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("/text: expected at most 100 bytes")));
  const auto endless = ReadWhile(1000, [](int fifo) {
    for (int i = 0; i < 3; ++i) Put(fifo, std::string(999, 'x'));
  });
  EXPECT_THAT(endless, StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ReadTextFileTest, RefusesOthers) {
  for (const std::string& path :
       {TestFolder(), std::string("/dev/zero"), std::string("/dev/null")}) {
    EXPECT_THAT(ReadTextFile(path, kMost),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(path + ": expected a regular file")));
  }
  EXPECT_THAT(ReadTextFile(absl::StrCat(TestFolder(), "/none"), kMost),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/none")));
  EXPECT_THAT(ReadTextFile(WriteTestFile("empty", ""), kMost),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("/empty: file is empty")));
}

}  // namespace
}  // namespace ulpscope
