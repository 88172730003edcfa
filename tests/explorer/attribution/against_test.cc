// Attributions of the difference between two plans.

#include <cmath>
#include <cstddef>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/effects.h"
#include "explorer/error/position_errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/attribution/planted_fault.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsSubsetOf;

// What is exact in f64: a few roundings of figures near 1.
constexpr double kRounding = 64 * 0x1p-53;

// Plans that others are compared with: one that rounds everywhere, one of which
// the stream has a carry, and one of several strategies.
constexpr const char* kBases[] = {"f32", "torch-bf16", "residual=kahan",
                                  "bf16,mlp_residual@3-5=f64,softmax=f32"};

class AgainstTest : public testing::Test {
 protected:
  ulpscope::Run run() { return RunOf(Tiny(), parallel_); }

  Baseline Against(const Plan& plan, const Plan& reference) {
    return BaselineAgainst(run(), plan, reference, options_.tokens);
  }

  Attribution Attributed(const Baseline& baseline) {
    auto result = Attribute(run(), baseline);
    EXPECT_THAT(result, IsOk());
    return result.ok() ? *std::move(result) : Attribution();
  }

  bool Differ(const Plan& a, const Plan& b) {
    return ResultsDiffer(Tiny(), a, b, options_.tokens, parallel_);
  }

  Parallel parallel_{2};
  AttributedWith options_ = TinyPrompt();
};

// The cells that change a bit by themselves.
std::set<std::string> Causes(const Attribution& a) {
  std::set<std::string> causes;
  for (const Cause& cause : a.causes) {
    if (cause.changes_bits) causes.insert(CellName(cause.cell));
  }
  return causes;
}

std::set<std::string> Names(const std::vector<Cell>& cells) {
  std::set<std::string> names;
  for (const Cell& cell : cells) names.insert(CellName(cell));
  return names;
}

// The cells of the smallest repair that leaves no error of the logits.
std::set<std::string> RepairedCells(const Run& run, const Baseline& baseline) {
  RepairOptions options;
  options.budget = {BudgetMetric::kLogitsRelL2, 1e-300};
  const auto repair = FindRepair(run, baseline, options);
  EXPECT_THAT(repair, IsOk());
  EXPECT_TRUE(repair->reached);
  EXPECT_EQ(repair->repair.error, 0);
  std::set<std::string> cells;
  for (const Upgrade& upgrade : repair->repair.upgrades) {
    for (const size_t layer : upgrade.layers) {
      cells.insert(CellName({layer, upgrade.op}));
      EXPECT_EQ(upgrade.strategy,
                baseline.reference_plan.Get(layer, upgrade.op));
    }
  }
  return cells;
}

TEST_F(AgainstTest, InheritedPlusLocalIsTheTotal) {
  for (const auto& [plan, reference] :
       std::vector<std::pair<std::string, std::string>>{
           {"torch-bf16", "f32"},
           {"f32", "torch-bf16"},
           {"residual=kahan", "f32"},
           {"matmul=f16", "residual=kahan,rmsnorm=bf16"},
           {"kahan,residual=f64", "bf16,residual=f64"}}) {
    SCOPED_TRACE(absl::StrCat(plan, " against ", reference));
    const Baseline baseline =
        Against(Parsed(plan, Tiny()), Parsed(reference, Tiny()));
    const Attribution a = Attributed(baseline);
    ASSERT_EQ(a.layers.size(), Tiny().layers.size() + 1);
    for (const LayerSplit& split : a.layers) {
      EXPECT_LE(split.identity_ulps, 4) << split.layer;
      // One sums all squares in a row, the other position by position.
      const double total = a.plan.layers[split.layer];
      EXPECT_NEAR(split.total.rel_l2, total,
                  total * 0x1p-53 *
                      static_cast<double>(
                          baseline.positions * baseline.hidden_size + 8))
          << split.layer;
      double shares = split.interaction_share;
      for (const OpError& op : split.ops) shares += op.share;
      if (split.local.l2 == 0) continue;
      EXPECT_NEAR(shares, 1, 1e-9) << split.layer;
    }
  }
}

// Of plans that have every strategy in common.
TEST_F(AgainstTest, AFormOfAttentionIsACauseInSoftmax) {
  const Attribution a =
      Attributed(Against(Parsed("torch-bf16,attention@2-3=sdpa", Tiny()),
                         Parsed("torch-bf16", Tiny())));
  EXPECT_EQ(Causes(a), Names({{2, Op::kSoftmax}, {3, Op::kSoftmax}}));
}

// The reference's layer gets the plan's stream as the plan's own layer got it,
// carry and all: what the two have in common is no error.
TEST_F(AgainstTest, LayersInWhichThePlansAreTheSameMakeNoError) {
  for (const char* base : kBases) {
    SCOPED_TRACE(base);
    const Plan reference = Parsed(base, Tiny());
    const Plan plan = WithFaults(reference, {{4, Op::kDownProj}});
    const Attribution a = Attributed(Against(plan, reference));
    for (const LayerSplit& split : a.layers) {
      if (split.layer == 4) {
        EXPECT_GT(split.local.l2, 0);
        EXPECT_EQ(split.inherited.l2, 0);
      } else {
        EXPECT_EQ(split.local.l2, 0) << split.layer;
        EXPECT_EQ(split.total.l2, split.inherited.l2) << split.layer;
        for (const OpError& op : split.ops) EXPECT_EQ(op.rel_l2, 0);
      }
    }
  }
}

TEST_F(AgainstTest, APlanDoesNotDifferFromItself) {
  for (const char* base : kBases) {
    SCOPED_TRACE(base);
    ExplainOptions options;
    const Plan plan = Parsed(base, Tiny());
    options.tokens = options_.tokens;
    options.against = plan;
    options.budget = {BudgetMetric::kRelL2, 1e-4};
    const auto e = Explain(run(), plan, options);
    ASSERT_THAT(e, IsOk());
    EXPECT_TRUE(e->verdict.is_itself);
    EXPECT_TRUE(e->verdict.exact);
    const Attribution& a = e->attribution;
    EXPECT_EQ(a.plan.rel_l2, 0);
    EXPECT_EQ(a.plan.ordinary_kl, a.plan.kl);
    EXPECT_THAT(Causes(a), testing::IsEmpty());
    for (const LayerSplit& split : a.layers) {
      EXPECT_EQ(split.inherited.l2, 0);
      EXPECT_EQ(split.local.l2, 0);
    }
    for (const Repair& repair : a.repairs) EXPECT_EQ(repair.gain, 0);
    for (const PositionError& p : a.positions) {
      EXPECT_EQ(p.squared_share, 0);
      EXPECT_EQ(p.rel_l2, 0);
    }
    EXPECT_EQ(a.cause_sum->rest, 0);
    EXPECT_TRUE(e->repair->reached);
    EXPECT_EQ(e->truth->nearer(), Nearer::kEqual);
    EXPECT_GT(*e->truth->plan.rel_l2, 0);
    EXPECT_EQ(e->truth->plan.layers, e->truth->reference.layers);
  }
}

TEST_F(AgainstTest, OneDifferenceIsTheOnlyCauseAndTheWholeRepair) {
  constexpr size_t kCells = 20;
  Random random(3);
  // Some change no bit, as where their neighbours round away what they do.
  size_t unchanged = 0, done = 0;
  for (const Cell& cell : DrawnCells(Tiny().config, 2 * kCells, random)) {
    if (done == kCells) break;
    const Plan reference =
        Parsed(kBases[(done + unchanged) % std::size(kBases)], Tiny());
    const Plan plan = WithFaults(reference, {cell});
    SCOPED_TRACE(absl::StrCat(plan.Text(), " against ", reference.Text()));
    const Baseline baseline = Against(plan, reference);
    const Attribution a = Attributed(baseline);
    if (!Differ(plan, reference)) {
      ++unchanged;
      EXPECT_THAT(Causes(a), testing::IsEmpty());
      continue;
    }
    ++done;
    EXPECT_THAT(Causes(a), ElementsAre(CellName(cell)));
    const bool of_head = cell.op == Op::kFinalNorm || cell.op == Op::kLmHead;
    for (const Cause& cause : a.causes) {
      const bool is_it = CellName(cause.cell) == CellName(cell);
      // It alone is the plan.
      EXPECT_EQ(cause.effect.rel_l2, is_it ? a.plan.rel_l2 : 0);
      EXPECT_EQ(cause.effect.logits_rel_l2, is_it ? a.plan.logits_rel_l2 : 0);
      EXPECT_EQ(cause.effect.kl, is_it ? a.plan.kl : 0);
      EXPECT_EQ(cause.effect.ordinary_rel_l2,
                is_it ? a.plan.ordinary_rel_l2 : 0);
      EXPECT_EQ(cause.share, is_it && !of_head ? 1 : 0);
      EXPECT_NEAR(*cause.cosine, is_it && !of_head ? 1 : 0, kRounding);
      EXPECT_EQ(cause.peak.has_value(), is_it && !of_head);
      if (!cause.peak.has_value()) continue;
      for (size_t i = 0; i < a.positions.size(); ++i) {
        const double share = a.positions[i].squared_share;
        EXPECT_LE(share, cause.peak->squared_share * (1 + kRounding));
        if (i != cause.peak->position) continue;
        EXPECT_NEAR(share, cause.peak->squared_share, kRounding);
      }
    }
    double share = 0, logits_share = 0;
    for (const PositionError& position : a.positions) {
      share += position.squared_share;
      logits_share += position.logits_squared_share;
    }
    EXPECT_NEAR(share, of_head ? 0 : 1, kRounding);
    EXPECT_NEAR(logits_share, 1, kRounding);
    EXPECT_EQ(a.cause_sum->rest, 0);
    for (const Repair& repair : a.repairs) {
      const bool is_it = CellName(repair.cell) == CellName(cell);
      EXPECT_EQ(repair.gain, is_it && !of_head ? 1 : 0);
      EXPECT_EQ(repair.logits_gain, is_it ? 1 : 0);
      EXPECT_EQ(repair.effect.kl, is_it ? 0 : a.plan.kl);
    }
    EXPECT_THAT(RepairedCells(run(), baseline), ElementsAre(CellName(cell)));
  }
  EXPECT_EQ(done, kCells);
}

TEST_F(AgainstTest, TwoDifferencesAreTheOnlyCauses) {
  constexpr size_t kPairs = 20;
  Random random(4);
  size_t both = 0;
  for (size_t i = 0; both < kPairs; ++i) {
    ASSERT_LT(i, 2 * kPairs);
    const std::vector<Cell> pair = DrawnCells(Tiny().config, 2, random);
    const Plan reference = Parsed(kBases[i % std::size(kBases)], Tiny());
    const Plan plan = WithFaults(reference, pair);
    SCOPED_TRACE(absl::StrCat(plan.Text(), " against ", reference.Text()));
    std::set<std::string> alone;
    for (const Cell& cell : pair) {
      if (Differ(WithFaults(reference, {cell}), reference)) {
        alone.insert(CellName(cell));
      }
    }
    const Baseline baseline = Against(plan, reference);
    const Attribution a = Attributed(baseline);
    EXPECT_EQ(Causes(a), alone);
    if (alone.size() < 2) continue;
    ++both;
    for (const Repair& repair : a.repairs) {
      if (Names(pair).count(CellName(repair.cell)) == 0) {
        EXPECT_EQ(repair.moved, 0) << CellName(repair.cell);
        EXPECT_EQ(repair.logits_moved, 0) << CellName(repair.cell);
      }
    }
    EXPECT_THAT(RepairedCells(run(), baseline), IsSubsetOf(Names(pair)));
  }
}

// The third run is the one that errors against the oracle are against.
TEST_F(AgainstTest, TheTruthIsWhatEachHasAgainstTheOracle) {
  const Plan plan = Parsed("torch-bf16", Tiny());
  const Plan reference = Parsed("matmul=bf16", Tiny());
  const auto truth = FindTruth(run(), Against(plan, reference));
  ASSERT_THAT(truth, IsOk());
  for (const auto& [of, effect] :
       {std::make_pair(plan, truth->plan),
        std::make_pair(reference, truth->reference)}) {
    const auto alone =
        OutcomeOfPlan(run(), BaselineOf(run(), of, options_.tokens));
    ASSERT_THAT(alone, IsOk());
    EXPECT_EQ(effect.rel_l2, alone->effect.rel_l2);
    EXPECT_EQ(effect.logits_rel_l2, alone->effect.logits_rel_l2);
    EXPECT_EQ(effect.kl, alone->effect.kl);
    EXPECT_EQ(effect.ordinary_kl, alone->effect.ordinary_kl);
    EXPECT_EQ(effect.layers, alone->effect.layers);
  }
  EXPECT_EQ(truth->nearer(), Nearer::kReference);
}

TEST(TruthTest, WhoIsNearerIsSaidIfAllFiguresAgree) {
  const auto nearer = [](const Effect& plan, const Effect& reference) {
    return Truth{plan, reference}.nearer();
  };
  const Effect e = {0.1, 0.2, 0.3, {}};
  EXPECT_EQ(nearer({0.01, 0.02, 0.03, {}}, e), Nearer::kPlan);
  EXPECT_EQ(nearer(e, {0.01, 0.02, 0.03, {}}), Nearer::kReference);
  EXPECT_EQ(nearer({0.01, 0.02, 0.4, {}}, e), Nearer::kDepends);
  EXPECT_EQ(nearer({0.2, 0.02, 0.03, {}}, e), Nearer::kDepends);
  EXPECT_EQ(nearer({0.01, 0.3, 0.03, {}}, e), Nearer::kDepends);
  EXPECT_EQ(nearer(e, e), Nearer::kEqual);
  // As of a plan that has another lm_head alone.
  EXPECT_EQ(nearer({0.1, 0.02, 0.03, {}}, e), Nearer::kPlan);
  EXPECT_EQ(nearer({0.1, 0.02, 0.4, {}}, e), Nearer::kDepends);
  // Rounding of the divergence decides nothing.
  EXPECT_EQ(nearer({0.1, 0.02, 3e-16, {}}, {0.1, 0.3, 1e-16, {}}),
            Nearer::kPlan);
  EXPECT_EQ(nearer({NAN, NAN, NAN, {}}, e), Nearer::kReference);
  EXPECT_EQ(nearer(e, {INFINITY, INFINITY, NAN, {}}), Nearer::kPlan);
  EXPECT_EQ(nearer({NAN, NAN, NAN, {}}, {INFINITY, NAN, NAN, {}}),
            Nearer::kEqual);
  EXPECT_EQ(nearer({0.1, {}, {}, {}}, e), Nearer::kUnknown);
}

TEST(ReplacementsTest, AreTheReferencesStrategiesWhereThePlansDiffer) {
  const ModelConfig& config = Tiny().config;
  const Plan plan = Parsed("down_proj@2=bf16", Tiny());
  const Plan reference =
      Parsed("down_proj@3-4=kahan,down_proj@5=f64,lm_head=bf16", Tiny());
  std::vector<std::string> entries;
  for (const OpUpgrades& of_op : ReplacementsOf(config, plan, reference)) {
    for (const std::string& entry : UpgradeEntries(config, of_op)) {
      entries.push_back(entry);
    }
  }
  EXPECT_THAT(entries, ElementsAre("down_proj@2=f32", "down_proj@3-4=kahan",
                                   "down_proj@5=f64", "lm_head=bf16"));
  EXPECT_THAT(ReplacementsOf(config, plan, plan), testing::IsEmpty());
}

}  // namespace
}  // namespace ulpscope
