#include "explorer/tuning/wisdom_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/tuning/wisdom.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "tests/explorer/tuning/made_wisdom.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(WisdomFileTest, WhatIsSavedIsLoaded) {
  const std::string path = absl::StrCat(TestFolder(), "/new/folders/w.json");
  const Wisdom wisdom = FullWisdom();
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  const auto loaded = LoadWisdom(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->Text(), wisdom.Text());
  ASSERT_NE(loaded->Find(kHere), nullptr);
  const auto& expected = wisdom.Find(kHere)->known();
  EXPECT_EQ(expected.size(),
            MatMulStrategies().size() * 3 * StoredTypes().size() + 1);
  EXPECT_EQ(loaded->Find(kHere)->known().size(), expected.size());
  for (const auto& [key, tuning] : expected) {
    EXPECT_TRUE(loaded->Find(kHere)->Find(key) == tuning);
  }
}

TEST(WisdomFileTest, MissingFileIsEmptyWisdom) {
  const auto loaded = LoadWisdom(absl::StrCat(TestFolder(), "/missing.json"));
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->num_machines(), 0);
  EXPECT_EQ(loaded->Find(kHere), nullptr);
}

TEST(WisdomFileTest, OtherMachinesThreadsTargetsAndVersionsAreNotUsed) {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  for (size_t i = 0; i < 4; ++i) {
    Machine other = kHere;
    if (i == 0) other.cpu = "another";
    if (i == 1) other.target = "AVX2";
    if (i == 2) other.threads = 1;
    if (i == 3) other.kernel_version += 1;
    EXPECT_EQ(wisdom.Find(other), nullptr) << i;
    const std::string path = absl::StrCat(TestFolder(), "/foreign.json");
    ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
    // It stays in the file, beside what is added.
    Wisdom own;
    if (i < 3) {
      own.Set(other, kKey, TuningOf(2));
      ASSERT_THAT(AddToWisdom(own, path), IsOk());
      const auto both = LoadWisdom(path);
      ASSERT_THAT(both, IsOk());
      EXPECT_TRUE(both->Find(kHere)->Find(kKey) == TuningOf(1));
      EXPECT_TRUE(both->Find(other)->Find(kKey) == TuningOf(2));
    }
  }
}

// What another version of the kernels knows may have other parameters and
// strategies: it is not judged, and kept.
TEST(WisdomFileTest, OtherKernelVersionsAreKeptAsTheyAre) {
  std::string text = SmallText();
  text = WithChecksum(absl::StrReplaceAll(
      text, {{absl::StrCat("\"kernel_version\": ", Tunings::kKernelVersion),
              "\"kernel_version\": 77"},
             {"f32/F64/BF16/1x1024x1024", "quad/F8/32"},
             {"tile_rows", "unrolling"}}));
  const std::string path = WriteTestFile("version.json", text);
  const auto loaded = LoadWisdom(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->num_machines(), 2);
  EXPECT_EQ(loaded->Find(kHere), nullptr);
  EXPECT_EQ(loaded->Text(), text);
  Wisdom own;
  own.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(AddToWisdom(own, path), IsOk());
  const auto both = LoadWisdom(path);
  ASSERT_THAT(both, IsOk());
  EXPECT_EQ(both->num_machines(), 3);
  EXPECT_TRUE(both->Find(kHere)->Find(kKey) == TuningOf(2));
  EXPECT_THAT(both->Text(), HasSubstr("quad/F8/32"));
}

TEST(WisdomFileTest, SavingReplacesWhatBothKnow) {
  const std::string path = absl::StrCat(TestFolder(), "/twice.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  wisdom.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  const auto loaded = LoadWisdom(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->Text(), wisdom.Text());
}

TEST(WisdomFileTest, WhatIsNoRegularFileIsAnError) {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, {});
  for (const std::string& path :
       {TestFolder(), std::string("/dev/null"), std::string("/dev/full"),
        absl::StrCat(WriteTestFile("plain", "text"), "/w.json")}) {
    EXPECT_FALSE(LoadWisdom(path).ok()) << path;
    EXPECT_FALSE(AddToWisdom(wisdom, path).ok()) << path;
  }
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(WisdomFileTest, FolderThatCannotBeMadeIsAnError) {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, {});
  const std::string file = WriteTestFile("file", "text");
  const std::string path = absl::StrCat(file, "/folder/w.json");
  const absl::Status saved = AddToWisdom(wisdom, path);
  EXPECT_FALSE(saved.ok());
  EXPECT_THAT(saved.message(), AllOf(HasSubstr(file), HasSubstr("folder")));
  EXPECT_EQ(Read(file), "text");
}

// Files of this process are at most so long.
class ScopedFileLimit {
 public:
  explicit ScopedFileLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const struct rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~ScopedFileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  struct rlimit before_ = {};
};

TEST(WisdomFileTest, FailedSaveLeavesTheOldFile) {
  const std::string path = absl::StrCat(TestFolder(), "/atomic.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  const std::string before = Read(path);
  wisdom.Set(kHere, kKey, TuningOf(2));
  absl::Status failed;
  {
    const ScopedFileLimit limit(before.size() / 2);
    failed = AddToWisdom(wisdom, path);
  }
  EXPECT_THAT(failed.message(),
              AllOf(HasSubstr("atomic.json"), HasSubstr("File too large")));
  EXPECT_EQ(Read(path), before);
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  EXPECT_EQ(Read(path), wisdom.Text());
}

TEST(WisdomFileTest, SaveLeavesOnlyTheLockBesideTheFile) {
  const std::string folder = absl::StrCat(TestFolder(), "/alone");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(AddToWisdom(wisdom, absl::StrCat(folder, "/w.json")), IsOk());
  ASSERT_THAT(AddToWisdom(wisdom, absl::StrCat(folder, "/w.json")), IsOk());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path().filename());
  }
  EXPECT_THAT(files, UnorderedElementsAre("w.json", "w.json.lock"));
}

// A tuning that turned out not to help: the file has the default instead, and
// whatever others have added by then.
TEST(WisdomFileTest, DroppedTuningsAreTheDefaultAgain) {
  const std::string path = absl::StrCat(TestFolder(), "/dropped.json");
  const auto key = [](size_t n) {
    Tunings::Key other = kKey;
    other.weights = *FindBlockType("Q4_K");
    other.shape = ShapeClass::Of(1, n, 64);
    return other;
  };
  WisdomFile a(path, 2), b(path, 2);
  for (const size_t n : {64, 128, 256}) {
    ASSERT_THAT(a.Keep(key(n), TuningOf(static_cast<uint32_t>(n))), IsOk());
  }
  ASSERT_THAT(b.Keep(key(512), TuningOf(5)), IsOk());
  const Tunings::Key dropped[] = {key(64), key(256)};
  ASSERT_THAT(a.Drop(dropped), IsOk());
  const WisdomFile after(path, 2);
  ASSERT_NE(after.tunings(), nullptr) << after.reason();
  EXPECT_EQ(after.tunings()->known().size(), 4);
  EXPECT_EQ(after.tunings()->Find(key(64)), MatMulTuning());
  EXPECT_EQ(after.tunings()->Find(key(128)), TuningOf(128));
  EXPECT_EQ(after.tunings()->Find(key(256)), MatMulTuning());
  EXPECT_EQ(after.tunings()->Find(key(512)), TuningOf(5));
  // What it keeps later does not bring them back.
  ASSERT_THAT(a.Keep(key(1024), TuningOf(6)), IsOk());
  EXPECT_EQ(WisdomFile(path, 2).tunings()->Find(key(64)), MatMulTuning());
}

TEST(WisdomFileTest, TwoTunersAtOnceLoseNothing) {
  const std::string path = absl::StrCat(TestFolder(), "/shared.json");
  const auto key = [](size_t n) {
    Tunings::Key other = kKey;
    other.shape = ShapeClass::Of(1, n, 64);
    return other;
  };
  ASSERT_THAT(WisdomFile(path, 2).Keep(key(64), TuningOf(1)), IsOk());
  WisdomFile a(path, 2), b(path, 2);
  // What b finds meanwhile is newer than what a read.
  ASSERT_THAT(b.Keep(key(64), TuningOf(2)), IsOk());
  ASSERT_THAT(a.Keep(key(128), TuningOf(3)), IsOk());
  ASSERT_THAT(b.Keep(key(256), TuningOf(4)), IsOk());
  ASSERT_THAT(a.Keep(key(512), TuningOf(5)), IsOk());
  const WisdomFile after(path, 2);
  ASSERT_NE(after.tunings(), nullptr) << after.reason();
  EXPECT_EQ(after.tunings()->known().size(), 4);
  for (const auto& [n, tuning] : {std::pair(64, 2), std::pair(128, 3),
                                  std::pair(256, 4), std::pair(512, 5)}) {
    EXPECT_EQ(after.tunings()->Find(key(n)), TuningOf(tuning)) << n;
  }
}

TEST(WisdomFileTest, ManyProcessesAtOnceLoseNothing) {
  const std::string path = absl::StrCat(TestFolder(), "/processes.json");
  constexpr size_t kProcesses = 4, kEach = 8;
  std::vector<pid_t> children;
  for (size_t p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      WisdomFile file(path, 2);
      bool kept = true;
      for (size_t i = 0; i < kEach; ++i) {
        Tunings::Key key = kKey;
        key.strategy = Strategy(p);
        key.shape = ShapeClass::Of(1, size_t{1} << i, 64);
        kept = file.Keep(key, TuningOf(1)).ok() && kept;
      }
      _exit(kept ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const WisdomFile after(path, 2);
  ASSERT_NE(after.tunings(), nullptr) << after.reason();
  EXPECT_EQ(after.tunings()->known().size(), kProcesses * kEach);
}

// What could not be kept is kept with what is tuned next.
TEST(WisdomFileTest, LockThatAnotherHoldsLosesNothing) {
  const std::string path = absl::StrCat(TestFolder(), "/held.json");
  WisdomFile file(path, 2);
  const int lock = open((path + ".lock").c_str(), O_RDWR | O_CREAT, 0666);
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  EXPECT_THAT(file.Keep(kKey, TuningOf(1)).message(),
              HasSubstr(path + ".lock: another process"));
  close(lock);
  Tunings::Key key = kKey;
  key.weights = DType::kF32;
  EXPECT_THAT(file.Keep(key, TuningOf(2)), IsOk());
  const WisdomFile after(path, 2);
  ASSERT_NE(after.tunings(), nullptr);
  EXPECT_EQ(after.tunings()->Find(kKey), TuningOf(1));
  EXPECT_EQ(after.tunings()->Find(key), TuningOf(2));
}

TEST(WisdomFileTest, SaysBeforehandThatItCannotKeep) {
  EXPECT_THAT(WisdomFile("none", 2).CheckKeeps(), IsOk());
  const std::string plain = WriteTestFile("plain", "text");
  const std::string good = absl::StrCat(TestFolder(), "/good/w.json");
  EXPECT_THAT(WisdomFile(good, 2).CheckKeeps(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(good));
  EXPECT_THAT(WisdomFile(plain, 2).CheckKeeps(), IsOk());
  EXPECT_EQ(Read(plain), "text");
  for (const std::string& path :
       {TestFolder(), plain + "/w.json", std::string("/dev/null/w.json"),
        std::string("/proc/w.json")}) {
    EXPECT_FALSE(WisdomFile(path, 2).CheckKeeps().ok()) << path;
  }
}

// nlohmann's parser with a callback takes minutes for this.
TEST(WisdomFileTest, FourMegabytesAreReadInSeconds) {
  Wisdom wisdom;
  size_t bytes = 0;
  for (size_t machine = 0; bytes < (size_t{4} << 20) - (1 << 17); ++machine) {
    const Machine other = {absl::StrCat("CPU ", machine), "AVX3", 2,
                           Tunings::kKernelVersion};
    Wisdom one;
    for (size_t i = 0; i < 20 * 20; ++i) {
      Tunings::Key key = kKey;
      key.shape = ShapeClass::Of(1, size_t{1} << i / 20, size_t{1} << i % 20);
      wisdom.Set(other, key, TuningOf(1));
      one.Set(other, key, TuningOf(1));
    }
    bytes += one.Text().size();
  }
  const std::string path = WriteTestFile("four.json", wisdom.Text());
  ASSERT_GT(Read(path).size(), size_t{2} << 20);
  const std::clock_t start = std::clock();
  ASSERT_THAT(LoadWisdom(path), IsOk());
  // Of the processor's time; it is below one, and this is no machine of ours.
  EXPECT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC);
}

TEST(WisdomFileTest, WhatIsNotWisdomIsKeptBesideIt) {
  const std::string path = WriteTestFile("notes.json", "my notes");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(AddToWisdom(wisdom, path), IsOk());
  EXPECT_EQ(Read(path), wisdom.Text());
  EXPECT_EQ(Read(path + ".bad"), "my notes");
}

TEST(WisdomFileTest, LinkToAFileStaysALink) {
  const std::string file = absl::StrCat(TestFolder(), "/linked.json");
  const std::string link = absl::StrCat(TestFolder(), "/link.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(AddToWisdom(wisdom, file), IsOk());
  std::filesystem::create_symlink(file, link);
  wisdom.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(AddToWisdom(wisdom, link), IsOk());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(Read(file), wisdom.Text());
}

TEST(WisdomFileTest, DefaultPathIsTheUsersCache) {
  setenv("XDG_CACHE_HOME", "/cache", 1);
  setenv("HOME", "/nowhere", 1);
  EXPECT_EQ(DefaultWisdomPath(), "/cache/ulpscope/wisdom.json");
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(DefaultWisdomPath(), "/nowhere/.cache/ulpscope/wisdom.json");
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(DefaultWisdomPath(), "/nowhere/.cache/ulpscope/wisdom.json");
  unsetenv("HOME");
  EXPECT_EQ(DefaultWisdomPath(), "");
}

}  // namespace
}  // namespace ulpscope
