#include "model/files/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
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

TEST(MappedFileTest, SaysThatItWasWrittenTo) {
  const auto file = MappedFile::Open(WriteTestFile("file", "abc"));
  ASSERT_TRUE(file.ok());
  const std::string& path = (*file)->path();
  EXPECT_EQ((*file)->CheckUnchanged(), absl::OkStatus());
  // Another file in its place does not change what is mapped.
  const std::string other = WriteTestFile("other", "defg");
  ASSERT_EQ(rename(other.c_str(), path.c_str()), 0);
  EXPECT_EQ((*file)->CheckUnchanged(), absl::OkStatus());
  EXPECT_EQ((*file)->text(), "abc");
  const auto again = MappedFile::Open(path);
  ASSERT_TRUE(again.ok());
  const timespec times[] = {{0, UTIME_OMIT}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_THAT((*again)->CheckUnchanged(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_EQ(remove(path.c_str()), 0);
  EXPECT_EQ((*again)->CheckUnchanged(), absl::OkStatus());
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
  // It is there, though the system's error is that of what is not.
  const int of_socket = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path),
                "/tmp/mapped_file_test.%d", getpid());
  ASSERT_EQ(
      bind(of_socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
      0);
  EXPECT_THAT(MappedFile::Open(address.sun_path),
              StatusIs(absl::StatusCode::kInvalidArgument));
  close(of_socket);
  remove(address.sun_path);
}

}  // namespace
}  // namespace ulpscope
