#include "explorer/report/attribution_report.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/report/attribution_results.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/axes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/error/test_monitor.h"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const Weights& Tiny() { return LoadedOnce("synthetic:tiny"); }

// torch-bf16 on three tokens, stopped after so many questions.
Explanation Explained(size_t asked = SIZE_MAX) {
  Parallel parallel;
  ExplainOptions options;
  options.tokens = {3, 14, 15};
  options.budget = ParseBudget("rel_l2<=1e-4").value();
  options.strategies =
      StrategiesOf(ParseAxes(kDefaultAxes, Tiny().layers.size()).value());
  options.timing.seconds = 0;
  TestMonitor monitor(asked);
  auto explanation =
      Explain(RunOf(Tiny(), parallel, monitor),
              Plan::Parse("torch-bf16", Tiny().layers.size()).value(), options);
  EXPECT_THAT(explanation, IsOk());
  return *std::move(explanation);
}

const Explanation& Whole() {
  static const auto* explanation = new Explanation(Explained());
  return *explanation;
}

RunInfo Info() {
  RunInfo info = MadeRunInfo();
  info.config = Tiny().config;
  info.stopped_by = "Ctrl-C";
  return info;
}

std::string Text(const Explanation& e, const RunInfo& info = Info()) {
  return AttributionReport(info, e, AttributionTables(info, e));
}

Value At(const Table& table, size_t row, const std::string& column) {
  return table.rows.at(row).at(table.Find(column));
}

std::vector<std::string> Faults(const Explanation& e) {
  std::stringstream schema;
  schema << std::ifstream("docs/schema/attribute.json").rdbuf();
  return SchemaFaults(
      nlohmann::json::parse(schema.str()),
      nlohmann::json::parse(ResultsJson(AttributionTables(Info(), e))));
}

TEST(AttributionResultsTest, CellsAreTheCauseMap) {
  const Attribution& a = Whole().attribution;
  const Results results = AttributionTables(Info(), Whole());
  const Table& cells = results.Find("cells");
  ASSERT_EQ(cells.rows.size(), a.causes.size());
  for (size_t i = 0; i < a.causes.size(); ++i) {
    const Cause& cause = a.causes[i];
    EXPECT_EQ(At(cells, i, "layer"),
              Value(static_cast<int64_t>(cause.cell.layer)));
    EXPECT_EQ(At(cells, i, "op"), Value(std::string(OpName(cause.cell.op))));
    EXPECT_EQ(At(cells, i, "rel_l2"), Value(cause.effect.rel_l2.value()));
    EXPECT_EQ(At(cells, i, "kl_nats"), Value(cause.effect.kl.value()));
    EXPECT_EQ(At(cells, i, "share"), Value(cause.share.value()));
    EXPECT_EQ(At(cells, i, "layers_rel_l2"), Value(cause.effect.layers));
  }
}

TEST(AttributionResultsTest, PositionsAreThoseOfThePrompt) {
  const Results results = AttributionTables(Info(), Whole());
  const Table& positions = results.Find("positions");
  const auto& errors = Whole().attribution.positions;
  ASSERT_EQ(positions.rows.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(At(positions, i, "position"), Value(static_cast<int64_t>(i)));
    EXPECT_EQ(At(positions, i, "token"),
              Value(static_cast<int64_t>(Whole().tokens[i])));
    EXPECT_EQ(At(positions, i, "massive"), Value(errors[i].massive));
    EXPECT_EQ(At(positions, i, "squared_share"),
              Value(errors[i].squared_share));
    EXPECT_EQ(At(positions, i, "rel_l2"), Value(errors[i].rel_l2));
    EXPECT_EQ(At(positions, i, "logits_squared_share"),
              Value(errors[i].logits_squared_share));
    EXPECT_EQ(At(positions, i, "kl_nats"), Value(errors[i].kl));
  }
  EXPECT_TRUE(results.Find("truth").rows.empty());
}

TEST(AttributionResultsTest, OfTwoPlansBothAreComparedWithTheOracle) {
  Explanation e = Whole();
  e.reference = Plan(Tiny().layers.size());
  e.verdict.against = "f32";
  e.truth = Truth{{0.1, 0.2, 0.3, {}}, {0.1, 0.02, 0.03, {}}};
  const auto nearer = [&](size_t row) {
    return At(AttributionTables(Info(), e).Find("truth"), row, "nearer");
  };
  EXPECT_EQ(nearer(0), Value(false));
  EXPECT_EQ(nearer(1), Value(true));
  const std::string text = Text(e);
  EXPECT_THAT(text, HasSubstr("Errors are against the reference, `f32`"));
  EXPECT_THAT(text, HasSubstr("`f32` is the nearer one to the f64 oracle"));
  EXPECT_THAT(Faults(e), IsEmpty());
  e.truth->plan.rel_l2 = 0.01;
  EXPECT_EQ(nearer(0), Value());
  EXPECT_EQ(nearer(1), Value());
}

TEST(AttributionResultsTest, RepairsAreOfFourScopes) {
  const Attribution& a = Whole().attribution;
  const Results results = AttributionTables(Info(), Whole());
  const Table& repairs = results.Find("repairs");
  size_t row = 0;
  for (const std::vector<Repair>* list :
       {&a.repairs, &a.op_repairs, &a.group_repairs, &a.layer_repairs}) {
    for (const Repair& repair : *list) {
      const bool of_layer = list == &a.repairs || list == &a.layer_repairs;
      EXPECT_EQ(
          At(repairs, row, "layer"),
          of_layer ? Value(static_cast<int64_t>(repair.cell.layer)) : Value());
      EXPECT_EQ(At(repairs, row, "op") == Value(),
                list == &a.group_repairs || list == &a.layer_repairs);
      EXPECT_EQ(At(repairs, row, "gain"), Value(repair.gain.value()));
      EXPECT_EQ(At(repairs, row, "logits_moved"),
                Value(repair.logits_moved.value()));
      ++row;
    }
  }
  EXPECT_EQ(row, repairs.rows.size());
}

TEST(AttributionResultsTest, LayersAndTheirOpsAreThere) {
  const Attribution& a = Whole().attribution;
  const Results results = AttributionTables(Info(), Whole());
  const Table& layers = results.Find("layers");
  ASSERT_EQ(layers.rows.size(), a.layers.size());
  size_t ops = 0;
  for (size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(At(layers, i, "total_l2"), Value(a.layers[i].total.l2));
    EXPECT_EQ(At(layers, i, "inherited_rel_l2"),
              Value(a.layers[i].inherited.rel_l2));
    EXPECT_EQ(At(layers, i, "local_max_abs"), Value(a.layers[i].local.max_abs));
    ops += a.layers[i].ops.size();
  }
  EXPECT_EQ(results.Find("layer_ops").rows.size(), ops);
}

TEST(AttributionResultsTest, AreValidHoweverFarTheRunCame) {
  EXPECT_THAT(Faults(Whole()), IsEmpty());
  for (const size_t asked : {0, 10, 50, 100, 200, 400}) {
    const Explanation stopped = Explained(asked);
    EXPECT_NE(stopped.stopped_in, "") << asked;
    EXPECT_THAT(Faults(stopped), IsEmpty()) << asked;
    EXPECT_THAT(Text(stopped),
                HasSubstr("**Stopped by Ctrl-C: " + stopped.stopped_in));
  }
}

TEST(AttributionResultsTest, WhatIsNotReachedIsNotANumberThatBroke) {
  Explanation e = Whole();
  e.attribution.causes[0].effect.kl.reset();
  e.attribution.causes[1].effect.kl = kNaN;
  e.attribution.causes[2].effect.kl = kInf;
  const Results results = AttributionTables(Info(), e);
  const Table& cells = results.Find("cells");
  EXPECT_EQ(At(cells, 0, "kl_nats"), Value());
  EXPECT_TRUE(std::isnan(std::get<double>(At(cells, 1, "kl_nats"))));
  EXPECT_EQ(At(cells, 2, "kl_nats"), Value(kInf));
  EXPECT_THAT(Faults(e), IsEmpty());
}

TEST(AttributionResultsTest, SumOfCellsIsNaNOrNotMeasured) {
  Explanation e = Whole();
  e.attribution.cause_sum->cosine = kNaN;
  EXPECT_TRUE(std::isnan(std::get<double>(
      At(AttributionTables(Info(), e).Find("cause_sum"), 0, "cosine"))));
  e.attribution.cause_sum.reset();
  EXPECT_EQ(At(AttributionTables(Info(), e).Find("cause_sum"), 0, "cosine"),
            Value());
}

TEST(AttributionReportTest, VerdictIsFirstAndPartsFollow) {
  const std::string text = Text(Whole());
  size_t at = 0;
  for (const char* heading :
       {"# Attribution of `", "\n## Verdict\n", "\n## Where it arises",
        "\n## Cause map\n", "\n## Repair map\n", "\n## Minimal repair: "}) {
    const size_t found = text.find(heading, at);
    ASSERT_NE(found, std::string::npos) << heading;
    at = found;
  }
  EXPECT_THAT(text, HasSubstr("SYNTHETIC weights"));
}

TEST(AttributionReportTest, MapsAreWithin120Columns) {
  bool in_map = false;
  size_t lines = 0;
  const std::string text = Text(Whole());
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line == "```") in_map = !in_map;
    if (!in_map) continue;
    ++lines;
    EXPECT_LE(line.size(), 120u) << line;
  }
  EXPECT_GE(lines, 2 * Tiny().layers.size());
}

TEST(AttributionReportTest, LayersCanBeChosen) {
  RunInfo info = Info();
  info.layers = {2};
  const std::string text = Text(Whole(), info);
  EXPECT_THAT(text, HasSubstr("\n    2 "));
  EXPECT_THAT(text, Not(HasSubstr("\n    1 ")));
}

TEST(AttributionReportTest, ShowsTheHeadsWithTheLargestScores) {
  Explanation e = Whole();
  e.phenomena.large_scores.clear();
  for (size_t head = 0; head < 14; ++head) {
    LargeScore s;
    s.layer = 1;
    s.head = head;
    s.position = 2;
    s.key_position = 1;
    s.score = 100 + 4 * static_cast<double>(head);
    s.format = Format::kBF16;
    e.phenomena.large_scores.push_back(s);
  }
  e.phenomena.large_scores[3].score = -1456;
  e.phenomena.large_scores[5].score = 1.5;
  e.phenomena.large_scores[7].score = kNaN;
  const std::string text = Text(e);
  EXPECT_THAT(text,
              HasSubstr("more than 1.0 % (e^spacing - 1): 12 of 14 heads, "
                        "the first 10 by it."));
  EXPECT_THAT(text, HasSubstr("| 1 | 3 | 2 | 1 | -1456 | 0.0 % | bf16 | 8 | "
                              "54.598x | 2.98e+03x |\n| 1 | 13 |"));
  for (const char* head :
       {"| 1 | 0 | 2 |", "| 1 | 1 | 2 |", "| 1 | 5 | 2 |", "| 1 | 7 | 2 |"}) {
    EXPECT_THAT(text, Not(HasSubstr(head)));
  }
  e.phenomena.large_scores = {e.phenomena.large_scores[5]};
  EXPECT_THAT(Text(e), Not(HasSubstr("largest score of a head")));
}

TEST(AttributionReportTest, ARepairOfAnEmulatedPlanHasNoCost) {
  Explanation e = Whole();
  EXPECT_THAT(Text(e), Not(HasSubstr("emulated")));
  e.repair->emulated = true;
  EXPECT_THAT(Text(e), HasSubstr("What it costs is not measured: `emulated`"));
  const Table repair = AttributionTables(Info(), e).Find("minimal_repair");
  EXPECT_EQ(repair.rows[0][repair.Find("not_timed")], Value("emulated"));
  EXPECT_EQ(repair.rows[0][repair.Find("decode_ratio")], Value());
}

}  // namespace
}  // namespace ulpscope
