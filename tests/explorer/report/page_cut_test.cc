#include "explorer/report/page_cut.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/report/report_page.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

// Of many plans, the last `timed` of which are the only ones that are timed.
MadeSweep ManyPlans(size_t count, size_t timed) {
  MadeSweep sweep;
  sweep.options.axes.clear();
  const std::vector<PlanResult> made = sweep.result.plans;
  sweep.result.plans.clear();
  for (size_t i = 0; i < count; ++i) {
    PlanResult plan = made[i % made.size()];
    plan.plan = absl::StrCat("matmul=kahan,rmsnorm=bf16,q_proj@", i, "=f32");
    plan.levels.clear();
    plan.score = 1e-6 * static_cast<double>(i + 1);
    if (i + timed < count) {
      plan.timing = {};
      plan.decode_rate.reset();
      plan.prefill_rate.reset();
      plan.not_chosen = true;
    }
    sweep.result.plans.push_back(plan);
  }
  sweep.Rank();
  return sweep;
}

std::vector<std::string> PlansOf(const Table& table) {
  const size_t plan = table.Find("plan");
  std::vector<std::string> plans;
  for (const auto& row : table.rows) {
    plans.push_back(std::get<std::string>(row[plan]));
  }
  return plans;
}

std::set<std::string> SetOf(const Table& table) {
  const std::vector<std::string> plans = PlansOf(table);
  return {plans.begin(), plans.end()};
}

TEST(PageCutTest, AllOfASmallResultIsThere) {
  const Results results = MadeSweep().Made();
  const PageCut cut = CutToFit(results, 1 << 20);
  EXPECT_EQ(ResultsJson(cut.results), ResultsJson(results));
  EXPECT_EQ(cut.left_out, "");
  EXPECT_TRUE(cut.rows.empty());
  EXPECT_TRUE(cut.groups.empty());
}

// What the page promises, of as many plans as its size does not hold.
TEST(PageCutTest, PageOfThousandsOfPlansHasItsSize) {
  constexpr size_t kPlans = 10000, kTimed = 256;
  const MadeSweep sweep = ManyPlans(kPlans, kTimed);
  const Results results = sweep.Made();
  const std::string page = ReportPage(results);
  EXPECT_LE(page.size(), 8'000'000u);
  EXPECT_GE(page.size(), 6'000'000u);  // nor is it empty
  const PageCut cut = CutToFit(results, kMostPageBytes);
  const Table& plans = cut.results.Find("plans");
  EXPECT_LT(plans.rows.size(), kPlans);
  EXPECT_EQ(cut.rows.at("plans"), kPlans);
  const std::set<std::string> here = SetOf(plans);
  std::set<std::string> with_layers = SetOf(cut.results.Find("layers"));
  EXPECT_LT(with_layers.size(), here.size());
  size_t first_without = 0;
  while (here.count(sweep.result.plans[first_without].plan) > 0) {
    ++first_without;
  }
  EXPECT_GT(first_without, 100u);
  for (size_t i = 0; i < kPlans; ++i) {
    const PlanResult& plan = sweep.result.plans[i];
    const bool is_worst = i + 1 == kPlans;
    EXPECT_EQ(here.count(plan.plan) > 0,
              i < first_without || plan.decode_rate.has_value())
        << i;
    if (plan.pareto || is_worst) {
      EXPECT_EQ(with_layers.count(plan.plan), 1u) << i;
    }
  }
  // All that is of a plan is of the same ones, and whole.
  for (const char* const table :
       {"evaluations", "token_summaries", "token_percentiles", "timings",
        "tokens", "window_errors"}) {
    const std::set<std::string> of = SetOf(cut.results.Find(table));
    EXPECT_TRUE(std::includes(with_layers.begin(), with_layers.end(),
                              of.begin(), of.end()))
        << table;
  }
  EXPECT_EQ(cut.results.Find("layers").rows.size(), 10 * with_layers.size());
  // The others are counted, none twice.
  size_t left_out = 0, last = first_without;
  for (const LeftOutPlans& group : cut.groups) {
    left_out += group.plans;
    EXPECT_EQ(group.first_rank, last + 1);
    last = *group.last_rank;
    EXPECT_LE(*group.least_score, *group.median_score);
    EXPECT_LE(*group.median_score, *group.largest_score);
  }
  EXPECT_EQ(left_out + here.size(), kPlans);
  EXPECT_EQ(last, kPlans - kTimed);
  EXPECT_EQ(cut.plans, kPlans);
  EXPECT_EQ(cut.measured, kPlans);
  EXPECT_EQ(cut.timed, kTimed);
  EXPECT_EQ(cut.front,
            static_cast<size_t>(absl::c_count_if(
                sweep.result.plans, [](const auto& p) { return p.pareto; })));
  EXPECT_THAT(cut.not_timed, Contains(Pair("not chosen", kPlans - kTimed)));
  EXPECT_THAT(cut.left_out, AllOf(HasSubstr(absl::StrCat("all ", kPlans)),
                                  HasSubstr(absl::StrCat(here.size()))));
}

// Of timed plans that do not fit nothing is said that those here would not bear
// out; what ranks first and last and the fastest is here, timed or not.
TEST(PageCutTest, CountsAreOfAllPlans) {
  constexpr size_t kPlans = 2000;
  MadeSweep sweep = ManyPlans(kPlans, kPlans - 1);
  PlanResult& fast = sweep.result.plans[kPlans / 2];
  fast.decode_rate = Spread{1e6, 1};
  fast.score = std::numeric_limits<double>::infinity();  // on no front
  const std::string fastest = fast.plan;
  sweep.Rank();
  ASSERT_FALSE(sweep.result.plans[0].decode_rate.has_value());
  const PageCut cut = CutToFit(sweep.Made(), 300'000);
  const std::set<std::string> here = SetOf(cut.results.Find("plans"));
  ASSERT_LT(here.size(), kPlans / 2);
  for (const std::string& plan : {sweep.result.plans.front().plan,
                                  sweep.result.plans.back().plan, fastest}) {
    EXPECT_EQ(here.count(plan), 1u) << plan;
  }
  EXPECT_EQ(cut.fastest, fastest);
  EXPECT_EQ(cut.timed, kPlans - 1);
  size_t timed_here = 0, timed_elsewhere = 0;
  for (const PlanResult& plan : sweep.result.plans) {
    if (plan.decode_rate && here.count(plan.plan) > 0) ++timed_here;
  }
  for (const LeftOutPlans& group : cut.groups) timed_elsewhere += group.timed;
  EXPECT_GT(timed_elsewhere, 0u);
  EXPECT_EQ(timed_here + timed_elsewhere, cut.timed);
}

// Those of cells are many, and would take the others' place.
TEST(PageCutTest, RepairsOfCellsAreCutFirst) {
  Results results = {"attribute", {}};
  Table& table = results.tables.emplace_back();
  table.name = "repairs";
  table.columns = {
      MakeColumn("scope", "", Unit::kNone, "", Type::kText, false)};
  table.rows.assign(1000, {Value("cell")});
  for (const char* scope : {"op", "group", "layer"}) {
    table.rows.push_back({Value(scope)});
  }
  const PageCut cut = CutToFit(results, 2000);
  const auto& rows = cut.results.Find("repairs").rows;
  ASSERT_GT(rows.size(), 3u);
  ASSERT_LT(rows.size(), 1000u);
  EXPECT_EQ(rows.front()[0], Value("cell"));
  EXPECT_EQ(rows[rows.size() - 3][0], Value("op"));
  EXPECT_EQ(rows[rows.size() - 1][0], Value("layer"));
  EXPECT_THAT(cut.left_out,
              HasSubstr(absl::StrCat(rows.size(), " of 1003 rows")));
}

TEST(PageCutTest, PlansThatWereNotMeasuredAreAGroup) {
  MadeSweep sweep = ManyPlans(100, 0);
  sweep.Stop(2);
  const PageCut cut = CutToFit(sweep.Made(), 50'000);
  ASSERT_EQ(cut.groups.size(), 1u);
  EXPECT_FALSE(cut.groups[0].first_rank.has_value());
  EXPECT_EQ(cut.groups[0].plans + cut.results.Find("plans").rows.size(), 100u);
  EXPECT_EQ(cut.measured, 0u);
}

// A single plan's tokens do not take its layers away: the worst of them stay.
TEST(PageCutTest, OfManyTokensTheWorstAreThere) {
  MadeSweep sweep;
  sweep.result.plans.resize(1);
  Results results = sweep.Made();
  for (Table& table : results.tables) {
    if (table.name != "tokens") continue;
    const std::vector<Value> row = table.rows[0];
    table.rows.clear();
    for (size_t i = 0; i < 1000; ++i) {
      table.rows.push_back(row);
      table.rows.back()[table.Find("position")] = static_cast<int64_t>(i);
      table.rows.back()[table.Find("kl_nats")] =
          static_cast<double>(i * 379 % 1000);
    }
  }
  const PageCut cut = CutToFit(results, 100'000);
  EXPECT_EQ(cut.results.Find("layers").rows.size(), 10u);
  const Table& tokens = cut.results.Find("tokens");
  ASSERT_GT(tokens.rows.size(), 50u);
  ASSERT_LT(tokens.rows.size(), 1000u);
  EXPECT_EQ(cut.rows.at("tokens"), 1000u);
  int64_t last = -1;
  for (const auto& row : tokens.rows) {
    EXPECT_GE(std::get<double>(row[tokens.Find("kl_nats")]),
              static_cast<double>(1000 - tokens.rows.size()));
    const int64_t position = std::get<int64_t>(row[tokens.Find("position")]);
    EXPECT_GT(position, last);  // as they were
    last = position;
  }
}

// Another mode's tables: the small ones are whole.
TEST(PageCutTest, TheLargestTableIsCut) {
  Results results = {"diagnose", {}};
  for (const auto& [name, count] :
       {std::make_pair("few", 10), std::make_pair("many", 10000)}) {
    Table& table = results.tables.emplace_back();
    table.name = name;
    table.columns = {
        MakeColumn("x", "", Unit::kNone, "", Type::kNumber, false)};
    table.rows.resize(static_cast<size_t>(count), {Value(1.0 / 3)});
  }
  const PageCut cut = CutToFit(results, 10'000);
  EXPECT_EQ(cut.results.Find("few").rows.size(), 10u);
  EXPECT_LE(ResultsJson(cut.results).size(), 10'000u);
  EXPECT_GE(ResultsJson(cut.results).size(), 9'000u);
  EXPECT_EQ(cut.rows.size(), 1u);
  EXPECT_NE(cut.left_out, "");
}

}  // namespace
}  // namespace ulpscope
