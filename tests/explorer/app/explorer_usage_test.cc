#include <signal.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/plan_presets.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ExplorerUsageTest, HelpListsEverything) {
  for (const char* flag : {"--help", "-h", "-help", "--bad --help"}) {
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
    for (const AttentionFormInfo& form : AttentionForms()) {
      EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", form.name, " ")));
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

// And no others.
TEST(ExplorerUsageTest, HelpOfAModeListsItsFlags) {
  struct Help {
    const char* arguments;
    std::vector<const char*> taken, ignored;
  };
  const Help cases[] = {
      {"--help --sweep", {"sweep", "axes", "memory"}, {"budget", "plan"}},
      {"--plan=bf16 --help", {"plan", "metric"}, {"axes", "tune"}},
      {"--help --plan=bf16 --attribute",
       {"attribute", "budget", "axes", "plan"},
       {"sweep", "retune"}},
      {"-h --dump-trace", {"dump_trace", "last_state"}, {"out", "memory"}},
      {"--tune --help", {"tune", "retune", "wisdom"}, {"out", "seed"}},
  };
  for (const Help& help : cases) {
    SCOPED_TRACE(help.arguments);
    const Outcome run = Explorer(help.arguments);
    EXPECT_EQ(run.exit_code, 0);
    for (const char* name : help.taken) {
      EXPECT_THAT(run.out, HasSubstr(absl::StrCat("--", name, " (default")));
    }
    for (const char* name : help.ignored) {
      EXPECT_THAT(run.out,
                  Not(HasSubstr(absl::StrCat("--", name, " (default"))));
    }
  }
}

struct BadUsage {
  const char* arguments;
  const char* message;
};

TEST(ExplorerUsageTest, BadUsageIsExitCode2) {
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
      {"--plan=f32 '--budget=kl<=1'", "--budget does nothing with"},
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
      // Many plans, models and processes.
      {"--sweep --plan_file=x --axes=matmul=f32", "--axes does nothing with"},
      {"--plan=f32 --plan_file=x", "--plan_file does nothing"},
      {"--plan=f32 --model_file=x --model=y", "--model does nothing with"},
      {"--attribute --model_file=x", "--model_file does nothing with"},
      {"--plan=f32 --shard=8/8", "--shard=8/8: expected I/N"},
      {"--plan=f32 --shard=auto", "--shard=auto: expected I/N"},
      {"--plan=f32 --shard=0/8", "--store=: expected"},
      {"--plan=f32 --shard=0/8 --store=x --out=y", "--out does nothing with"},
      {"--plan=f32 --shard=0/8 --store=x -o json", "--o does nothing with"},
      {"--plan=f32 --shard=0/8 --store=x --greedy=3", "--greedy does nothing"},
      {"--attribute --shard=0/8", "--shard does nothing with --attribute"},
      {"--merge=x --sweep", "expected one of"},
      {"--merge=x --store=y --model=z", "--model does nothing with --merge"},
      {"--merge=", "expected one of"},
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

// Of modes and flags that name models, or stores, in place of --model.
TEST(ExplorerUsageTest, BadUsageWithoutAModelIsExitCode2) {
  const BadUsage cases[] = {
      {"--plan=f32 --model_file=x -o json", "expected md, jsonl or sql"},
      {"--merge=x", "--store=: expected the store into which"},
      {"--merge=x --store=y --force", "--force does nothing with --merge"},
  };
  for (const BadUsage& bad : cases) {
    SCOPED_TRACE(bad.arguments);
    const Outcome run = Explorer(bad.arguments);
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err,
                AllOf(StartsWith("explorer: "), HasSubstr(bad.message)));
  }
}

// In names alone: what follows a name is a value, whatever it looks like.
TEST(ExplorerUsageTest, DashesInNamesAreUnderscores) {
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
TEST(ExplorerUsageTest, PromptThatCannotBeHeldIsExitCode2) {
  const Outcome run = Explorer("--plan=f32 --tokens=1048576");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr("1048576 tokens need more than"));
}

TEST(ExplorerUsageTest, FailuresAreExitCode1) {
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
  all.emplace_back(absl::StrCat("--plan=f32 --out='", file, "/x'", kQuick),
                   file);
  all.emplace_back(absl::StrCat("--plan=f32 --out='", file, "'", kQuick), file);
  for (const auto& [arguments, message] : all) {
    SCOPED_TRACE(arguments);
    const Outcome run = Explorer(arguments);
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, HasSubstr("explorer: "));
    EXPECT_THAT(run.err, HasSubstr(message));
  }
}

TEST(ExplorerUsageTest, FullStdoutIsExitCode1) {
  for (const std::string& arguments :
       {std::string("--help"), absl::StrCat("--plan=f32", kQuick),
        absl::StrCat("--generate=2 --model=synthetic:tiny")}) {
    const Outcome run = Explorer(arguments, "/dev/full");
    EXPECT_EQ(run.exit_code, 1) << arguments;
    EXPECT_THAT(run.err, HasSubstr("stdout: cannot write"));
  }
}

// (Loading this model takes seconds; the warning comes right before.)
TEST(ExplorerUsageTest, StoppedWhileLoadingSaysSo) {
  const Outcome run = StopExplorer(
      {"--sweep", "--wisdom=" + WriteTestFile("corrupt.json", "{}")},
      "wisdom is ignored", SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C before there "
                                 "were any results\n"));
}

}  // namespace
}  // namespace ulpscope
