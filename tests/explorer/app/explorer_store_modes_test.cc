// A store of attributions and diagnoses.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
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
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kAttribute[] =
    "--attribute --plan=torch-bf16 --on=prompt --model=synthetic:tiny "
    "--tokens=5 --threads=2 --wisdom=none --budget=rel_l2<=2e-2 "
    "--timing_seconds=0";

// For a shell.
std::string Quoted(const std::string& flags) {
  return absl::StrCat("'", absl::StrReplaceAll(flags, {{" ", "' '"}}), "'");
}

TEST(ExplorerStoreModesTest, SecondAttributionMeasuresNothing) {
  const std::string store = Path("store");
  const std::string flags = absl::StrCat(kAttribute, " --store=", store);
  const Outcome without =
      Explorer(Quoted(absl::StrCat(kAttribute, " --out=", Path("without"))));
  ASSERT_EQ(without.exit_code, 0) << without.err;
  const Outcome first =
      Explorer(Quoted(absl::StrCat(flags, " --out=", Path("first"))));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const size_t all = Contents(store).records.size();
  EXPECT_EQ(Counts(first), std::make_pair(size_t{0}, all));
  EXPECT_THAT(Keys(Contents(store)), SizeIs(all));
  // The store changes no figure.
  EXPECT_EQ(Results(Path("first")), Results(Path("without")));

  const Outcome second =
      Explorer(Quoted(absl::StrCat(flags, " --out=", Path("second"))));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Counts(second), std::make_pair(all, size_t{0}));
  EXPECT_EQ(Results(Path("second")), Results(Path("first")));
  EXPECT_EQ(second.out, first.out);
  // Not even the oracle ran.
  EXPECT_THAT(second.err, Not(HasSubstr("oracle and the plan")));

  const Outcome forced = Explorer(Quoted(flags + " --force"));
  ASSERT_EQ(forced.exit_code, 0) << forced.err;
  EXPECT_EQ(Counts(forced), std::make_pair(size_t{0}, all));
  EXPECT_THAT(forced.err, Not(HasSubstr("warning")));
}

// What is against another plan says so; what is of a plan and the oracle is
// what an attribution against that keeps of it.
TEST(ExplorerStoreModesTest, AttributionsAgainstPlansAreKeptApart) {
  const std::string store = Path("against");
  const std::string against =
      absl::StrCat(kAttribute, " --against=f32 --store=", store);
  ASSERT_EQ(Explorer(Quoted(absl::StrCat(against, " --out=", Path("vs_a"))))
                .exit_code,
            0);
  for (const Record& record : Contents(store).records) {
    // "outcome" is of both plans against the oracle, too.
    if (record.kind == "outcome") continue;
    EXPECT_EQ(record.input.count("against"), 1u) << record.kind;
  }
  const Outcome again =
      Explorer(Quoted(absl::StrCat(against, " --out=", Path("vs_b"))));
  EXPECT_EQ(Counts(again).second, 0u);
  EXPECT_EQ(Results(Path("vs_b")), Results(Path("vs_a")));

  const std::string of_oracle = Path("of_oracle");
  ASSERT_EQ(Explorer(Quoted(absl::StrCat(kAttribute, " --store=", of_oracle)))
                .exit_code,
            0);
  const auto both = Errors(Contents(store));
  std::set<std::string> shared;
  for (const auto& [key, result] : Errors(Contents(of_oracle))) {
    const auto other = both.find(key);
    if (other == both.end()) continue;
    shared.insert(key);
    EXPECT_EQ(other->second, result);
  }
  EXPECT_THAT(shared, SizeIs(1));  // the plan's outcome
  for (const Record& record : Contents(of_oracle).records) {
    EXPECT_EQ(record.input.count("against"), 0u) << record.kind;
  }
}

TEST(ExplorerStoreModesTest, TimedRepairIsKept) {
  const std::string store = Path("timed");
  const std::string flags = absl::StrCat(
      "--attribute --plan=f32,down_proj@2=bf16 --on=prompt --threads=2 "
      "--model=synthetic:tiny --tokens=3 --wisdom=none "
      "--budget=rel_l2<=1e-4 --timing_seconds=1e-9 --store=",
      store);
  ASSERT_EQ(
      Explorer(Quoted(absl::StrCat(flags, " --out=", Path("a")))).exit_code, 0);
  const Outcome second =
      Explorer(Quoted(absl::StrCat(flags, " --out=", Path("b"))));
  EXPECT_EQ(Counts(second).second, 0u);
  const nlohmann::json results = Results(Path("b"));
  EXPECT_EQ(results, Results(Path("a")));
  size_t rounds = 0;
  for (const Record& record : Contents(store).records) {
    rounds += record.kind == "repair_time";
  }
  EXPECT_EQ(rounds, 2u);
}

// But for cells of a cause map that was not finished.
TEST(ExplorerStoreModesTest, KilledAttributionGoesOn) {
  const std::string store = Path("killed");
  const std::string flags = absl::StrCat(kAttribute, " --store=", store);
  ASSERT_EQ(
      Explorer(Quoted(absl::StrCat(flags, " --out=", Path("whole")))).exit_code,
      0);
  const StoreContents expected = Contents(store);
  std::mt19937 random(1);
  for (int i = 0; i < 6; ++i) {
    std::filesystem::remove_all(store);
    KillInTheMiddle(absl::StrSplit(flags, ' '), store, expected.records.size(),
                    random);
    const size_t kept = Contents(store).records.size();
    const Outcome again =
        Explorer(Quoted(absl::StrCat(flags, " --out=", Path("again"))));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(Counts(again).second, expected.records.size() - kept);
    EXPECT_EQ(Errors(Contents(store)), Errors(expected));
    EXPECT_THAT(Contents(store).records, SizeIs(expected.records.size()));
    EXPECT_EQ(Results(Path("again")), Results(Path("whole")));
  }
}

TEST(ExplorerStoreModesTest, SecondDiagnosisMeasuresNothing) {
  const std::string trace = Path("trace.safetensors");
  const std::string model =
      " --model=synthetic:tiny --threads=2 --wisdom=none --plan=";
  ASSERT_EQ(Explorer(absl::StrCat("--dump-trace='", trace,
                                  "' --tokens=97,3,200", model, "torch-bf16"))
                .exit_code,
            0);
  const std::string store = Path("diagnoses");
  const std::string flags =
      absl::StrCat("--diagnose --reference='", trace, "'", model,
                   "f32 --store='", store, "' --out=");
  const Outcome first = Explorer(flags + Path("first"));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Counts(first), std::make_pair(size_t{0}, size_t{1}));
  const Outcome second = Explorer(flags + Path("second"));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Counts(second), std::make_pair(size_t{1}, size_t{0}));
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(Results(Path("second")), Results(Path("first")));
  EXPECT_THAT(second.err, Not(HasSubstr("diagnosis: ")));
  // Another trace under the same path.
  ASSERT_EQ(Explorer(absl::StrCat("--dump-trace='", trace,
                                  "' --tokens=97,3,200", model, "bf16"))
                .exit_code,
            0);
  EXPECT_EQ(Counts(Explorer(flags + Path("third"))),
            std::make_pair(size_t{0}, size_t{1}));
}

// Changes every figure of a result that `change` wants to.
template <typename Fn>
void ChangeAll(nlohmann::json& json, const Fn& change) {
  if (change(json) || !json.is_structured()) return;
  for (auto& part : json) ChangeAll(part, change);
}

// A store that somebody made up, with the right keys and checksums: whatever
// its records say, the program does not crash on it.
TEST(ExplorerStoreModesTest, MadeUpResultsCrashNothing) {
  const std::string trace = Path("made_up.safetensors");
  const std::string model =
      " --model=synthetic:tiny --threads=2 --wisdom=none --plan=torch-bf16 ";
  ASSERT_EQ(Explorer(absl::StrCat("--dump-trace='", trace,
                                  "' --tokens=97,3,200", model))
                .exit_code,
            0);
  const std::string store = Path("made_up");
  const std::string commands[] = {
      absl::StrCat("--timing_seconds=0 --tokens=3 --store=", store, model),
      absl::StrCat("--attribute --on=prompt --timing_seconds=0 --tokens=3 "
                   "--store=",
                   store, model),
      absl::StrCat("--diagnose --reference='", trace, "' --store=", store,
                   model)};
  for (const std::string& command : commands) {
    ASSERT_EQ(Explorer(command).exit_code, 0);
  }
  const StoreContents whole = Contents(store);
  std::set<std::string> kinds;
  for (const Record& record : whole.records) kinds.insert(record.kind);
  EXPECT_GE(kinds.size(), 8u);
  const std::function<bool(nlohmann::json&)> changes[] = {
      [](nlohmann::json& json) {  // integers
        if (!json.is_number_unsigned()) return false;
        json = 1'000'000'007u;
        return true;
      },
      [](nlohmann::json& json) {  // lists
        if (!json.is_array()) return false;
        json.clear();
        return true;
      },
      [](nlohmann::json& json) {  // figures, and texts but names of ops
        if (json.is_number_float()) json = "NaN";
        return false;
      },
      [](nlohmann::json& json) {  // what need not be there
        for (auto& part : json) {
          if (json.is_object() && part.is_object()) part = nullptr;
        }
        return false;
      }};
  for (const auto& change : changes) {
    std::filesystem::remove_all(store + "/shards");
    ASSERT_TRUE(MakeStore(store, "a test").ok());
    ShardWriter writer(store, "made-up-1");
    for (Record record : whole.records) {
      nlohmann::json result = nlohmann::json::parse(record.result);
      ChangeAll(result, change);
      record.result = result.dump();
      ASSERT_TRUE(writer.Append(LineOf(record)).ok());
    }
    for (const std::string& command : commands) {
      const Outcome run = Explorer(command);
      EXPECT_EQ(run.exit_code, 0) << command << run.err.substr(0, 3000);
    }
  }
}

// What is kept against one plan is not taken for errors against another, nor
// for those against the oracle.
TEST(ExplorerStoreModesTest, ErrorsAgainstAnotherPlanAreOthers) {
  const std::string store = absl::StrCat(TestFolder(), "/against");
  const auto layers = [](const std::string& flags) {
    const Outcome run = Explorer(absl::StrCat(
        "--plan=f32 --model=synthetic:tiny --tokens=4 --timing_seconds=0 "
        "--threads=2 -o json ",
        flags));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false)["layers"];
  };
  for (const char* const against : {"torch-bf16", "kahan", "oracle"}) {
    const std::string flag = absl::StrCat("--against=", against);
    const nlohmann::json measured = layers(flag);
    // Made, and then recalled.
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(layers(absl::StrCat(flag, " --store=", store)), measured)
          << against;
    }
  }
}

}  // namespace
}  // namespace ulpscope
