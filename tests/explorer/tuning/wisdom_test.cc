#include "explorer/tuning/wisdom.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/cpu.h"
#include "kernels/ops/tuning.h"
#include "tests/explorer/tuning/made_wisdom.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A file may be that of several machines, of which one has bf16_hw.
TEST(WisdomTest, IsReadOnEveryTarget) {
  const std::string text = FullWisdom().Text();
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    EXPECT_THAT(Wisdom::Parse(text, "w.json"), IsOk())
        << hwy::TargetName(target);
  }
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
      {"/BF16/", "/Q4_L/"},
      {"/BF16/", "/q4_k/"},
      {"f32/F64", "f32/Q8_0"},
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
  // A terminal would obey what JSON's escapes may hold.
  std::string text = good;
  text.replace(text.find("f32/F64"), 7, "\\u001b[2J");
  const auto read = Wisdom::Parse(WithChecksum(text), "w");
  EXPECT_THAT(read.status().message(), HasSubstr("\\x1b[2J"));
  EXPECT_THAT(read.status().message(), testing::Not(HasSubstr("\x1b")));
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
  EXPECT_THAT(Wisdom::Parse(std::string((4 << 20) + 1, ' '), "w"),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("w: "), HasSubstr("more than"))));
}

TEST(WisdomTest, ThisMachineIsTheOneThatKernelsRunOn) {
  const Machine machine = Machine::This(3);
  EXPECT_EQ(machine.cpu, CpuName());
  EXPECT_EQ(machine.target, KernelTarget());
  EXPECT_EQ(machine.threads, 3);
  EXPECT_EQ(machine.kernel_version, Tunings::kKernelVersion);
}

}  // namespace
}  // namespace ulpscope
