#include "explorer/attribution/repair.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair_cost.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kInf = std::numeric_limits<double>::infinity();

const std::vector<int32_t>& Tokens() {
  static const auto* const tokens =
      new std::vector<int32_t>{97, 3, 200, 41, 11, 64};
  return *tokens;
}

// A plan's errors by running it in a decoder of its own.
double ErrorAlone(const Weights& weights, const Plan& plan,
                  BudgetMetric metric) {
  Parallel parallel;
  const auto run = [&](const Plan& which) {
    KeptStates trace(weights.config);
    Decoder decoder(weights, which, Tokens().size(), parallel);
    EXPECT_THAT(decoder.Forward(Tokens(), Logits::kAll, &trace), IsOk());
    return trace;
  };
  const auto oracle_plan = Plan::Parse("oracle", weights.layers.size());
  EXPECT_THAT(oracle_plan, IsOk());
  const KeptStates value = run(plan), oracle = run(*oracle_plan);
  switch (metric) {
    case BudgetMetric::kRelL2:
      return Compare(value.State(value.num_layers()),
                     oracle.State(oracle.num_layers()))
          .rel_l2;
    case BudgetMetric::kLogitsRelL2:
      return Compare(value.Logits(), oracle.Logits()).rel_l2;
    case BudgetMetric::kKl:
      TestMonitor monitor;
      return CompareLogits(value.Logits(), oracle.Logits(), monitor, parallel)
          ->kl;
  }
  return kInf;
}

class RepairTest : public testing::Test {
 protected:
  RepairTest() : weights_(Tiny()), layers_(weights_.layers.size()) {
    options_.budget = {BudgetMetric::kLogitsRelL2, 0};
    options_.strategies = {Strategy(), Named("kahan")};
  }

  Plan PlanOf(const std::string& text) const {
    auto plan = Plan::Parse(text, layers_);
    EXPECT_THAT(plan, IsOk());
    return *std::move(plan);
  }
  double Alone(const Plan& plan) const {
    return ErrorAlone(weights_, plan, options_.budget.metric);
  }
  RepairResult Find(const Plan& plan) {
    TestMonitor monitor(stop_);
    const auto run = RunOf(weights_, parallel_, monitor);
    // Made before anybody stops.
    auto result = FindRepair(
        run, BaselineOf(RunOf(weights_, parallel_), plan, Tokens()), options_);
    EXPECT_THAT(result, IsOk());
    return *std::move(result);
  }
  static Strategy Fault(Op op) {
    const Strategy acc = Named("bf16_acc");
    return acc.Takes(OpKernel(op)) ? acc : Named("bf16");
  }

  const Weights& weights_;
  size_t layers_;
  Parallel parallel_;
  RepairOptions options_;
  std::function<bool()> stop_;
};

std::string CellText(const Cell& cell) {
  return absl::StrCat(OpName(cell.op), "@", cell.layer);
}

std::vector<std::string> CellsIn(const UpgradeSet& set) {
  std::vector<std::string> cells;
  for (const Upgrade& upgrade : set.upgrades) {
    for (const size_t layer : upgrade.layers) {
      cells.push_back(CellText({layer, upgrade.op}));
    }
  }
  return cells;
}

// Two sums of a positive value per logit, in different orders; their square
// root and quotient take off more than they add.
void ExpectSame(double a, double b) {
  const double terms = static_cast<double>(Tokens().size()) *
                       static_cast<double>(Tiny().config.vocab_size);
  EXPECT_NEAR(a, b, 2 * terms * 0x1p-53 * b);
}

// A fault counts if it can be told from f32's own error, which better sums
// elsewhere could repair.
constexpr double kVisible = 4;

TEST_F(RepairTest, OnePlantedCellIsTheRepair) {
  const double f32 = Alone(Plan(layers_));
  size_t found = 0;
  for (const Cell& cell : CellsOf(weights_.config)) {
    Plan plan(layers_);
    plan.Set(cell.layer, cell.op, Fault(cell.op));
    const double fault = Alone(plan);
    if (!(fault > kVisible * f32)) continue;
    options_.budget.limit = std::sqrt(f32 * fault);
    const RepairResult result = Find(plan);
    ASSERT_TRUE(result.reached) << CellText(cell);
    EXPECT_THAT(CellsIn(result.repair), ElementsAre(CellText(cell)));
    ExpectSame(result.error_before.value(), fault);
    ExpectSame(result.repair.error, Alone(result.repair.plan));
    EXPECT_LE(result.repair.error, options_.budget.limit);
    // f32 takes fewer instructions than kahan.
    EXPECT_EQ(result.repair.plan, Plan(layers_));
    for (const UpgradeSet& other : result.alternatives) {
      EXPECT_THAT(CellsIn(other), ElementsAre(CellText(cell)));
      EXPECT_LE(Alone(other.plan), options_.budget.limit);
    }
    EXPECT_EQ(result.stopped_in, "");
    ++found;
  }
  EXPECT_GE(found, 20u);
}

TEST_F(RepairTest, OpsInNoLayerAreFound) {
  const double f32 = Alone(Plan(layers_));
  for (const Op op : {Op::kEmbed, Op::kFinalNorm, Op::kLmHead}) {
    Plan plan(layers_);
    plan.Set(0, op, Fault(op));
    const double fault = Alone(plan);
    // Weights are bf16: the embedding holds them exactly under any strategy.
    if (op == Op::kEmbed) {
      EXPECT_EQ(fault, f32);
      continue;
    }
    ASSERT_GT(fault, kVisible * f32) << OpName(op);
    options_.budget.limit = std::sqrt(f32 * fault);
    EXPECT_THAT(Find(plan).entries,
                ElementsAre(absl::StrCat(OpName(op), "=f32")));
  }
}

TEST_F(RepairTest, TwoPlantedCellsAreTheRepair) {
  Random random(8);
  const std::vector<Cell> cells = CellsOf(weights_.config);
  const double f32 = Alone(Plan(layers_));
  size_t found = 0;
  for (int round = 0; round < 60 && found < 12; ++round) {
    const Cell a = cells[random.Below(cells.size())];
    const Cell b = cells[random.Below(cells.size())];
    if (a.layer == b.layer && a.op == b.op) continue;
    Plan only_a(layers_), only_b(layers_), both(layers_);
    only_a.Set(a.layer, a.op, Fault(a.op));
    only_b.Set(b.layer, b.op, Fault(b.op));
    both.Set(a.layer, a.op, Fault(a.op));
    both.Set(b.layer, b.op, Fault(b.op));
    const double least = std::min(Alone(only_a), Alone(only_b));
    if (!(least > kVisible * f32)) continue;
    // Neither is enough.
    options_.budget.limit = std::sqrt(f32 * least);
    const RepairResult result = Find(both);
    ASSERT_TRUE(result.reached);
    EXPECT_THAT(CellsIn(result.repair),
                testing::UnorderedElementsAre(CellText(a), CellText(b)));
    EXPECT_EQ(result.repair.plan, Plan(layers_));
    ++found;
  }
  EXPECT_EQ(found, 12u);
}

// By brute force: every range of the op.
TEST_F(RepairTest, RangeIsTheShortestThatIsNoLuck) {
  options_.budget.metric = BudgetMetric::kRelL2;
  size_t shorter = 0;
  for (const char* text : {"mlp_residual=bf16", "down_proj=bf16_acc",
                           "post_norm=bf16_acc", "attn_residual=bf16"}) {
    const Plan plan = PlanOf(text);
    const Op op = UpgradesOf(weights_.config, plan, {Strategy()})[0][0].op;
    options_.strategies = {Strategy()};
    // errors[a][b]: with layers a to b upgraded.
    std::vector<std::vector<double>> errors(
        layers_ + 1, std::vector<double>(layers_ + 1, kInf));
    for (size_t a = 1; a <= layers_; ++a) {
      Plan upgraded = plan;
      for (size_t b = a; b <= layers_; ++b) {
        upgraded.Set(b, op, Strategy());
        errors[a][b] = Alone(upgraded);
      }
    }
    for (const double share : {0.95, 0.8, 0.6, 0.4, 0.2}) {
      const double limit = share * Alone(plan);
      if (!(errors[1][layers_] <= limit)) continue;
      size_t shortest = layers_;
      for (size_t a = 1; a <= layers_; ++a) {
        for (size_t b = a; b <= layers_; ++b) {
          bool keeps = true;
          for (size_t i = 1; i <= a; ++i) {
            for (size_t j = b; j <= layers_; ++j) {
              keeps = keeps && errors[i][j] <= limit;
            }
          }
          if (keeps) shortest = std::min(shortest, b - a + 1);
        }
      }
      options_.budget.limit = limit;
      const RepairResult result = Find(plan);
      ASSERT_TRUE(result.reached);
      ASSERT_EQ(result.repair.upgrades.size(), 1u);
      EXPECT_EQ(result.repair.upgrades[0].op, op);
      EXPECT_EQ(result.repair.cells(), shortest) << text << " " << share;
      shorter += shortest < layers_;
    }
  }
  EXPECT_GE(shorter, 5u);
}

TEST_F(RepairTest, ManyOpsAreNeededAndNoneTooMany) {
  const Plan plan = PlanOf("torch-bf16");
  for (const BudgetMetric metric :
       {BudgetMetric::kRelL2, BudgetMetric::kLogitsRelL2, BudgetMetric::kKl}) {
    options_.budget.metric = metric;
    options_.budget.limit = std::sqrt(Alone(plan) * Alone(PlanOf("kahan")));
    const RepairResult result = Find(plan);
    ASSERT_TRUE(result.reached);
    EXPECT_GE(result.repair.upgrades.size(), 2u);
    EXPECT_LE(result.repair.error, options_.budget.limit);
    EXPECT_GT(result.error_before, options_.budget.limit);
    for (size_t i = 0; i < result.repair.upgrades.size(); ++i) {
      std::vector<Upgrade> fewer = result.repair.upgrades;
      fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_GT(Alone(WithUpgrades(plan, fewer)), options_.budget.limit) << i;
    }
    // The entries are the upgrades.
    const Plan from_text =
        PlanOf(absl::StrCat("torch-bf16,", absl::StrJoin(result.entries, ",")));
    EXPECT_EQ(from_text, result.repair.plan)
        << absl::StrJoin(result.entries, ",");
    EXPECT_GT(result.streams, result.passes);
  }
}

TEST_F(RepairTest, BudgetOutOfReachNamesTheBest) {
  const Plan plan = PlanOf("torch-bf16");
  options_.budget.limit = 1e-30;
  const RepairResult result = Find(plan);
  EXPECT_FALSE(result.reached);
  EXPECT_THAT(result.repair.upgrades, IsEmpty());
  EXPECT_THAT(result.entries, IsEmpty());
  EXPECT_GT(result.best_error, 0);
  EXPECT_LT(result.best_error, result.error_before);
  EXPECT_EQ(result.stopped_in, "");
}

TEST_F(RepairTest, NothingToRepairWithinTheBudget) {
  options_.budget.limit = 10;
  const RepairResult result = Find(PlanOf("torch-bf16"));
  EXPECT_TRUE(result.reached);
  EXPECT_THAT(result.repair.upgrades, IsEmpty());
  EXPECT_EQ(result.repair.plan, PlanOf("torch-bf16"));
  EXPECT_EQ(result.repair.error, result.error_before);
  EXPECT_EQ(result.streams, 2u);
}

TEST_F(RepairTest, NothingBetterToChooseFrom) {
  options_.strategies = {Named("bf16")};
  options_.budget.limit = 1e-9;
  const RepairResult result = Find(Plan(layers_));
  EXPECT_FALSE(result.reached);
  EXPECT_EQ(result.best_error, result.error_before);
}

// A norm weight beyond f32, whose infinity the next op makes NaN.
TEST_F(RepairTest, NanKeepsNoBudget) {
  Weights weights = LoadedWeights("synthetic:tiny", parallel_);
  weights.layers[0].input_norm[0] = 1e60;
  options_.strategies = {Named("oracle")};
  options_.budget = {BudgetMetric::kRelL2, 1e-3};
  const auto run = RunOf(weights, parallel_);
  const Baseline baseline = BaselineOf(run, Plan(layers_), Tokens());
  const auto result = FindRepair(run, baseline, options_);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->error_before, kInf);
  EXPECT_TRUE(result->reached);
  EXPECT_LE(result->repair.error, 1e-3);
  options_.strategies = {Named("kahan")};
  const auto none = FindRepair(run, baseline, options_);
  ASSERT_THAT(none, IsOk());
  EXPECT_FALSE(none->reached);
  EXPECT_EQ(none->best_error, kInf);
}

TEST_F(RepairTest, StoppedSearchSaysWhereAndWhatItFound) {
  const double f32 = Alone(Plan(layers_));
  const Plan plan = PlanOf("mlp_residual=bf16");
  options_.budget.limit = std::sqrt(f32 * Alone(plan));
  const RepairResult whole = Find(plan);
  std::vector<std::string> steps;
  bool reached = false;
  for (size_t asked = 0; asked < 100000; asked = 2 * asked + 1) {
    size_t left = asked;
    stop_ = [&left] { return left == 0 || --left == 0; };
    const RepairResult result = Find(plan);
    if (result.stopped_in.empty()) {
      EXPECT_EQ(result.repair.plan, whole.repair.plan);
      EXPECT_TRUE(reached);
      EXPECT_GE(steps.size(), 2u);
      return;
    }
    EXPECT_LE(result.streams, whole.streams);
    // What has been found is not lost by searching longer.
    EXPECT_GE(result.reached, reached);
    reached = result.reached;
    if (reached) {
      EXPECT_LE(Alone(result.repair.plan), options_.budget.limit);
    }
    if (steps.empty() || steps.back() != result.stopped_in) {
      steps.push_back(result.stopped_in);
    }
  }
  ADD_FAILURE() << "the search does not end";
}

TEST_F(RepairTest, CostIsOfThePlansThatWereTimed) {
  const double f32 = Alone(Plan(layers_));
  const Plan plan = PlanOf("q_proj=bf16_acc");
  options_.budget.limit = std::sqrt(f32 * Alone(plan));
  RepairResult result = Find(plan);
  ASSERT_TRUE(result.reached);
  const size_t num_sets = 1 + result.alternatives.size();
  RepairTiming timing;
  timing.prompt = Tokens();
  timing.max_rounds = 2;
  // Stopped in the first round: no cost.
  TestMonitor stops(1);
  ASSERT_THAT(
      TimeRepair(RunOf(weights_, parallel_, stops), plan, timing, result),
      IsOk());
  EXPECT_FALSE(result.cost.has_value());
  ASSERT_THAT(TimeRepair(RunOf(weights_, parallel_), plan, timing, result),
              IsOk());
  ASSERT_TRUE(result.cost.has_value());
  for (const Spread& rate :
       {result.cost->plan_decode, result.cost->repaired_decode,
        result.cost->plan_prefill, result.cost->repaired_prefill,
        result.cost->decode_ratio, result.cost->prefill_ratio}) {
    EXPECT_GT(rate.median, 0);
    EXPECT_GE(rate.half_iqr, 0);
  }
  EXPECT_EQ(1 + result.alternatives.size(), num_sets);
  EXPECT_THAT(UpgradeEntries(weights_.config, result.repair.upgrades),
              testing::ElementsAreArray(result.entries));
  EXPECT_LE(Alone(result.repair.plan), options_.budget.limit);
}

TEST_F(RepairTest, WhatIsEmulatedIsNotTimed) {
  const Plan plan = PlanOf("q_proj=tc_h100");
  options_.budget.limit = 0.5 * Alone(plan);
  RepairResult result = Find(plan);
  ASSERT_TRUE(result.reached);
  for (const Upgrade& upgrade : result.repair.upgrades) {
    EXPECT_FALSE(upgrade.strategy.info().emulated());
  }
  RepairTiming timing;
  timing.prompt = Tokens();
  TestMonitor monitor;
  ASSERT_THAT(
      TimeRepair(RunOf(weights_, parallel_, monitor), plan, timing, result),
      IsOk());
  EXPECT_TRUE(result.emulated);
  EXPECT_FALSE(result.cost.has_value());
  EXPECT_EQ(monitor.asked(), 0);
}

TEST(BudgetTest, ReadsMetricAndLimit) {
  const auto budget = ParseBudget("rel_l2<=1e-3");
  ASSERT_THAT(budget, IsOk());
  EXPECT_EQ(budget->metric, BudgetMetric::kRelL2);
  EXPECT_EQ(budget->limit, 1e-3);
  EXPECT_EQ(BudgetText(*budget), "rel_l2<=0.001");
  const auto logits = ParseBudget(" logits_rel_l2 <= 0.5 ");
  ASSERT_THAT(logits, IsOk());
  EXPECT_EQ(logits->metric, BudgetMetric::kLogitsRelL2);
  const auto kl = ParseBudget("kl<=2");
  ASSERT_THAT(kl, IsOk());
  EXPECT_EQ(kl->metric, BudgetMetric::kKl);
}

TEST(BudgetTest, BadTextsAreNamed) {
  for (const char* text :
       {"", "rel_l2", "rel_l2<1e-3", "rel_l2<=", "rel_l2<=x", "rel_l2<=-1",
        "rel_l2<=0", "rel_l2<=nan", "rel_l2<=inf", "rmse<=1e-3", "<=1e-3",
        "rel_l2<=1e-3 or so"}) {
    EXPECT_THAT(ParseBudget(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(absl::StrCat("'", text, "'")),
                               HasSubstr("rel_l2, logits_rel_l2, kl"))))
        << text;
  }
}

// Lockstep and the decoder, each with its own metric.
// Every 64 positions of a run's logits.
TEST(BudgetTest, LongPromptsCanBeStoppedWithinOneRunsLogits) {
  Parallel parallel;
  const auto count = [&](size_t positions) {
    TestMonitor monitor;
    const std::vector<Plan> plans(3, Plan(Tiny().layers.size()));
    const Baseline baseline = BaselineOf(RunOf(Tiny(), parallel), plans[0],
                                         std::vector<int32_t>(positions, 3));
    // One run after the other.
    BudgetMeter meter(RunOf(Tiny(), parallel, monitor, 1), baseline,
                      BudgetMetric::kKl);
    EXPECT_THAT(meter.Measure(plans), IsOk());
    return monitor.asked();
  };
  EXPECT_EQ(count(130) - count(64), 3u * 2u);
}

TEST(BudgetTest, MeterMeasuresWhatCompareDoes) {
  const Weights& weights = Tiny();
  Parallel parallel;
  const auto run = RunOf(weights, parallel);
  const Baseline baseline =
      BaselineOf(run, Plan(weights.layers.size()), Tokens());
  for (const BudgetMetric metric :
       {BudgetMetric::kRelL2, BudgetMetric::kLogitsRelL2, BudgetMetric::kKl}) {
    BudgetMeter meter(run, baseline, metric);
    std::vector<Plan> plans;
    for (const char* text : {"f32", "torch-bf16", "oracle"}) {
      plans.push_back(*Plan::Parse(text, weights.layers.size()));
    }
    const auto errors = meter.Measure(plans);
    ASSERT_THAT(errors, IsOk());
    for (size_t i = 0; i < plans.size(); ++i) {
      const double expected = ErrorAlone(weights, plans[i], metric);
      if (metric != BudgetMetric::kKl) {
        ExpectSame((*errors)[i], expected);
        continue;
      }
      // Terms p (log p - log q) of up to about 1 cancel; logits are below 100,
      // and each is rounded a few times.
      EXPECT_NEAR((*errors)[i], expected, 100 * 8 * 0x1p-53);
    }
    EXPECT_EQ(meter.num_streams(), 4u);
    EXPECT_EQ(meter.num_passes(), 2u);
  }
}

}  // namespace
}  // namespace ulpscope
