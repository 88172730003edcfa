#include "model/files/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

constexpr size_t kSize = 1 << 20;

uint8_t ReadByte(const uint8_t* data) {
  return *static_cast<const volatile uint8_t*>(data);
}

// Maps two files, shortens one of them, and reads both.
void ReadTruncated() {
  const auto whole =
      MappedFile::Open(WriteTestFile("whole", std::string(kSize, 'w')));
  const std::string path = WriteTestFile("cut", std::string(kSize, 'c'));
  for (int i = 0; i < 3; ++i) (void)MappedFile::Open(path);
  const auto cut = MappedFile::Open(path);
  if (!whole.ok() || !cut.ok() || truncate(path.c_str(), 10) != 0) _exit(2);
  if (ReadByte((*whole)->bytes().data() + kSize - 1) != 'w') _exit(3);
  ReadByte((*cut)->bytes().data() + kSize - 1);
}

// As ReadTruncated, of a mapping that is none of ours.
void ReadAnother() {
  const auto ours = MappedFile::Open(WriteTestFile("ours", "ours"));
  const std::string path = WriteTestFile("another", std::string(kSize, 'a'));
  const int file = open(path.c_str(), O_RDONLY);
  void* const data = mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED || truncate(path.c_str(), 0) != 0) _exit(2);
  ReadByte(static_cast<uint8_t*>(data) + kSize - 1);
}

void ExitWith4(int) { _exit(4); }

TEST(MappedFileDeathTest, TruncationEndsWithAMessage) {
  EXPECT_EXIT(ReadTruncated(), ExitedWithCode(1),
              "/cut: was truncated while it was read");
}

TEST(MappedFileDeathTest, OtherFaultsAreLeftToOthers) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer has a handler of its own";
#endif
  EXPECT_EXIT(ReadAnother(), KilledBySignal(SIGBUS), "");
}

TEST(MappedFileDeathTest, OtherFaultsGoToTheHandlerBefore) {
  const auto run = [] {
    signal(SIGBUS, &ExitWith4);
    ReadAnother();
  };
  EXPECT_EXIT(run(), ExitedWithCode(4), "");
}

TEST(MappedFileTest, RefusesWhatIsNoRegularFile) {
  EXPECT_THAT(MappedFile::Open(TestFolder()),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(MappedFile::Open(absl::StrCat(TestFolder(), "/none")),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MappedFile::Open(WriteTestFile("empty", "")),
              StatusIs(absl::StatusCode::kInvalidArgument));
  // Must not wait for a writer.
  const std::string fifo = absl::StrCat(TestFolder(), "/fifo");
  remove(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::Open(fifo),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ulpscope
