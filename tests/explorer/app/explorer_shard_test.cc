// One sweep by many processes: the merged store is that of a single one.

#include <signal.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/stored_runs.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr size_t kPlans = 5, kPrompts = 3, kModels = 2;
// On the token alone and on each prompt.
constexpr size_t kErrorsOfModel = kPlans * (1 + kPrompts);
constexpr size_t kErrors = kModels * kErrorsOfModel;

// Several plans, prompts and models, in one command.
std::string Flags() {
  const std::string plans = WriteTestFile("plans",
                                          "# A comment.\n"
                                          "f32\n"
                                          "  torch-bf16  \n"
                                          "\n"
                                          "matmul=kahan\r\n"
                                          "matmul=f32,softmax=bf16\n"
                                          "down_proj@2-3=bf16");
  const std::string prompts = WriteTestFile(
      "prompts.jsonl",
      "{\"name\": \"first\", \"tokens\": [97, 65, 19]}\n"
      "{\"tokens\": [5, 6, 7, 8, 9, 10, 11]}\n{\"tokens\": [1, 2]}\n");
  const std::string models =
      WriteTestFile("models",
                    "synthetic:tiny\n# Twice is once.\nsynthetic:tiny\n"
                    "synthetic:tiny-qwen3\n");
  return absl::StrCat("--sweep --plan_file=", plans, " --model_file=", models,
                      " --prompt_file=", prompts, " --wisdom=none --threads=1");
}

// Of a single process, made for the first test that asks.
struct SingleRun {
  std::string store, report;
};

const SingleRun& Single() {
  static const auto* single = [] {
    auto* made = new SingleRun{Path("single"), Path("single_report")};
    const Outcome run = Explorer(absl::StrCat(
        Flags(), " --notiming --store=", made->store, " --out=", made->report));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return made;
  }();
  return *single;
}

// What is the same of a record wherever it was made, by key.
std::map<std::string, std::string> Records(const std::string& store) {
  std::map<std::string, std::string> records;
  for (const Record& record : Contents(store).records) {
    const std::string text =
        absl::StrCat(nlohmann::json(record.input).dump(), record.result);
    const auto [it, is_new] = records.emplace(record.key, text);
    EXPECT_EQ(it->second, text);
    EXPECT_EQ(record.key, KeyOf(record.input));
  }
  return records;
}

std::string Auto(const char* variable, size_t index) {
  return absl::StrCat(
      "unset SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_MAX "
      "JOB_COMPLETION_INDEX OMPI_COMM_WORLD_RANK PMI_RANK FLUX_TASK_RANK "
      "SLURM_PROCID; export ",
      variable, "=", index);
}

// Counts of a run of several models, all together.
std::pair<size_t, size_t> AllCounts(const Outcome& run) {
  std::pair<size_t, size_t> all;
  for (absl::string_view line : absl::StrSplit(run.err, '\n')) {
    if (!absl::StartsWith(line, "store ")) continue;
    Outcome one;
    one.err = std::string(line);
    const auto counts = Counts(one);
    all.first += counts.first;
    all.second += counts.second;
  }
  return all;
}

// But for lines that another process was writing, or was killed in.
std::vector<std::string> Warnings(const Outcome& run) {
  std::vector<std::string> warnings;
  for (const absl::string_view line : absl::StrSplit(run.err, '\n')) {
    if (absl::StrContains(line, "warning") &&
        !absl::StrContains(line, "it is cut off")) {
      warnings.emplace_back(line);
    }
  }
  return warnings;
}

TEST(ExplorerShardTest, ManyModelsAndPromptsAreOneCommand) {
  EXPECT_THAT(Records(Single().store), SizeIs(kErrors));
  std::set<std::string> models;
  for (const Record& record : Contents(Single().store).records) {
    models.insert(std::string(record.Host("model")));
    EXPECT_EQ(record.kind, "error");
  }
  EXPECT_EQ(models,
            (std::set<std::string>{"synthetic:tiny", "synthetic:tiny-qwen3"}));
  for (const char* model : {"synthetic_tiny", "synthetic_tiny-qwen3"}) {
    const auto results = Results(absl::StrCat(Single().report, "/", model));
    EXPECT_THAT(results["plans"], SizeIs(kPlans)) << model;
    EXPECT_EQ(results["context"]["synthetic"], true);
    EXPECT_THAT(results["timings"], IsEmpty());
    for (const auto& plan : results["plans"]) {
      EXPECT_TRUE(plan["decode_tokens_per_second"].is_null());
      EXPECT_FALSE(plan["kl_nats"].is_null());
    }
  }
  // Each model and prompt alone has the same.
  const std::string alone = Path("alone");
  const Outcome run = Explorer(absl::StrCat(
      "--plan=matmul=kahan --tokens=5,6,7,8,9,10,11 --notiming --wisdom=none "
      "--model=synthetic:tiny-qwen3 --store=",
      alone));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto all = Records(Single().store);
  for (const auto& [key, text] : Records(alone)) {
    ASSERT_EQ(all.count(key), 1u) << text;
    EXPECT_EQ(all.at(key), text);
  }
}

TEST(ExplorerShardTest, MergedStoreIsThatOfOneProcess) {
  constexpr size_t kShards = 7;
  const std::string store = Path("sharded");
  const std::string flags = absl::StrCat(Flags(), " --store=", store);
  // One is killed as soon as it has kept anything.
  const Outcome killed = StopExplorerWhen(
      absl::StrSplit(absl::StrCat(flags, " --shard=2/", kShards), ' '),
      [&] { return !Contents(store).records.empty(); }, SIGKILL);
  EXPECT_TRUE(killed.exit_code == -SIGKILL || killed.exit_code == 0);
  const size_t kept = Contents(store).records.size();
  EXPECT_GT(kept, 0u);
  // All at once, and one of them twice.
  const char* const variables[] = {"SLURM_ARRAY_TASK_ID",
                                   "JOB_COMPLETION_INDEX",
                                   "SLURM_PROCID",
                                   "OMPI_COMM_WORLD_RANK",
                                   "PMI_RANK",
                                   "FLUX_TASK_RANK"};
  std::vector<std::string> commands;
  for (size_t i = 0; i <= kShards; ++i) {
    commands.push_back(Auto(variables[i % 6], i % kShards));
  }
  std::vector<Outcome> runs(commands.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < runs.size(); ++i) {
    threads.emplace_back([&, i] {
      runs[i] = Explorer(absl::StrCat(flags, " --shard=auto/", kShards), "",
                         commands[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  size_t found = 0, measured = 0;
  for (const Outcome& run : runs) {
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(Warnings(run), IsEmpty());
    // Its shard opens one of the two models.
    const auto [there, is_new] = AllCounts(run);
    found += there;
    measured += is_new;
    EXPECT_FALSE(absl::StrContains(run.err, "loading synthetic:tiny:") &&
                 absl::StrContains(run.err, "loading synthetic:tiny-qwen3"));
  }
  // The one that is doubled measured its part twice, or found some of it.
  EXPECT_GE(found, kept);
  EXPECT_GE(found + measured, kErrors);
  EXPECT_EQ(Records(store), Records(Single().store));

  const std::string merged = Path("merged");
  const Outcome merge = Explorer(absl::StrCat(
      "--merge=", store, " --store=", merged, " --out=", Path("merge_report")));
  EXPECT_EQ(merge.exit_code, 0) << merge.err;
  EXPECT_THAT(ShardsOf(merged).value(), SizeIs(1));
  EXPECT_THAT(Contents(merged).records, SizeIs(kErrors));
  EXPECT_EQ(Records(merged), Records(Single().store));
  const auto report =
      nlohmann::json::parse(Read(Path("merge_report") + "/results.json"));
  EXPECT_EQ(report["context"]["written"], kErrors);
  EXPECT_THAT(report["conflicts"], IsEmpty());

  // The ordinary modes find all of it, and say the same of it.
  const Outcome again = Explorer(absl::StrCat(
      Flags(), " --notiming --store=", merged, " --out=", Path("report")));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(AllCounts(again), std::make_pair(kErrors, size_t{0}));
  for (const char* model : {"/synthetic_tiny", "/synthetic_tiny-qwen3"}) {
    auto merged_results = Results(Path("report") + model);
    auto single_results = Results(Single().report + model);
    // Each test has a file of prompts of its own.
    merged_results["context"].erase("text");
    single_results["context"].erase("text");
    EXPECT_EQ(merged_results, single_results);
  }
  // Times come on top, and no error is measured for them.
  const Outcome timed =
      Explorer(absl::StrCat(Flags(), " --timing_seconds=0 --store=", merged));
  EXPECT_EQ(timed.exit_code, 0) << timed.err;
  EXPECT_EQ(AllCounts(timed).first, kErrors);
  EXPECT_GT(AllCounts(timed).second, 0u);
  size_t times = 0;
  for (const Record& record : Contents(merged).records) {
    if (record.kind == "time") ++times;
  }
  EXPECT_EQ(times, AllCounts(timed).second);
}

TEST(ExplorerShardTest, MoreShardsThanErrorsLeaveNothingToDo) {
  const std::string store = Path("few");
  const std::string flags = absl::StrCat(
      "--plan=f32 --model=synthetic:tiny --tokens=3 --wisdom=none --store=",
      store);
  size_t measured = 0;
  for (size_t i = 0; i < 4; ++i) {
    const Outcome run = Explorer(absl::StrCat(flags, " --shard=", i, "/4"));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    if (absl::StrContains(run.err, "nothing is left for it")) continue;
    measured += Counts(run).second;
  }
  EXPECT_EQ(measured, 2u);
}

TEST(ExplorerShardTest, ErrorsAgainstAnotherPlanAreDividedToo) {
  const std::string flags =
      "--sweep --axes=matmul=f32,bf16 --against=torch-bf16 --tokens=4 "
      "--model=synthetic:tiny --wisdom=none --store=";
  const std::string whole = Path("whole"), parts = Path("parts");
  ASSERT_EQ(Explorer(flags + whole + " --notiming").exit_code, 0);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(
        Explorer(absl::StrCat(flags, parts, " --shard=", i, "/3")).exit_code,
        0);
  }
  EXPECT_EQ(Records(parts), Records(whole));
}

TEST(ExplorerShardTest, OtherBitsAreExitCode3) {
  const std::string other = Path("other");
  std::filesystem::remove_all(other);
  ASSERT_TRUE(MakeStore(other, "a test").ok());
  ShardWriter writer(other, "other-1-20260101T000000.000000");
  Record changed = Contents(Single().store).records[3];
  auto result = nlohmann::json::parse(changed.result);
  result["final_norm"]["rmse"] = 0.125;
  changed.result = result.dump();
  changed.host["cpu"] = "Another CPU";
  ASSERT_TRUE(writer.Append(LineOf(changed)).ok());
  const std::string into = Path("conflicting");
  const Outcome merge =
      Explorer(absl::StrCat("--merge=", Single().store, " --merge=", other,
                            " --store=", into, " -o json"));
  EXPECT_EQ(merge.exit_code, 3);
  EXPECT_THAT(merge.err, HasSubstr("a strategy fixes the bits, but 1 records"));
  const auto report = nlohmann::json::parse(merge.out);
  ASSERT_THAT(report["conflicts"], SizeIs(1));
  const auto& conflict = report["conflicts"][0];
  EXPECT_EQ(conflict["id"], changed.key);
  EXPECT_EQ(conflict["figure"], "final_norm/rmse");
  EXPECT_EQ(conflict["second_value"], "0.125");
  EXPECT_EQ(conflict["second_cpu"], "Another CPU");
  EXPECT_THAT(Contents(into).records, SizeIs(kErrors + 1));
  // Whoever opens it is told.
  const Outcome opened =
      Explorer(absl::StrCat(Flags(), " --notiming --store=", into));
  EXPECT_THAT(opened.err, HasSubstr("a strategy fixes the bits"));
}

TEST(ExplorerShardTest, FilesThatAreWrongAreNamed) {
  const std::string bad_plan = WriteTestFile("bad", "f32\nf33\n");
  const std::string none = WriteTestFile("none", "# nothing\n\n");
  const std::string model =
      WriteTestFile("bad_models", "synthetic:tiny\nsynthetic:none\n");
  // A layer that the first of these models has, and not the second.
  const std::string deep = WriteTestFile("deep", "down_proj@20=bf16\n");
  const std::string models =
      WriteTestFile("two", "synthetic:seed\nsynthetic:tiny\n");
  const struct {
    std::string flags, message;
    int code;
  } cases[] = {
      {"--plan_file=" + bad_plan, bad_plan + ": line 2: plan 'f33': ", 2},
      {"--plan_file=" + none, "expected a plan a line", 2},
      {"--plan_file=" + Path("missing"), "--plan_file: ", 2},
      {"--model_file=" + none, "expected a model a line", 2},
      {"--model_file=" + Path("missing"), "--model_file: ", 2},
      {"--model_file=" + model, "synthetic:none", 1},
      {absl::StrCat("--plan_file=", deep, " --model_file=", models),
       "model synthetic:tiny: --plan_file", 2},
  };
  for (const auto& bad : cases) {
    const Outcome run = Explorer("--sweep --wisdom=none " + bad.flags);
    EXPECT_EQ(run.exit_code, bad.code) << bad.flags;
    EXPECT_THAT(run.err, HasSubstr(bad.message));
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, Not(HasSubstr("loading")));
  }
}

}  // namespace
}  // namespace ulpscope
