#include "kernels/tune/wisdom.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/cpu.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/strategy/targets.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const Machine kHere = {"A \"CPU\", \\ with quotes", "AVX3", 2,
                       Tunings::kKernelVersion};
const Tunings::Key kKey = {Strategy(), DType::kF64, DType::kBF16,
                           ShapeClass::Of(1, 896, 896)};

// A different tuning for each number.
MatMulTuning TuningOf(uint32_t i) {
  MatMulTuning tuning;
  for (const TuningParameter& parameter : TuningParameters()) {
    tuning.*parameter.field = i++ % 7 == 0 ? 0 : i;
  }
  return tuning;
}

// Every strategy, type and kind of shape.
Wisdom Full() {
  Wisdom wisdom;
  uint32_t i = 0;
  for (size_t s = 0; s < Strategies().size(); ++s) {
    for (const DType weights :
         {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
      for (const size_t m : {1, 20, 4000}) {
        wisdom.Set(
            kHere,
            {Strategy(s), DType::kF64, weights, ShapeClass::Of(m, 151936, 896)},
            TuningOf(++i));
      }
    }
  }
  wisdom.Set(kHere,
             {Strategy(), DType::kF32, DType::kF32, ShapeClass::Of(1, 1, 1)},
             TuningOf(1 << 19));
  return wisdom;
}

// As small as a file with all there is can be, for tests of each of its bytes.
std::string SmallText() {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  wisdom.Set({"other", "NEON", 1, Tunings::kKernelVersion}, kKey, {});
  return wisdom.Text();
}

// The text, and the checksum that it should have.
std::string WithChecksum(const std::string& text) {
  const size_t start = std::string("{\n \"checksum\": \"").size();
  uint64_t hash = 0xCBF29CE484222325;
  for (size_t i = start + 19; i < text.size(); ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001B3;
  }
  std::string with = text;
  return with.replace(start, 16, absl::StrFormat("%016x", hash));
}

TEST(WisdomTest, WhatIsSavedIsLoaded) {
  const std::string path = absl::StrCat(TestFolder(), "/new/folders/w.json");
  const Wisdom wisdom = Full();
  ASSERT_THAT(wisdom.Save(path), IsOk());
  const auto loaded = Wisdom::Load(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->Text(), wisdom.Text());
  ASSERT_NE(loaded->Find(kHere), nullptr);
  const auto& expected = wisdom.Find(kHere)->known();
  EXPECT_EQ(expected.size(), Strategies().size() * 12 + 1);
  EXPECT_EQ(loaded->Find(kHere)->known().size(), expected.size());
  for (const auto& [key, tuning] : expected) {
    EXPECT_TRUE(loaded->Find(kHere)->Find(key) == tuning);
  }
}

// A file may be that of several machines, of which one has bf16_hw.
TEST(WisdomTest, IsReadOnEveryTarget) {
  const std::string text = Full().Text();
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    EXPECT_THAT(Wisdom::Parse(text, "w.json"), IsOk())
        << hwy::TargetName(target);
  }
}

TEST(WisdomTest, MissingFileIsEmptyWisdom) {
  const auto loaded = Wisdom::Load(absl::StrCat(TestFolder(), "/missing.json"));
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->num_machines(), 0);
  EXPECT_EQ(loaded->Find(kHere), nullptr);
}

TEST(WisdomTest, OtherMachinesThreadsTargetsAndVersionsAreNotUsed) {
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
    ASSERT_THAT(wisdom.Save(path), IsOk());
    // It stays in the file, beside what is added.
    Wisdom own;
    if (i < 3) {
      own.Set(other, kKey, TuningOf(2));
      ASSERT_THAT(own.Save(path), IsOk());
      const auto both = Wisdom::Load(path);
      ASSERT_THAT(both, IsOk());
      EXPECT_TRUE(both->Find(kHere)->Find(kKey) == TuningOf(1));
      EXPECT_TRUE(both->Find(other)->Find(kKey) == TuningOf(2));
    }
  }
}

// What another version of the kernels knows may have other parameters and
// strategies: it is not judged, and kept.
TEST(WisdomTest, OtherKernelVersionsAreKeptAsTheyAre) {
  std::string text = SmallText();
  text = WithChecksum(absl::StrReplaceAll(
      text, {{absl::StrCat("\"kernel_version\": ", Tunings::kKernelVersion),
              "\"kernel_version\": 77"},
             {"f32/F64/BF16/1x1024x1024", "quad/F8/32"},
             {"tile_rows", "unrolling"}}));
  const std::string path = WriteTestFile("version.json", text);
  const auto loaded = Wisdom::Load(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->num_machines(), 2);
  EXPECT_EQ(loaded->Find(kHere), nullptr);
  EXPECT_EQ(loaded->Text(), text);
  Wisdom own;
  own.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(own.Save(path), IsOk());
  const auto both = Wisdom::Load(path);
  ASSERT_THAT(both, IsOk());
  EXPECT_EQ(both->num_machines(), 3);
  EXPECT_TRUE(both->Find(kHere)->Find(kKey) == TuningOf(2));
  EXPECT_THAT(both->Text(), HasSubstr("quad/F8/32"));
}

TEST(WisdomTest, SavingReplacesWhatBothKnow) {
  const std::string path = absl::StrCat(TestFolder(), "/twice.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(wisdom.Save(path), IsOk());
  wisdom.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(wisdom.Save(path), IsOk());
  const auto loaded = Wisdom::Load(path);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->Text(), wisdom.Text());
}

// Every byte, replaced by every other value.
TEST(WisdomTest, AnyDamagedByteIsDetected) {
  const std::string good = SmallText();
  ASSERT_THAT(Wisdom::Parse(good, "w"), IsOk());
  std::string text = good;
  for (size_t at = 0; at < text.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      if (static_cast<char>(value) == good[at]) continue;
      text[at] = static_cast<char>(value);
      ASSERT_THAT(Wisdom::Parse(text, "w"),
                  StatusIs(absl::StatusCode::kDataLoss, HasSubstr("w: ")))
          << at << " " << value;
    }
    text[at] = good[at];
  }
}

TEST(WisdomTest, AnyTruncationLossOrInsertionIsDetected) {
  const std::string good = SmallText();
  for (size_t at = 0; at < good.size(); ++at) {
    ASSERT_FALSE(Wisdom::Parse(good.substr(0, at), "w").ok()) << at;
    ASSERT_FALSE(
        Wisdom::Parse(good.substr(0, at) + good.substr(at + 1), "w").ok());
    for (const char c : {' ', '\n', '0', '}', '\0'}) {
      if (good[at] == c) continue;  // the same text comes of it
      std::string text = good;
      text.insert(at, 1, c);
      ASSERT_FALSE(Wisdom::Parse(text, "w").ok()) << at;
    }
  }
  EXPECT_FALSE(Wisdom::Parse(good + " ", "w").ok());
  EXPECT_FALSE(Wisdom::Parse(good + good, "w").ok());
}

// The same with the checksum made right: nothing that ulpscope does not write
// is taken, and nothing crashes.
TEST(WisdomTest, AnyByteWithItsChecksumIsReadBackOrRefused) {
  const std::string good = SmallText();
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int value : {0,  9,  10, 32, 34, 44,  45,  46,  48,  49,  50,
                            57, 58, 91, 92, 93, 101, 123, 125, 128, 195, 255}) {
      std::string text = good;
      text[at] = static_cast<char>(value);
      text = WithChecksum(text);
      const auto parsed = Wisdom::Parse(text, "w");
      if (parsed.ok()) {
        ASSERT_EQ(parsed->Text(), text) << at << " " << value;
      }
    }
    ASSERT_FALSE(
        Wisdom::Parse(WithChecksum(good.substr(0, at) + std::string(64, ' ')),
                      "w")
            .ok());
  }
}

struct Edit {
  const char* from;
  const char* to;
};

TEST(WisdomTest, SillyValuesAreRefusedEvenWithTheirChecksum) {
  const Edit edits[] = {
      {"ulpscope wisdom 1", "ulpscope wisdom 2"},
      {"f32/F64", "f33/F64"},
      {"f32/F64", "f32/F16"},
      {"f32/F64", "oracle/F32"},
      {"/BF16/", "/BF17/"},
      {"/1x1024x1024", "/1x1024x1000"},
      {"/1x1024x1024", "/1024x1024x1024"},
      {"/1x1024x1024", "/0x1024x1024"},
      {"/1x1024x1024", "/+1x1024x1024"},
      {"/1x1024x1024", "/1x1024"},
      {"/1x1024x1024", ""},
      {"\"threads\": 0", "\"threads\": -1"},
      {"\"threads\": 0", "\"threads\": 1048577"},
      {"\"threads\": 0", "\"threads\": 99999999999999999999"},
      {"\"threads\": 0", "\"threads\": 1.5"},
      {"\"threads\": 0", "\"threads\": \"1\""},
      {"\"threads\": 0", "\"threads\": null"},
      {"\"threads\": 0", "\"thread\": 0"},
      {"\"threads\": 2", "\"threads\": 0"},
      {"\"threads\": 2", "\"threads\": 1025"},
      {"\"target\": \"NEON\"", "\"target\": 1"},
      {"\"cpu\": \"other\"", "\"cpu\": []"},
      {"\"cpu\": \"other\"", "\"cpu\": \"\xff\""},
      {"\"kernel_version\"", "\"version\""},
      {"\"machines\": [", "\"machines\": [[],"},
      {"\"machines\"", "\"computers\""},
      {"\"matmul\": {", "\"matmul\": {\"x\": {},"},
  };
  const std::string good = SmallText();
  for (const Edit& edit : edits) {
    const size_t at = good.find(edit.from);
    ASSERT_NE(at, std::string::npos) << edit.from;
    std::string text = good;
    text.replace(at, std::string(edit.from).size(), edit.to);
    EXPECT_THAT(Wisdom::Parse(WithChecksum(text), "w"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("w: ")))
        << edit.from << " -> " << edit.to;
  }
}

TEST(WisdomTest, DeepAndLargeFilesAreRefused) {
  const std::string head = "{\n \"checksum\": \"0000000000000000\",\n";
  for (const std::string& rest :
       {" \"format\": " + std::string(100000, '['),
        " \"format\": " + std::string(100000, '[') + std::string(100000, ']') +
            "}",
        std::string(" \"machines\": [{\"cpu\": \"\", \"target\": \"\", "
                    "\"threads\": 1, \"kernel_version\": 77, \"matmul\": "
                    "{\"x\": ") +
            std::string(100000, '[') + std::string(100000, ']') + "}}]}"}) {
    EXPECT_THAT(Wisdom::Parse(WithChecksum(head + rest), "w"),
                StatusIs(absl::StatusCode::kDataLoss));
  }
  const std::string large =
      WriteTestFile("large.json", std::string((4 << 20) + 1, ' '));
  EXPECT_THAT(Wisdom::Load(large),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(large), HasSubstr("more than"))));
}

TEST(WisdomTest, WhatIsNoRegularFileIsAnError) {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, {});
  for (const std::string& path :
       {TestFolder(), std::string("/dev/null"), std::string("/dev/full"),
        absl::StrCat(WriteTestFile("plain", "text"), "/w.json")}) {
    EXPECT_FALSE(Wisdom::Load(path).ok()) << path;
    const absl::Status saved = wisdom.Save(path);
    EXPECT_FALSE(saved.ok()) << path;
    EXPECT_THAT(saved.message(),
                HasSubstr(std::filesystem::path(path).filename().string()));
  }
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(WisdomTest, FolderThatCannotBeMadeIsAnError) {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, {});
  const std::string file = WriteTestFile("file", "text");
  const std::string path = absl::StrCat(file, "/folder/w.json");
  const absl::Status saved = wisdom.Save(path);
  EXPECT_THAT(saved, StatusIs(absl::StatusCode::kUnavailable,
                              AllOf(HasSubstr(path), HasSubstr("folder"))));
  EXPECT_EQ(Read(file), "text");
}

// The temporary file cannot be made where a folder has its name, nor written to
// a full disk.
TEST(WisdomTest, FailedSaveLeavesTheOldFile) {
  const std::string path = absl::StrCat(TestFolder(), "/atomic.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(wisdom.Save(path), IsOk());
  const std::string before = Read(path);
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  ASSERT_TRUE(std::filesystem::create_directory(temporary));
  wisdom.Set(kHere, kKey, TuningOf(2));
  EXPECT_THAT(wisdom.Save(path), StatusIs(absl::StatusCode::kUnavailable,
                                          HasSubstr("atomic.json.tmp.")));
  EXPECT_EQ(Read(path), before);
  std::filesystem::remove(temporary);
  // A link is not followed.
  const std::string elsewhere = WriteTestFile("elsewhere", "text");
  std::filesystem::create_symlink(elsewhere, temporary);
  EXPECT_FALSE(wisdom.Save(path).ok());
  EXPECT_EQ(Read(path), before);
  EXPECT_EQ(Read(elsewhere), "text");
  std::filesystem::remove(temporary);
  ASSERT_THAT(wisdom.Save(path), IsOk());
  EXPECT_EQ(Read(path), wisdom.Text());
}

TEST(WisdomTest, SaveLeavesNothingBesideTheFile) {
  const std::string folder = absl::StrCat(TestFolder(), "/alone");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(wisdom.Save(absl::StrCat(folder, "/w.json")), IsOk());
  ASSERT_THAT(wisdom.Save(absl::StrCat(folder, "/w.json")), IsOk());
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_EQ(entry.path().filename(), "w.json");
    ++files;
  }
  EXPECT_EQ(files, 1);
}

TEST(WisdomTest, WhatIsNotWisdomIsKeptBesideIt) {
  const std::string path = WriteTestFile("notes.json", "my notes");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(wisdom.Save(path), IsOk());
  EXPECT_EQ(Read(path), wisdom.Text());
  EXPECT_EQ(Read(path + ".bad"), "my notes");
}

TEST(WisdomTest, LinkToAFileStaysALink) {
  const std::string file = absl::StrCat(TestFolder(), "/linked.json");
  const std::string link = absl::StrCat(TestFolder(), "/link.json");
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  ASSERT_THAT(wisdom.Save(file), IsOk());
  std::filesystem::create_symlink(file, link);
  wisdom.Set(kHere, kKey, TuningOf(2));
  ASSERT_THAT(wisdom.Save(link), IsOk());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(Read(file), wisdom.Text());
}

TEST(WisdomTest, ThisMachineIsTheOneThatKernelsRunOn) {
  const Machine machine = Machine::This(3);
  EXPECT_EQ(machine.cpu, CpuName());
  EXPECT_EQ(machine.target, KernelTarget());
  EXPECT_EQ(machine.threads, 3);
  EXPECT_EQ(machine.kernel_version, Tunings::kKernelVersion);
}

TEST(WisdomTest, DefaultPathIsTheUsersCache) {
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
