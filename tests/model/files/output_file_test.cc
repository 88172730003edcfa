#include "model/files/output_file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace {
// What the disk does to the calls below: an errno, or 0.
int pwrite_error = 0;
int fsync_error = 0;
}  // namespace

// Instead of the C library's.
extern "C" ssize_t pwrite(int file, const void* data, size_t size,
                          off_t offset) {
  if (pwrite_error == 0) {
    return syscall(SYS_pwrite64, file, data, size, offset);
  }
  errno = pwrite_error;
  return -1;
}

extern "C" int fsync(int file) {
  if (fsync_error == 0) return static_cast<int>(syscall(SYS_fsync, file));
  errno = fsync_error;
  return -1;
}

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream read;
  read << file.rdbuf();
  return read.str();
}

// A folder with nothing but the file "report", a good one.
class OutputFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    std::filesystem::remove_all(folder_);
    ASSERT_THAT(MakeFolder(folder_), IsOk());
    path_ = absl::StrCat(folder_, "/report");
    ASSERT_THAT(WriteFile(path_, "good"), IsOk());
  }
  void TearDown() override { pwrite_error = fsync_error = 0; }

  int Files() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      static_cast<void>(entry);
      ++count;
    }
    return count;
  }

  // The write that failed says why, and all is as before it.
  void ExpectFailed(const absl::Status& status, int error) {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr(path_), HasSubstr(std::strerror(error))));
    EXPECT_EQ(Read(path_), "good");
    EXPECT_EQ(Files(), 1);
  }

  std::string folder_, path_;
};

// A child that calls `run` and never returns from it.
template <typename Run>
pid_t Start(Run run) {
  const pid_t child = fork();
  if (child == 0) {
    run();
    for (;;) pause();
  }
  return child;
}

void Kill(pid_t child) {
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
}

template <typename Condition>
bool Wait(Condition condition) {
  for (int i = 0; i < 10000 && !condition(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return condition();
}

TEST_F(OutputFileTest, WritesTheText) {
  const std::string text("a\0b\r\n", 5);
  ASSERT_THAT(WriteFile(path_, text), IsOk());
  EXPECT_EQ(Read(path_), text);
  ASSERT_THAT(WriteFile(path_, ""), IsOk());
  EXPECT_EQ(Read(path_), "");
  EXPECT_EQ(Files(), 1);
}

TEST_F(OutputFileTest, MakesFoldersWithinFolders) {
  const std::string folder = absl::StrCat(folder_, "/new/one");
  EXPECT_THAT(MakeFolder(folder), IsOk());
  EXPECT_THAT(MakeFolder(folder), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(OutputFileTest, ANameMayBeAsLongAsTheFileSystemTakes) {
  const std::string path = absl::StrCat(folder_, "/", std::string(255, 'n'));
  ASSERT_THAT(WriteFile(path, "x"), IsOk());
  EXPECT_EQ(Read(path), "x");
}

TEST_F(OutputFileTest, KeepsPermissions) {
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  ASSERT_THAT(WriteFile(path_, "x"), IsOk());
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_F(OutputFileTest, WritesTheFileBehindALink) {
  const std::string link = absl::StrCat(folder_, "/link");
  std::filesystem::create_symlink("report", link);
  ASSERT_THAT(WriteFile(link, "x"), IsOk());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(Read(path_), "x");
  EXPECT_EQ(Files(), 2);
}

TEST_F(OutputFileTest, ACircleOfLinksIsRefused) {
  const std::string link = absl::StrCat(folder_, "/link");
  std::filesystem::create_symlink("link", link);
  const absl::Status status = WriteFile(link, "x");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr(link));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST_F(OutputFileTest, OtherNamesOfAFileKeepIt) {
  const std::string link = absl::StrCat(folder_, "/hard_link");
  std::filesystem::create_hard_link(path_, link);
  ASSERT_THAT(WriteFile(link, "x"), IsOk());
  EXPECT_EQ(Read(path_), "good");
  EXPECT_EQ(Read(link), "x");
}

TEST_F(OutputFileTest, AFileThatGrowsTooLargeLeavesThePreviousOne) {
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit few = before;
  few.rlim_cur = 8;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &few), 0);
  const absl::Status status = WriteFile(path_, std::string(100, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  ExpectFailed(status, EFBIG);
}

TEST_F(OutputFileTest, AFullDiskLeavesThePreviousFile) {
  pwrite_error = ENOSPC;
  ExpectFailed(WriteFile(path_, "x"), ENOSPC);
}

// Some file systems say only then that they are full.
TEST_F(OutputFileTest, AFailedFsyncLeavesThePreviousFile) {
  fsync_error = EDQUOT;
  ExpectFailed(WriteFile(path_, "x"), EDQUOT);
}

TEST_F(OutputFileTest, WithoutCommitNothingIsChanged) {
  {
    auto file = OutputFile::Create(path_);
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(0, "half", 4), IsOk());
    OutputFile moved = *std::move(file);
    EXPECT_EQ(Files(), 2);
  }
  EXPECT_EQ(Read(path_), "good");
  EXPECT_EQ(Files(), 1);
}

// Opening a FIFO for writing would wait for a reader.
TEST_F(OutputFileTest, WhatIsNoFileIsRefused) {
  const std::string fifo = absl::StrCat(folder_, "/fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const auto& [path, kind] :
       {std::make_pair(fifo, "a FIFO"), std::make_pair(folder_, "a folder"),
        std::make_pair(std::string("/dev/full"), "a device")}) {
    EXPECT_THAT(WriteFile(path, "x"),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(path), HasSubstr(kind))));
  }
}

TEST_F(OutputFileTest, WhatIsNoFolderIsNamed) {
  for (const std::string& path : {path_, absl::StrCat(path_, "/below")}) {
    EXPECT_THAT(MakeFolder(path).message(),
                AllOf(HasSubstr(path), HasSubstr(std::strerror(ENOTDIR))));
  }
  const std::string below = absl::StrCat(path_, "/below");
  EXPECT_THAT(WriteFile(below, "x").message(),
              AllOf(HasSubstr(below), HasSubstr(std::strerror(ENOTDIR))));
  // No file can be made there, not even by root.
  EXPECT_FALSE(MakeFolder("/proc/self").ok());
}

TEST_F(OutputFileTest, SigkillAtAnyMomentLeavesAWholeFile) {
  constexpr size_t kSize = 1 << 20;
  std::mt19937 random(13);
  std::uniform_int_distribution<int> microseconds(0, 20000);
  int abandoned = 0;
  for (int i = 0; i < 30; ++i) {
    ASSERT_THAT(WriteFile(path_, std::string(kSize, 'a')), IsOk());
    ASSERT_EQ(Files(), 1) << "of a killed process";
    const pid_t child = Start([this] {
      for (char c = 'b';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        if (!WriteFile(path_, std::string(kSize, c)).ok()) _exit(1);
      }
    });
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(
        std::chrono::microseconds(microseconds(random)));
    Kill(child);
    const std::string text = Read(path_);
    ASSERT_EQ(text.size(), kSize);
    ASSERT_EQ(text, std::string(kSize, text[0]));
    abandoned += Files() - 1;
  }
  // Or nothing was to be cleaned up.
  EXPECT_GT(abandoned, 0);
}

TEST_F(OutputFileTest, OnlyWhatIsAbandonedIsRemoved) {
  const auto write_half = [this] {
    auto file = OutputFile::Create(path_);
    if (!file.ok() || !file->Write(0, "half", 4).ok()) _exit(1);
    for (;;) pause();
  };
  const pid_t dead = Start(write_half);
  ASSERT_TRUE(Wait([this] { return Files() == 2; }));
  const pid_t living = Start(write_half);
  ASSERT_TRUE(Wait([this] { return Files() == 3; }));
  // Another path's, and what only looks like one.
  ASSERT_THAT(WriteFile(path_ + ".tmp.0123456789abcde", "mine"), IsOk());
  ASSERT_THAT(WriteFile(path_ + "s.tmp.0123456789abcdef", "mine"), IsOk());
  Kill(dead);
  EXPECT_EQ(Files(), 5);
  ASSERT_THAT(WriteFile(path_, "new"), IsOk());
  EXPECT_EQ(Files(), 4);
  EXPECT_EQ(Read(path_), "new");
  Kill(living);
  ASSERT_THAT(WriteFile(path_, "newer"), IsOk());
  EXPECT_EQ(Files(), 3);
}

TEST_F(OutputFileTest, TwoAtOnceDoNotCollide) {
  auto first = OutputFile::Create(path_);
  auto second = OutputFile::Create(path_);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  ASSERT_THAT(first->Write(0, "first", 5), IsOk());
  ASSERT_THAT(second->Write(0, "second", 6), IsOk());
  ASSERT_THAT(second->Commit(), IsOk());
  EXPECT_EQ(Read(path_), "second");
  ASSERT_THAT(first->Commit(), IsOk());
  EXPECT_EQ(Read(path_), "first");
  EXPECT_EQ(Files(), 1);
}

TEST_F(OutputFileTest, AFolderAppearsWhole) {
  const std::string path = absl::StrCat(folder_, "/trace");
  const pid_t killed = Start([&path] {
    auto folder = OutputFolder::Create(path);
    if (!folder.ok() || !WriteFile(folder->temporary() + "/a", "a").ok()) {
      _exit(1);
    }
    for (;;) pause();
  });
  ASSERT_TRUE(Wait([this] { return Files() == 2; }));
  Kill(killed);
  auto folder = OutputFolder::Create(path + "/");
  ASSERT_THAT(folder, IsOk());
  EXPECT_EQ(Files(), 2) << "that of the killed process is removed";
  ASSERT_THAT(WriteFile(folder->temporary() + "/b", "b"), IsOk());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_THAT(folder->Commit(), IsOk());
  EXPECT_EQ(Read(path + "/b"), "b");
  EXPECT_EQ(Files(), 2);
  EXPECT_THAT(OutputFolder::Create(path),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(path), HasSubstr("with files"))));
}

}  // namespace
}  // namespace ulpscope
