#include <signal.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Little of everything that has to run.
constexpr const char kTiny[] =
    " --model=synthetic:tiny --tokens=3 --timing_seconds=0 --threads=2 ";

TEST(ExplorerTest, HelpListsEverything) {
  for (const char* flag : {"--help", "-h", "--sweep --help", "--bad --help"}) {
    const Outcome help = Explorer(flag);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_EQ(help.err, "");
    for (const char* name :
         {"sweep",   "plan",           "generate",  "model", "axes",
          "metric",  "token",          "tokens",    "seed",  "layers",
          "threads", "timing_seconds", "out",       "tune",  "retune",
          "wisdom",  "memory",         "attribute", "on",    "budget"}) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat("--", name, " (default")));
    }
    for (const StrategyInfo& info : Strategies()) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", info.name, " ")));
      EXPECT_THAT(help.out, HasSubstr(info.summary));
    }
    for (size_t k = 0; k < kNumKernels; ++k) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat(
                                "  ", KernelName(static_cast<Kernel>(k)))));
    }
    for (size_t i = 0; i < kNumOps; ++i) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat(" ", OpName(OpAt(i)))));
    }
    for (const PlanPreset& preset : PlanPresets()) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", preset.name, " ")));
    }
    for (const RankMetric& metric : RankMetrics()) {
      EXPECT_THAT(help.out, HasSubstr(metric.summary));
    }
    EXPECT_THAT(help.out, HasSubstr("synthetic:seed-qwen3"));
    for (const char* mode : {"--sweep", "--plan=", "--generate=", "--attribute",
                             "--diagnose", "--dump-trace=", "--tune"}) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat("\n  explorer ", mode)));
    }
  }
}

struct BadUsage {
  const char* arguments;
  const char* message;
};

TEST(ExplorerTest, BadUsageIsExitCode2) {
  const BadUsage cases[] = {
      {"", "expected one of --sweep, --plan and --generate"},
      {"--nosweep", "expected one of"},
      {"--plan=", "expected one of"},
      {"--sweep --plan=f32", "expected one of"},
      {"--sweep --generate=3", "expected one of"},
      {"--tune --sweep", "expected one of"},
      {"--tune --generate=3", "expected one of"},
      {"--tune --plan=f32 --generate=3", "expected one of"},
      {"--notune", "expected one of"},
      {"--sweep --retune", "--retune does nothing without --tune"},
      {"--attribute --sweep", "expected one of"},
      {"--attribute --tune", "expected one of"},
      {"--attribute --generate=3", "expected one of"},
      {"--sweep --on=prompt", "--on does nothing without --attribute"},
      {"--plan=f32 '--budget=kl<=1'", "--budget does nothing without"},
      {"--attribute --on=both", "--on=both: expected token or prompt"},
      {"'--attribute' '--budget=rmse<=1'", "rmse<=1"},
      {"'--attribute' '--budget=rel_l2'", "rel_l2"},
      {"'--attribute' '--budget=rel_l2<=x'", "rel_l2<=x"},
      {"--tune=perhaps", "--tune=perhaps: expected true or false"},
      {"--notunes --sweep", "unknown flag --notunes"},
      {"--tune --wisdom", "--wisdom: expected a value"},
      {"--sweep --frobnicate", "unknown flag --frobnicate"},
      {"--frobnicate=3 --plan=f32", "unknown flag --frobnicate"},
      {"--noplan --sweep", "unknown flag --noplan"},
      {"--sweep more", "unexpected argument 'more'"},
      {"more --sweep", "unexpected argument 'more'"},
      {"--sweep -- --plan", "unknown flag --"},
      {"--plan", "--plan: expected a value"},
      {"--sweep --model", "--model: expected a value"},
      {"--sweep=maybe", "--sweep=maybe: expected true or false"},
      {"-sweep=maybe", "--sweep=maybe: expected true or false"},
      // Flags of Abseil's own.
      {"--version", "unknown flag --version"},
      {"--helpfull", "unknown flag --helpfull"},
      {"--sweep --flagfile=missing", "unknown flag --flagfile"},
      {"--sweep --undefok=x --x", "unknown flag --undefok"},
      // Numbers.
      {"--plan=f32 --threads=0", "--threads=0: expected a number"},
      {"--plan=f32 --threads=1025", "--threads=1025"},
      {"--plan=f32 --threads=two", "--threads=two"},
      {"--plan=f32 --seed=-1", "--seed=-1: expected a number"},
      {"--plan=f32 --seed=", "--seed=: expected a number"},
      {"--plan=f32 --timing_seconds=-1", "--timing_seconds=-1"},
      {"--plan=f32 --timing_seconds=nan", "--timing_seconds=nan"},
      {"--plan=f32 --timing_seconds=soon", "--timing_seconds=soon"},
      {"--plan=f32 --memory=", "--memory=: expected bytes"},
      {"--plan=f32 --memory=0", "--memory=0: expected bytes"},
      {"--plan=f32 --memory=-1", "--memory=-1: expected bytes"},
      {"--plan=f32 --memory=much", "--memory=much: expected bytes"},
      {"--plan=f32 --memory=nan", "--memory=nan: expected bytes"},
      {"--plan=f32 --memory=infG", "--memory=infG: expected bytes"},
      {"--plan=f32 --memory=%", "--memory=%: expected bytes"},
      {"--plan=f32 --memory=101%", "--memory=101%: expected bytes"},
      {"--plan=f32 --memory=8GB", "--memory=8GB: expected bytes"},
      {"--plan=f32 --memory=1.2.3G", "--memory=1.2.3G: expected bytes"},
      {"--plan=f32 --memory=99999999999G", "--memory=99999999999G: expected"},
      {"--generate=0", "--generate=0: expected a number of tokens"},
      {"--generate=-3", "--generate=-3"},
      {"--generate=2000000", "--generate=2000000"},
      {"--generate=99999999999999999999", "--generate=9999"},
      {"--plan=f32 --tokens=0", "--tokens=0: expected a number"},
      {"--plan=f32 --tokens=-4", "--tokens=-4"},
      {"--plan=f32 --tokens=", "--tokens=: expected"},
      {"--plan=f32 --tokens=1048577", "--tokens=1048577"},
      {"--plan=f32 --tokens=3,,", "--tokens=: expected token ids"},
      {"--plan=f32 --tokens=,", "--tokens=: expected token ids"},
      {"--plan=f32 --tokens=3,x", "--tokens=x: expected token ids"},
      {"--plan=f32 --tokens=3,300",
       "--tokens=300: expected token ids from 0 "
       "to 299"},
      {"--plan=f32 --tokens=-1,3", "--tokens=-1"},
      {"--plan=f32 --token=300", "--token=300: expected token ids from 0 to"},
      {"--plan=f32 --token=9707", "--token=9707"},
      {"--plan=f32 --token=-1", "--token=-1"},
      {"--plan=f32 --token=x", "--token=x"},
      // Names.
      {"--plan=f33", "'f33' is not a preset"},
      {"--plan=matmul=f33", "unknown strategy 'f33'"},
      {"--plan=q_proj@9=f32", "<= 8"},
      {"--generate=2 --plan=f33", "'f33' is not a preset"},
      {"--sweep --axes=", "axis ''"},
      {"--sweep --axes=matmul", "axis 'matmul'"},
      {"--sweep --axes=matmul=f32,f32", "stands twice"},
      {"--sweep --metric=beauty", "--metric=beauty: expected one of rmse"},
      {"--plan=f32 --layers=9", "--layers=9: expected"},
      {"--plan=f32 --layers=0-3", "--layers=0-3"},
      {"--plan=f32 --layers=3-2", "--layers=3-2"},
      {"--plan=f32 --layers=1-2-3", "--layers=1-2-3"},
      {"--plan=f32 --layers=x", "--layers=x"},
      // Flags that would do nothing.
      {"--plan=f32 --axes=matmul=f32", "--axes does nothing with --plan"},
      {"--generate=3 --out=x", "--out does nothing with --generate"},
      {"--generate=3 --metric=kl", "--metric does nothing with --generate"},
      {"--plan=f32 --generate=3 --layers=1", "--layers does nothing"},
      {"--generate=3 --memory=1G", "--memory does nothing with --generate"},
      {"--tune --memory=1G", "--memory does nothing with --tune"},
      {"--tune --out=x", "--out does nothing with --tune"},
      {"--tune --seed=2", "--seed does nothing with --tune"},
      {"--tune --plan=f32 --axes=matmul=f32", "--axes does nothing"},
      // Traces.
      {"--diagnose --reference=x --sweep", "expected one of"},
      {"--diagnose --reference=x --dump-trace=y", "expected one of"},
      {"--dump-trace=y --generate=3", "expected one of"},
      {"--dump-trace=", "expected one of"},
      {"--dump-trace", "--dump_trace: expected a value"},
      {"--diagnose", "--reference=: expected a trace for --diagnose"},
      {"--sweep --reference=x", "--reference does nothing without --diagnose"},
      {"--plan=f32 --mapping=x", "--mapping does nothing without --diagnose"},
      {"--plan=f32 --last-state=raw",
       "--last_state does nothing without --dump_trace"},
      {"--dump-trace=x --last-state=both",
       "--last_state=both: expected normed or raw"},
      {"--diagnose --reference=x --axes=matmul=f32", "--axes does nothing"},
      {"--diagnose --reference=x --metric=kl", "--metric does nothing"},
      {"--diagnose --reference=x --seed=2", "--seed does nothing"},
      {"--diagnose --reference=x --timing-seconds=2",
       "--timing_seconds does nothing with --diagnose"},
      {"--diagnose --reference=x --on=prompt", "--on does nothing"},
      {"--diagnose --reference=x --retune", "--retune does nothing"},
      {"--diagnose --reference=x --tokens=32",
       "--tokens=32: expected the ids of the trace's tokens"},
      {"--diagnose --reference=x --tokens=", "--tokens=: expected the ids"},
      {"--diagnose --reference=x --tokens=3,300", "--tokens=300"},
      {"--diagnose --reference=x --token=300", "--token=300"},
      {"--diagnose --reference=x --token=3 --tokens=3,4",
       "--token does nothing with --tokens"},
      {"--diagnose --reference=x --plan=f33", "'f33' is not a preset"},
      {"--diagnose --reference=x --layers=9", "--layers=9: expected"},
      {"--dump-trace=x --out=y", "--out does nothing with --dump_trace"},
      {"--dump-trace=x --layers=1", "--layers does nothing"},
      {"--dump-trace=x --memory=1G", "--memory does nothing"},
      {"--dump-trace=x --plan=f33", "'f33' is not a preset"},
      {"--dump-trace=x --tokens=0", "--tokens=0: expected a number"},
  };
  for (const BadUsage& bad : cases) {
    SCOPED_TRACE(bad.arguments);
    const Outcome run =
        Explorer(absl::StrCat("--model=synthetic:tiny ", bad.arguments));
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err,
                AllOf(StartsWith("explorer: "), HasSubstr(bad.message)));
  }
}

// In names alone: what follows a name is a value, whatever it looks like.
TEST(ExplorerTest, DashesInNamesAreUnderscores) {
  for (const char* spelling : {"--timing-seconds=0", "--timing_seconds=0",
                               "-timing-seconds=0", "--timing-seconds 0"}) {
    const Outcome run = Explorer(absl::StrCat(
        "--plan=f32 --model=synthetic:tiny --tokens=3 --wisdom=none ",
        spelling));
    EXPECT_EQ(run.exit_code, 0) << spelling << run.err;
  }
  EXPECT_THAT(Explorer("--model --a-b --plan=f32").err, HasSubstr("--a-b"));
  EXPECT_THAT(Explorer("--no-such-flag").err,
              HasSubstr("unknown flag --no-such-flag"));
}

// 2^20 tokens of a vocabulary of 151936 need terabytes.
TEST(ExplorerTest, PromptThatCannotBeHeldIsExitCode2) {
  const Outcome run = Explorer("--plan=f32 --tokens=1048576");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr("1048576 tokens need more than"));
}

TEST(ExplorerTest, FailuresAreExitCode1) {
  const std::string file = WriteTestFile("plain", "text");
  const std::string gguf = WriteTestFile("broken.gguf", "GGUF and no more");
  const BadUsage cases[] = {
      {"--model=missing.gguf", "missing.gguf"},
      {"--model=missing_folder", "missing_folder"},
      {"--model=", "expected a Hugging Face folder"},
      {"--model=synthetic:none", "expected one of seed"},
  };
  std::vector<std::pair<std::string, std::string>> all;
  for (const BadUsage& bad : cases) {
    all.emplace_back(absl::StrCat("--plan=f32 ", bad.arguments), bad.message);
  }
  all.emplace_back(absl::StrCat("--sweep --model='", gguf, "'"), gguf);
  // A folder without config.json.
  all.emplace_back(absl::StrCat("--sweep --model='", TestFolder(), "'"),
                   "config.json");
  all.emplace_back(absl::StrCat("--plan=f32 --out='", file, "/x'", kTiny),
                   file);
  all.emplace_back(absl::StrCat("--plan=f32 --out='", file, "'", kTiny), file);
  for (const auto& [arguments, message] : all) {
    SCOPED_TRACE(arguments);
    const Outcome run = Explorer(arguments);
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, HasSubstr("explorer: "));
    EXPECT_THAT(run.err, HasSubstr(message));
  }
}

TEST(ExplorerTest, FullStdoutIsExitCode1) {
  for (const std::string& arguments :
       {std::string("--help"), absl::StrCat("--plan=f32", kTiny),
        absl::StrCat("--generate=2 --model=synthetic:tiny")}) {
    const Outcome run = Explorer(arguments, "/dev/full");
    EXPECT_EQ(run.exit_code, 1) << arguments;
    EXPECT_THAT(run.err, HasSubstr("stdout: cannot write"));
  }
}

TEST(ExplorerTest, SweepPrintsTheReportAndWritesIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/report");
  const Outcome run =
      Explorer(absl::StrCat("--sweep --out='", folder, "'", kTiny));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("# ulpscope\n"));
  EXPECT_THAT(run.out, HasSubstr("\n| 27 | "));
  EXPECT_THAT(run.out, HasSubstr("SYNTHETIC"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"), StartsWith("{"));
  EXPECT_THAT(Read(folder + "/results.csv"), StartsWith("model,synthetic,"));
  // Progress is on stderr, in whole lines: it is no terminal.
  EXPECT_THAT(run.out, Not(HasSubstr("done in")));
  for (const char* task : {"loading", "errors", "timing"}) {
    EXPECT_THAT(run.err, HasSubstr(task));
  }
  for (const std::string& text : {run.out, run.err}) {
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\r")));
    EXPECT_TRUE(absl::EndsWith(text, "\n"));
  }
}

TEST(ExplorerTest, PlanPrintsItsReport) {
  const Outcome run = Explorer(
      absl::StrCat("--plan=softmax=f32,matmul=kahan --layers=2-3", kTiny));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("## Plan `matmul=kahan`"));
  EXPECT_THAT(run.out, HasSubstr("\n| 2 | "));
  EXPECT_THAT(run.out, HasSubstr("\n| 3 | "));
  EXPECT_THAT(run.out, Not(HasSubstr("\n| 4 | ")));
}

// Without timings the report is the same whatever the threads; another seed is
// another prompt.
TEST(ExplorerTest, ErrorsDependOnTheSeedAlone) {
  const auto errors = [](const std::string& flags) {
    const Outcome run = Explorer(absl::StrCat(
        "--plan=bf16 --model=synthetic:tiny --tokens=20 --timing_seconds=0 ",
        flags));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    for (absl::string_view line : absl::StrSplit(run.out, '\n')) {
      const std::vector<std::string> cells = absl::StrSplit(line, '|');
      if (cells.size() > 6 && cells[1] == " 1 ") {
        return absl::StrCat(cells[6], cells[7], cells[8], cells[9]);
      }
    }
    ADD_FAILURE() << "no ranking";
    return std::string();
  };
  const std::string one = errors("--threads=1");
  EXPECT_EQ(errors("--threads=2 --seed=1"), one);
  EXPECT_NE(errors("--seed=2"), one);
}

// However few plans are measured together.
TEST(ExplorerTest, MemoryChangesNoError) {
  const std::string folder = absl::StrCat(TestFolder(), "/memory");
  const auto errors_with = [&folder](const std::string& memory) {
    const Outcome run = Explorer(absl::StrCat(
        "--sweep --axes=matmul=f32,kahan --model=synthetic:tiny --tokens=3 "
        "--timing_seconds=0 --threads=1 --out='",
        folder, "' --memory=", memory));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    std::vector<std::string> errors;
    for (absl::string_view line :
         absl::StrSplit(Read(folder + "/results.csv"), '\n')) {
      // The last eight cells, from final_rmse on.
      const std::vector<std::string> cells = absl::StrSplit(line, ',');
      if (cells.size() < 8) continue;
      errors.insert(errors.end(), cells.end() - 8, cells.end());
    }
    return errors;
  };
  const std::vector<std::string> expected = errors_with("50%");
  ASSERT_EQ(expected.size(), 3u * 8);
  EXPECT_EQ(expected[0], "final_rmse");
  for (const char* memory : {"1", "1.5K", "2M", "1G", "100%"}) {
    EXPECT_EQ(errors_with(memory), expected) << memory;
  }
}

TEST(ExplorerTest, AttributionExplainsThePlanOrTheWorstOne) {
  const std::string folder = absl::StrCat(TestFolder(), "/attribution");
  const Outcome run = Explorer(absl::StrCat(
      kTiny,
      "--attribute --plan=f32,down_proj@2=bf16 --on=prompt --wisdom=none "
      "'--budget=rel_l2<=1e-4' --out='",
      folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("# Attribution of `down_proj@2=bf16`\n"));
  EXPECT_THAT(run.out, HasSubstr("(SYNTHETIC weights)"));
  EXPECT_THAT(run.out, HasSubstr("\n## Verdict\n"));
  EXPECT_THAT(run.out, HasSubstr("The smallest repair found for rel_l2<=0.0001 "
                                 "is `down_proj@2=f32`: 1 (layer, op) cell"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  const auto json =
      nlohmann::json::parse(Read(folder + "/results.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  const auto& attribution = json["attribution"];
  EXPECT_EQ(attribution["tokens"].size(), 3u);
  EXPECT_EQ(attribution["stopped_in"], "");
  EXPECT_EQ(attribution["minimal_repair"]["entries"],
            nlohmann::json({"down_proj@2=f32"}));
  EXPECT_THAT(Read(folder + "/results.csv"), StartsWith("model,synthetic,"));

  const Outcome worst = Explorer(absl::StrCat(
      kTiny, "--attribute '--axes=matmul=f32,bf16' --wisdom=none"));
  ASSERT_EQ(worst.exit_code, 0) << worst.err;
  EXPECT_THAT(worst.err, HasSubstr("the worst plan by rmse: matmul=bf16\n"));
  EXPECT_THAT(worst.out, StartsWith("# Attribution of `matmul=bf16`\n"));
  EXPECT_THAT(worst.out, HasSubstr("alone at position 0"));
}

TEST(ExplorerTest, AttributionThatIsStoppedReportsWhatThereIs) {
  const std::string folder = absl::StrCat(TestFolder(), "/stopped");
  const Outcome run =
      StopExplorer({"--attribute", "--plan=torch-bf16",
                    "--model=synthetic:tiny", "--tokens=300", "--on=prompt",
                    "--threads=2", "--wisdom=none", "--out=" + folder},
                   "attribution: layers: done", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in the "));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by Ctrl-C in the "));
  EXPECT_THAT(run.out, HasSubstr("## Where it arises, layer by layer"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_by\": \"Ctrl-C\""));
}

// On prompts that take many times as long as a signal.
TEST(ExplorerTest, SweepThatIsStoppedInItsTimingReportsIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/timing");
  const Outcome run =
      StopExplorer({"--sweep", "--model=synthetic:tiny", "--tokens=1500",
                    "--threads=2", "--axes=matmul=f32,bf16;softmax=f32,bf16",
                    "--timing_seconds=1e9", "--wisdom=none", "--out=" + folder},
                   "errors: done", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in round "));
  EXPECT_THAT(run.err, HasSubstr("wrote "));
  EXPECT_THAT(run.err, Not(HasSubstr("timing: done")));
  EXPECT_THAT(run.out, StartsWith("# ulpscope\n"));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by Ctrl-C in round "));
  EXPECT_THAT(run.out, HasSubstr("\n| 4 | "));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_in\": \"in round "));
  EXPECT_THAT(Read(folder + "/results.csv"), StartsWith("model,synthetic,"));
}

TEST(ExplorerTest, SweepThatIsStoppedInItsErrorsReportsIt) {
  const std::string folder = absl::StrCat(TestFolder(), "/errors");
  const Outcome run = StopExplorer(
      {"--sweep", "--model=synthetic:tiny", "--tokens=4000", "--threads=2",
       "--wisdom=none", "--out=" + folder},
      // Which comes a moment before the errors, of seconds.
      "loading synthetic:tiny: done", SIGTERM, absl::Milliseconds(100));
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by SIGTERM while "
                                 "measuring errors, "));
  EXPECT_THAT(run.err, Not(HasSubstr("errors: done")));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by SIGTERM while measuring "
                                 "errors, "));
  EXPECT_THAT(run.out, HasSubstr("\n## Until it was stopped\n"));
  EXPECT_THAT(run.out, HasSubstr("\n| matmul=bf16,rmsnorm=kahan | "));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_by\": \"SIGTERM\""));
}

TEST(ExplorerTest, GenerationThatIsStoppedPrintsTheTokensSoFar) {
  const Outcome run =
      StopExplorer({"--generate=50000", "--model=synthetic:tiny", "--threads=2",
                    "--wisdom=none"},
                   "loading synthetic:tiny: done", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C after "));
  EXPECT_THAT(run.err, HasSubstr(" of 50000 tokens"));
}

TEST(ExplorerTest, GenerationEndsAtTheModelsEndToken) {
  const Outcome run =
      Explorer("--generate=30 --model=synthetic:tiny --tokens=32,");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "2\n");
  EXPECT_THAT(run.err, HasSubstr("explorer: the model's end token 2 came "
                                 "after 1 of 30 tokens\n"));
}

TEST(ExplorerTest, GenerationBeyondTheModelsPositionsWarns) {
  const std::string tiny = " --model=synthetic:tiny --tokens=97,3,200";
  const Outcome beyond = Explorer("--generate=511" + tiny);
  EXPECT_EQ(beyond.exit_code, 0);
  EXPECT_THAT(beyond.err,
              HasSubstr("warning: the prompt of 3 tokens and 510 generated "
                        "ones is longer than the model's 512 positions\n"));
  EXPECT_THAT(Explorer("--generate=510" + tiny).err, Not(HasSubstr("warning")));
}

// (Loading this model takes seconds; the warning comes right before.)
TEST(ExplorerTest, StoppedWhileLoadingSaysSo) {
  const Outcome run = StopExplorer(
      {"--sweep", "--wisdom=" + WriteTestFile("corrupt.json", "{}")},
      "wisdom is ignored", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C before there "
                                 "were any results\n"));
}

TEST(ExplorerTest, StoppedTuningKeepsWhatItHas) {
  const std::string file = absl::StrCat(TestFolder(), "/stopped.json");
  const Outcome run =
      StopExplorer({"--tune", "--plan=f32", "--model=synthetic:tiny",
                    "--timing_seconds=1e6", "--wisdom=" + file},
                   "tuning 9 kinds of MatMul", SIGTERM);
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat(
                           "explorer: stopped by SIGTERM while tuning: ", file,
                           " keeps the kinds of MatMul that were done\n")));
}

// A number alone is a length; with a comma after it, an id.
TEST(ExplorerTest, PromptOfOneId) {
  const Outcome id =
      Explorer("--generate=3 --model=synthetic:tiny --tokens=3,");
  ASSERT_EQ(id.exit_code, 0) << id.err;
  EXPECT_EQ(id.out, Explorer("--generate=3 --model=synthetic:tiny --tokens=1 "
                             "--token=3")
                        .out);
}

TEST(ExplorerTest, GeneratePrintsIdsAlone) {
  const std::string prompt = " --model=synthetic:tiny --tokens=97,3,200";
  const Outcome two = Explorer(absl::StrCat("--generate=2", prompt));
  const Outcome five = Explorer(absl::StrCat("--generate=5", prompt));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_THAT(two.out, testing::MatchesRegex("[0-9]+,[0-9]+\n"));
  EXPECT_THAT(five.out,
              testing::MatchesRegex("[0-9]+(,[0-9]+)(,[0-9]+)(,[0-9]+)(,[0-9]+)"
                                    "\n"));
  EXPECT_TRUE(absl::StartsWith(
      five.out, absl::StrCat(two.out.substr(0, two.out.size() - 1), ",")));
  EXPECT_EQ(Explorer(absl::StrCat("--generate=5 --plan=f32", prompt)).out,
            five.out);
}

// The rows of a table that start with this strategy.
size_t CountRows(const std::string& text, absl::string_view strategy) {
  size_t rows = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, absl::StrCat("| ", strategy, " |"))) ++rows;
  }
  return rows;
}

// Of the tiny model: 5 shapes of matrices, 4 of them with one row and with 3.
TEST(ExplorerTest, WhatIsTunedIsKeptAndUsed) {
  const std::string file = absl::StrCat(TestFolder(), "/new/wisdom.json");
  const std::string flags = absl::StrCat(kTiny, "--wisdom='", file, "' ");
  const std::string axes = "--axes='matmul=f32,kahan;softmax=f32,bf16' ";
  const Outcome first = Explorer(absl::StrCat("--tune ", axes, flags));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("# ulpscope: tuned kernels\n"));
  EXPECT_EQ(CountRows(first.out, "f32"), 9);
  EXPECT_EQ(CountRows(first.out, "kahan"), 9);
  EXPECT_THAT(first.out, HasSubstr("| 1x300x64 | 1x512x64 | lm_head |"));
  EXPECT_THAT(first.out, HasSubstr("| 3x64x64 | 4x64x64 | q_proj o_proj |"));
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
  EXPECT_THAT(Read(out + "/results.json"), HasSubstr("\"used\": true"));
  const Outcome partly =
      Explorer(absl::StrCat("--sweep --axes='matmul=f32,dot2' ", flags));
  ASSERT_EQ(partly.exit_code, 0) << partly.err;
  EXPECT_THAT(partly.out, HasSubstr("Of 18 kinds of MatMul against weights, 9 "
                                    "are tuned"));
  EXPECT_THAT(Explorer(absl::StrCat("--plan=matmul=dot2 ", flags)).out,
              HasSubstr("Kernels are not tuned: "));
}

// Tuning changes the speed, and never a bit.
TEST(ExplorerTest, WisdomDoesNotChangeResults) {
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

TEST(ExplorerTest, WisdomThatIsNotUsedIsReported) {
  const std::string folder = absl::StrCat(TestFolder(), "/results");
  const auto sweep = [&folder](const std::string& wisdom) {
    return Explorer(absl::StrCat("--sweep --axes=matmul=f32 --out='", folder,
                                 "' --wisdom='", wisdom, "'", kTiny));
  };
  Outcome run = sweep("none");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Kernels are not tuned: --wisdom=none."));
  EXPECT_THAT(run.err, Not(HasSubstr("warning")));
  EXPECT_THAT(Read(folder + "/results.json"), HasSubstr("\"used\": false"));

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
      absl::StrCat("--tune --plan=f32 --wisdom='", corrupt, "'", kTiny));
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

TEST(ExplorerTest, TuneWithoutAFileKeepsNothing) {
  for (const char* wisdom : {" --wisdom=none", ""}) {
    const Outcome run =
        Explorer(absl::StrCat("--tune --plan=f32", kTiny, wisdom));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(CountRows(run.out, "f32"), 9);
    EXPECT_THAT(run.err, HasSubstr("the result is not kept"));
  }
}

TEST(ExplorerTest, TuneThatCannotBeKeptIsExitCode1) {
  const std::string file = WriteTestFile("plain", "text");
  const Outcome run = Explorer(
      absl::StrCat("--tune --plan=f32", kTiny, "--wisdom='", file, "/w.json'"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr(file));
}

}  // namespace
}  // namespace ulpscope
