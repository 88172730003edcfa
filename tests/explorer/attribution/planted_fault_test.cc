#include "tests/explorer/attribution/planted_fault.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/attribution.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class PlantedFaultTest : public testing::Test {
 protected:
  bool ChangesResults(const Plan& plan) {
    return ResultsDiffer(Tiny(), plan, Plan(Tiny().layers.size()),
                         options_.tokens, parallel_);
  }

  Attribution Attributed(const Plan& plan) {
    const auto run = RunOf(Tiny(), parallel_);
    auto result = Attribute(run, BaselineOf(run, plan, options_.tokens));
    EXPECT_THAT(result, IsOk());
    return result.ok() ? *std::move(result) : Attribution();
  }

  Parallel parallel_{2};
  AttributedWith options_ = TinyPrompt();
};

TEST_F(PlantedFaultTest, OneIsTheLargestCauseAndTheBestRepair) {
  constexpr size_t kCells = 60;
  Random random(1);
  const double f32_error =
      Attributed(Plan(Tiny().layers.size())).plan.logits_rel_l2.value();
  std::vector<std::string> unchanged, invisible;
  for (const Cell& cell : DrawnCells(Tiny().config, kCells, random)) {
    const Plan plan = PlanWithFaults(Tiny().layers.size(), {cell});
    if (!ChangesResults(plan)) {
      unchanged.push_back(CellName(cell));
      continue;
    }
    SCOPED_TRACE(plan.Text());
    const Attribution result = Attributed(plan);
    EXPECT_THAT(LargestCauses(result, 1), ElementsAre(CellName(cell)));
    EXPECT_THAT(BestRepairs(result, 1), ElementsAre(CellName(cell)));
    const double error = result.plan.logits_rel_l2.value();
    if (error < kVisibleFault * f32_error) {
      invisible.push_back(CellName(cell));
      continue;
    }
    EXPECT_THAT(SmallestRepair(Tiny(), plan, error, f32_error, options_.tokens,
                               parallel_),
                ElementsAre(CellName(cell)));
  }
  RecordProperty("unchanged", absl::StrJoin(unchanged, " "));
  RecordProperty("invisible", absl::StrJoin(invisible, " "));
  std::cout << "of " << kCells << " cells, " << unchanged.size()
            << " change no bit: " << absl::StrJoin(unchanged, " ") << "; "
            << invisible.size() << " make less than " << kVisibleFault
            << " times f32's error: " << absl::StrJoin(invisible, " ")
            << std::endl;
  EXPECT_LE(unchanged.size(), kCells / 10);
  EXPECT_LE(invisible.size(), kCells / 10);
}

// A coarse format of one layer's keys or values. The cells that store what was
// computed are there, and change nothing.
TEST_F(PlantedFaultTest, AStoredFormatIsFoundInItsCell) {
  const size_t num_layers = Tiny().layers.size();
  for (const char* fault : {"kv_k@3=q4_0", "kv_v@6=fp8"}) {
    SCOPED_TRACE(fault);
    const Plan plan = *Plan::Parse(fault, num_layers);
    ASSERT_TRUE(ChangesResults(plan));
    const Attribution result = Attributed(plan);
    const std::string cell = std::string(fault).substr(0, 6);
    EXPECT_THAT(LargestCauses(result, 1), ElementsAre(cell));
    EXPECT_THAT(BestRepairs(result, 1), ElementsAre(cell));
    size_t stored = 0;
    for (const Cause& cause : result.causes) {
      if (OpKernel(cause.cell.op) != Kernel::kKvCache) continue;
      ++stored;
      EXPECT_EQ(cause.changes_bits, CellName(cause.cell) == cell);
    }
    EXPECT_EQ(stored, 2 * num_layers);
  }
}

// Two faults may cancel each other in part. The smaller one's repair then makes
// the error larger, or smaller by no more than repairs of f32's own errors may:
// it gains nothing that counts, but it moves the logits all the same.
TEST_F(PlantedFaultTest, TwoAreTheTwoLargestCausesAndMoveTheMost) {
  constexpr size_t kPairs = 40;
  const size_t num_layers = Tiny().layers.size();
  Random random(2);
  const double f32_error =
      Attributed(Plan(num_layers)).plan.logits_rel_l2.value();
  size_t causes_found = 0, moves_found = 0, repairs_found = 0;
  for (size_t i = 0; i < kPairs;) {
    const std::vector<Cell> pair = DrawnCells(Tiny().config, 2, random);
    if (!ChangesResults(PlanWithFaults(num_layers, {pair[0]})) ||
        !ChangesResults(PlanWithFaults(num_layers, {pair[1]}))) {
      continue;
    }
    ++i;
    const Plan plan = PlanWithFaults(num_layers, pair);
    SCOPED_TRACE(plan.Text());
    const Attribution result = Attributed(plan);
    const auto both =
        UnorderedElementsAre(CellName(pair[0]), CellName(pair[1]));
    causes_found += testing::Value(LargestCauses(result, 2), both);
    moves_found += testing::Value(LargestMoves(result, 2), both);
    if (testing::Value(BestRepairs(result, 2), both)) {
      ++repairs_found;
      continue;
    }
    double least_gain = 1;
    for (const Repair& repair : result.repairs) {
      const std::string name = CellName(repair.cell);
      if (name == CellName(pair[0]) || name == CellName(pair[1])) {
        least_gain = std::min(least_gain, repair.logits_gain.value());
      }
    }
    EXPECT_LT(least_gain, f32_error / *result.plan.logits_rel_l2);
  }
  RecordProperty("causes_found", static_cast<int>(causes_found));
  RecordProperty("moves_found", static_cast<int>(moves_found));
  RecordProperty("repairs_found", static_cast<int>(repairs_found));
  std::cout << "of " << kPairs << " pairs: " << causes_found
            << " are the largest causes, " << moves_found
            << " move the logits the most, " << repairs_found
            << " are the best repairs" << std::endl;
  EXPECT_GE(causes_found, kPairs * 9 / 10);
  EXPECT_GE(moves_found, kPairs * 9 / 10);
}

}  // namespace
}  // namespace ulpscope
