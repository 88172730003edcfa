#include <signal.h>

#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The rows of a table that start with this strategy.
size_t CountRows(const std::string& text, absl::string_view strategy) {
  size_t rows = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, absl::StrCat("| ", strategy, " |"))) ++rows;
  }
  return rows;
}

// Of the tiny model: 5 shapes of matrices, 4 of them with one row and with 3.
TEST(ExplorerTuneTest, WhatIsTunedIsKeptAndUsed) {
  const std::string file = absl::StrCat(TestFolder(), "/new/wisdom.json");
  const std::string flags = absl::StrCat(kQuick, "--wisdom='", file, "' ");
  const std::string axes = "--axes='matmul=f32,kahan;softmax=f32,bf16' ";
  const Outcome first = Explorer(absl::StrCat("--tune ", axes, flags));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("# ulpscope: tuned kernels\n"));
  EXPECT_EQ(CountRows(first.out, "f32"), 9);
  EXPECT_EQ(CountRows(first.out, "kahan"), 9);
  EXPECT_THAT(first.out, HasSubstr("| 1x300x64 | 1x512x64 | lm_head |"));
  EXPECT_THAT(first.out, HasSubstr("| 3x64x64 | 4x64x64 | q_proj, o_proj |"));
  EXPECT_THAT(first.err, HasSubstr("tuning 18 kinds of MatMul"));
  const std::string learned = Read(file);
  EXPECT_THAT(learned, StartsWith("{\n \"checksum\""));

  // Once more: there is nothing to do.
  const Outcome second = Explorer(absl::StrCat("--tune ", axes, flags));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.out, "");
  EXPECT_THAT(second.err, HasSubstr("18 of 18 kinds of MatMul are already"));
  EXPECT_EQ(Read(file), learned);

  // With another strategy, only that.
  const Outcome more = Explorer(absl::StrCat("--tune --plan=bf16 ", flags));
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(CountRows(more.out, "bf16"), 9);
  EXPECT_EQ(CountRows(more.out, "f32"), 0);
  const Outcome again =
      Explorer(absl::StrCat("--tune --retune --plan=f32 ", flags));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(CountRows(again.out, "f32"), 9);

  // A sweep says that it used it, and for how much of what it times.
  const std::string out = absl::StrCat(TestFolder(), "/out_folder");
  const Outcome sweep =
      Explorer(absl::StrCat("--sweep --out='", out, "' ", flags));
  ASSERT_EQ(sweep.exit_code, 0) << sweep.err;
  EXPECT_THAT(sweep.out, HasSubstr(absl::StrCat(
                             "Of 27 kinds of MatMul against weights, 27 are "
                             "tuned, by ",
                             file, ".")));
  EXPECT_THAT(Read(out + "/results.json"), HasSubstr("\"wisdom_used\":true"));
  const Outcome partly =
      Explorer(absl::StrCat("--sweep --axes='matmul=f32,dot2' ", flags));
  ASSERT_EQ(partly.exit_code, 0) << partly.err;
  EXPECT_THAT(partly.out, HasSubstr("Of 18 kinds of MatMul against weights, 9 "
                                    "are tuned"));
  EXPECT_THAT(Explorer(absl::StrCat("--plan=matmul=dot2 ", flags)).out,
              HasSubstr("Kernels are not tuned: "));
}

// Two programs at once, on one file that neither has seen.
TEST(ExplorerTuneTest, TwoAtOnceLoseNothing) {
  const std::string file = absl::StrCat(TestFolder(), "/two.json");
  std::vector<std::thread> tuners;
  for (const char* plan : {"f32", "kahan", "bf16"}) {
    tuners.emplace_back([&file, plan] {
      const Outcome run = Explorer(absl::StrCat("--tune --plan=", plan, kQuick,
                                                "--wisdom='", file, "'"));
      EXPECT_EQ(run.exit_code, 0) << run.err;
    });
  }
  for (std::thread& tuner : tuners) tuner.join();
  EXPECT_THAT(Explorer(absl::StrCat("--sweep --axes=matmul=f32,kahan,bf16",
                                    kQuick, "--wisdom='", file, "'"))
                  .out,
              HasSubstr("Of 27 kinds of MatMul against weights, 27 are"));
}

// Tuning changes the speed, and never a bit.
TEST(ExplorerTuneTest, WisdomDoesNotChangeResults) {
  const std::string file = absl::StrCat(TestFolder(), "/wisdom.json");
  const std::string model = " --model=synthetic:tiny --tokens=20 --threads=2 ";
  ASSERT_EQ(Explorer(absl::StrCat("--tune --plan=f32 --timing_seconds=1", model,
                                  "--wisdom='", file, "'"))
                .exit_code,
            0);
  const std::string generate = absl::StrCat("--generate=20", model);
  const Outcome tuned =
      Explorer(absl::StrCat(generate, "--wisdom='", file, "'"));
  ASSERT_EQ(tuned.exit_code, 0) << tuned.err;
  EXPECT_EQ(tuned.out, Explorer(absl::StrCat(generate, "--wisdom=none")).out);
}

TEST(ExplorerTuneTest, WisdomThatIsNotUsedIsReported) {
  const std::string folder = absl::StrCat(TestFolder(), "/results");
  const auto sweep = [&folder](const std::string& wisdom) {
    return Explorer(absl::StrCat("--sweep --axes=matmul=f32 --out='", folder,
                                 "' --wisdom='", wisdom, "'", kQuick));
  };
  Outcome run = sweep("none");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Kernels are not tuned: --wisdom=none."));
  EXPECT_THAT(run.err, Not(HasSubstr("warning")));
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"wisdom_used\":false"));

  const std::string missing = absl::StrCat(TestFolder(), "/missing.json");
  run = sweep(missing);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(absl::StrCat(missing, " does not exist")));
  EXPECT_THAT(run.err, Not(HasSubstr("warning")));

  const std::string corrupt = WriteTestFile("corrupt.json", "{}");
  run = sweep(corrupt);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(absl::StrCat("Kernels are not tuned: ",
                                              corrupt, ": not wisdom")));
  EXPECT_THAT(run.err, HasSubstr("explorer: warning: wisdom is ignored: "));
  EXPECT_EQ(Read(corrupt), "{}");
  // Tuning replaces it.
  run = Explorer(
      absl::StrCat("--tune --plan=f32 --wisdom='", corrupt, "'", kQuick));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr(".bad"));
  EXPECT_EQ(Read(corrupt + ".bad"), "{}");
  EXPECT_THAT(sweep(corrupt).out, HasSubstr("9 are tuned"));

  // Of another number of threads.
  const std::string foreign = absl::StrCat(TestFolder(), "/foreign.json");
  ASSERT_EQ(Explorer(absl::StrCat("--tune --plan=f32 --model=synthetic:tiny "
                                  "--timing_seconds=0 --threads=1 --wisdom='",
                                  foreign, "'"))
                .exit_code,
            0);
  run = sweep(foreign);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("knows other machines, thread counts"));
  EXPECT_THAT(run.err, HasSubstr("explorer: warning: wisdom is ignored: "));
}

TEST(ExplorerTuneTest, TuneWithoutAFileKeepsNothing) {
  for (const char* wisdom : {" --wisdom=none", ""}) {
    const Outcome run =
        Explorer(absl::StrCat("--tune --plan=f32", kQuick, wisdom));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(CountRows(run.out, "f32"), 9);
    EXPECT_THAT(run.err, HasSubstr("the result is not kept"));
  }
}

// Before anything is tuned, or even loaded.
TEST(ExplorerTuneTest, TuneThatCannotBeKeptIsExitCode1) {
  const std::string file = WriteTestFile("plain", "text");
  for (const std::string& path : {file + "/w.json", TestFolder()}) {
    const Outcome run = Explorer(
        absl::StrCat("--tune --plan=f32", kQuick, "--wisdom='", path, "'"));
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("TuneThatCannotBeKeptIsExitCode1"));
    EXPECT_THAT(run.err, Not(HasSubstr("kept in")));
    EXPECT_THAT(run.err, Not(HasSubstr("loading")));
  }
}

TEST(ExplorerTuneTest, StoppedTuningKeepsWhatItHas) {
  const std::string file = absl::StrCat(TestFolder(), "/stopped.json");
  const Outcome run =
      StopExplorer({"--tune", "--plan=f32", "--model=synthetic:tiny",
                    "--timing_seconds=30", "--wisdom=" + file},
                   "tuning 9 kinds of MatMul", SIGTERM);
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err,
              HasSubstr("explorer: stopped by SIGTERM while tuning: "));
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat(
                           " of 9 kinds of MatMul were done and are kept in ",
                           file, "\n")));
}

}  // namespace
}  // namespace ulpscope
