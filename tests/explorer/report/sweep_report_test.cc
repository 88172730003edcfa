#include "explorer/report/sweep_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/error/metrics.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Value At(const Table& table, size_t row, const std::string& column) {
  return table.rows.at(row).at(table.Find(column));
}

double Figure(const Table& table, size_t row, const std::string& column) {
  return std::get<double>(At(table, row, column));
}

std::string Text(const MadeSweep& sweep) {
  return SweepReport(sweep.info, sweep.options, sweep.result, sweep.Made());
}

TEST(SweepResultsTest, PlansHaveTheirFigures) {
  const MadeSweep sweep;
  const Results results = sweep.Made();
  const Table& plans = results.Find("plans");
  ASSERT_EQ(plans.rows.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const PlanResult& plan = sweep.result.plans[i];
    EXPECT_EQ(At(plans, i, "plan"), Value(plan.plan));
    EXPECT_EQ(At(plans, i, "rank"), Value(static_cast<int64_t>(i + 1)));
    EXPECT_EQ(At(plans, i, "pareto"), Value(plan.pareto));
    EXPECT_EQ(Figure(plans, i, "score"), plan.score);
    EXPECT_EQ(Figure(plans, i, "decode_tokens_per_second"),
              plan.decode_rate->median);
    EXPECT_EQ(Figure(plans, i, "prefill_tokens_per_second_half_iqr"),
              plan.prefill_rate->half_iqr);
    EXPECT_EQ(Figure(plans, i, "final_rmse"), plan.prompt.final_hidden().rmse);
    EXPECT_EQ(Figure(plans, i, "kl_nats"), plan.prompt.logits->kl);
    EXPECT_EQ(Figure(plans, i, "token_final_rel_l2"),
              plan.token.final_hidden().rel_l2);
  }
}

TEST(SweepResultsTest, LayersAreOfBothSequences) {
  const MadeSweep sweep;
  const Results results = sweep.Made();
  const Table& layers = results.Find("layers");
  ASSERT_EQ(layers.rows.size(), 4 * 2 * 5u);
  size_t row = 0;
  for (const PlanResult& plan : sweep.result.plans) {
    for (const TraceMetrics* trace : {&plan.token, &plan.prompt}) {
      for (const LayerMetrics& layer : trace->layers) {
        EXPECT_EQ(At(layers, row, "tokens"),
                  Value(trace == &plan.token ? "token" : "prompt"));
        EXPECT_EQ(Figure(layers, row, "rmse"), layer.error.rmse);
        EXPECT_EQ(Figure(layers, row, "max_ulps"), layer.error.ulps->max);
        EXPECT_EQ(Figure(layers, row, "max_activation"), layer.max_activation);
        // The first layer grows from nothing.
        EXPECT_EQ(
            std::holds_alternative<std::monostate>(At(layers, row, "growth")),
            layer.layer == 1);
        ++row;
      }
    }
  }
  const Table& evaluations = results.Find("evaluations");
  EXPECT_EQ(Figure(evaluations, 3, "logits_top10_overlap"),
            sweep.result.plans[1].prompt.logits->top10_overlap);
  EXPECT_EQ(Figure(evaluations, 2, "final_norm_rmse"),
            sweep.result.plans[1].token.final_norm->rmse);
}

TEST(SweepResultsTest, TimingsAndEffectsAreThere) {
  const MadeSweep sweep;
  const Results results = sweep.Made();
  const Table& timings = results.Find("timings");
  ASSERT_EQ(timings.rows.size(), 4 * 3u);
  EXPECT_EQ(Figure(timings, 2, "seconds"),
            sweep.result.plans[0].timing.decode[1]);
  const Table& effects = results.Find("main_effects");
  ASSERT_EQ(effects.rows.size(), 4u);
  EXPECT_EQ(Figure(effects, 3, "error"),
            sweep.result.effects[1].levels[1].error);
  EXPECT_EQ(Figure(effects, 2, "decode_share"),
            sweep.result.effects[1].decode_share);
  EXPECT_EQ(At(results.Find("context"), 0, "seed"),
            Value(uint64_t{18446744073709551615u}));
}

TEST(SweepResultsTest, BrokenFiguresAreNotMissingOnes) {
  MadeSweep sweep;
  TraceMetrics& prompt = sweep.result.plans[3].prompt;
  prompt.layers.back().error.rmse = kNaN;
  prompt.logits->kl = kInf;
  const Results results = sweep.Made();
  const Table& plans = results.Find("plans");
  EXPECT_TRUE(std::isnan(Figure(plans, 3, "final_rmse")));
  EXPECT_EQ(Figure(plans, 3, "kl_nats"), kInf);
}

TEST(SweepResultsTest, ASpeedOrAShareIsNaNOrNotMeasured) {
  MadeSweep sweep;
  sweep.result.effects[0].decode_share = kNaN;
  sweep.result.effects[0].prefill_share.reset();
  sweep.result.plans[0].decode_rate->median = kNaN;
  sweep.result.plans[0].prefill_rate.reset();
  const Results results = sweep.Made();
  const Table& effects = results.Find("main_effects");
  EXPECT_TRUE(std::isnan(Figure(effects, 0, "decode_share")));
  EXPECT_EQ(At(effects, 0, "prefill_share"), Value());
  const Table& plans = results.Find("plans");
  EXPECT_TRUE(std::isnan(Figure(plans, 0, "decode_tokens_per_second")));
  EXPECT_EQ(At(plans, 0, "prefill_tokens_per_second"), Value());
}

TEST(SweepResultsTest, WhatWasNotReachedIsMissing) {
  MadeSweep sweep;
  sweep.Stop(2);
  const Results results = sweep.Made();
  const Table& plans = results.Find("plans");
  for (const char* column : {"rank", "score", "decode_tokens_per_second",
                             "final_rmse", "kl_nats", "token_final_rmse"}) {
    EXPECT_EQ(At(plans, 0, column), Value()) << column;
  }
  EXPECT_EQ(results.Find("layers").rows.size(), 4 * 2 * 2u);
  EXPECT_TRUE(results.Find("timings").rows.empty());
  EXPECT_EQ(At(results.Find("evaluations"), 0, "logits_kl_nats"), Value());
  EXPECT_EQ(At(results.Find("context"), 0, "stopped_by"), Value("SIGTERM"));
}

TEST(SweepReportTest, ShowsBestAndWorstPlanAndWhatMovedMost) {
  const MadeSweep sweep;
  const std::string text = Text(sweep);
  EXPECT_THAT(text, HasSubstr(absl::StrCat("## Best plan `",
                                           sweep.result.plans[0].plan, "`")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("## Worst plan `",
                                           sweep.result.plans[3].plan, "`")));
  EXPECT_THAT(text, HasSubstr("## Main effects"));
  EXPECT_THAT(text, HasSubstr("SYNTHETIC weights"));
  EXPECT_THAT(text, Not(HasSubstr("topped")));
}

TEST(SweepReportTest, TrainedWeightsAreNotLabelled) {
  MadeSweep sweep;
  sweep.info.synthetic = false;
  EXPECT_THAT(Text(sweep), Not(HasSubstr("SYNTHETIC")));
}

TEST(SweepReportTest, SpeedEffectsWithinTheSpreadAreNotNamed) {
  MadeSweep sweep;
  for (PlanResult& plan : sweep.result.plans) plan.decode_rate->half_iqr = 1e9;
  EXPECT_THAT(Text(sweep), HasSubstr("decode speed by no axis beyond"));
}

TEST(SweepReportTest, OnlyAskedLayersAreShown) {
  MadeSweep sweep;
  const std::string all = Text(sweep);
  sweep.info.layers = {2, 3};
  const std::string some = Text(sweep);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n') -
                std::count(some.begin(), some.end(), '\n'),
            2 * 3);
}

TEST(SweepReportTest, StoppedSweepShowsWhatThereIs) {
  MadeSweep sweep;
  sweep.Stop(2);
  const std::string text = Text(sweep);
  EXPECT_THAT(text, HasSubstr("Stopped by SIGTERM: while measuring errors"));
  EXPECT_THAT(text, HasSubstr("## Until it was stopped"));
  EXPECT_THAT(text, Not(HasSubstr("Best plan")));
  EXPECT_THAT(text, Not(HasSubstr("NaN")));
  sweep.Stop(0);
  EXPECT_THAT(Text(sweep), HasSubstr("| - | - |"));
}

// Of many plans some are printed, and it says how many are not.
TEST(SweepReportTest, StoppedSweepCountsWhatItDoesNotPrint) {
  MadeSweep sweep;
  sweep.Stop(2);
  const std::vector<PlanResult> made = sweep.result.plans;
  sweep.result.plans.clear();
  for (size_t i = 0; i < 300; ++i) {
    sweep.result.plans.push_back(made[i % made.size()]);
    sweep.result.plans.back().plan = absl::StrCat("q_proj@", i, "=bf16");
  }
  const std::string text = Text(sweep);
  EXPECT_THAT(text, HasSubstr("q_proj@199=bf16"));
  EXPECT_THAT(text, Not(HasSubstr("q_proj@200=bf16")));
  EXPECT_THAT(text, HasSubstr("100 of these 300 plans"));
  sweep.result.plans.resize(200);
  EXPECT_THAT(Text(sweep), Not(HasSubstr("of these")));
}

TEST(SweepReportTest, SaysWhetherKernelsAreTuned) {
  MadeSweep sweep;
  sweep.info.wisdom = {"/cache/w.json", 0, 27, "/cache/w.json knows others"};
  EXPECT_THAT(Text(sweep), HasSubstr("Kernels are not tuned: /cache/w.json "
                                     "knows others."));
  sweep.info.wisdom = {"/cache/w.json", 18, 27, ""};
  EXPECT_THAT(Text(sweep), HasSubstr("18 are tuned, by /cache/w.json"));
}

// A sweep of which one plan, and so one level, is emulated.
MadeSweep WithAnEmulatedPlan() {
  MadeSweep sweep;
  for (PlanResult& plan : sweep.result.plans) {
    if (plan.levels[0] != 1) continue;
    plan.emulated = true;
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = std::nullopt;
  }
  sweep.Rank();
  return sweep;
}

TEST(SweepResultsTest, EmulatedPlansSayWhyTheyHaveNoSpeeds) {
  const MadeSweep sweep = WithAnEmulatedPlan();
  const Results results = sweep.Made();
  const Table& plans = results.Find("plans");
  for (size_t i = 0; i < 4; ++i) {
    const PlanResult& plan = sweep.result.plans[i];
    EXPECT_EQ(At(plans, i, "not_timed"),
              plan.emulated ? Value("emulated") : Value());
    for (const char* speed :
         {"decode_tokens_per_second", "decode_tokens_per_second_half_iqr",
          "prefill_tokens_per_second", "prefill_tokens_per_second_half_iqr"}) {
      EXPECT_EQ(At(plans, i, speed) == Value(), plan.emulated) << speed;
    }
    EXPECT_NE(At(plans, i, "score"), Value());
  }
  const Table& effects = results.Find("main_effects");
  EXPECT_EQ(At(effects, 0, "not_timed"), Value());
  EXPECT_EQ(At(effects, 1, "not_timed"), Value("emulated"));
  EXPECT_EQ(At(effects, 1, "decode_tokens_per_second"), Value());
  for (const std::vector<Value>& row : results.Find("timings").rows) {
    EXPECT_THAT(std::get<std::string>(row[0]), Not(HasSubstr("matmul=bf16")));
  }
  // In every format the reason is in one, the number in none.
  EXPECT_THAT(ResultsJson(results), HasSubstr("\"not_timed\":\"emulated\""));
  EXPECT_THAT(WholeText([&](TextSink sink) { WriteFactsSql(results, sink); }),
              HasSubstr("'emulated'"));
  EXPECT_THAT(WholeText([&](TextSink sink) { WriteFactsJsonl(results, sink); }),
              HasSubstr("\"text\":\"emulated\""));
  EXPECT_THAT(ResultsCsv(results.tables[0], plans),
              HasSubstr(",,,,,emulated,"));
}

// Without times: as none were asked for, or as some plans are left out.
TEST(SweepResultsTest, WhyThereIsNoTimeIsSaid) {
  for (const bool timed : {false, true}) {
    MadeSweep sweep = WithAnEmulatedPlan();
    sweep.options.timed = timed;
    for (PlanResult& plan : sweep.result.plans) {
      plan.timing = {};
      plan.decode_rate = plan.prefill_rate = std::nullopt;
      plan.not_chosen = timed && !plan.emulated;
    }
    sweep.Rank();
    const Value why = timed ? "not chosen" : "not asked";
    const Results results = sweep.Made();
    const Table& plans = results.Find("plans");
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(At(plans, i, "not_timed"),
                sweep.result.plans[i].emulated ? Value("emulated") : why);
    }
    const Table& effects = results.Find("main_effects");
    EXPECT_EQ(At(effects, 0, "not_timed"), why);
    EXPECT_EQ(At(effects, 1, "not_timed"), Value("emulated"));
    EXPECT_EQ(At(effects, 2, "not_timed"), why);
    EXPECT_THAT(Text(sweep),
                ContainsRegex(absl::StrCat("\\| softmax=bf16 \\| ",
                                           std::get<std::string>(why))));
  }
}

TEST(SweepReportTest, EmulatedPlansAreShownWithoutSpeeds) {
  const std::string text = Text(WithAnEmulatedPlan());
  EXPECT_THAT(text, HasSubstr("| matmul=bf16 | emulated | emulated |"));
  EXPECT_THAT(text, HasSubstr("it is not timed"));
  EXPECT_THAT(text,
              ContainsRegex("\\| matmul \\| bf16 \\| [^|]* \\| emulated \\| "
                            "emulated \\|"));
  EXPECT_THAT(text, Not(HasSubstr("not all are timed")));
  EXPECT_THAT(Text(MadeSweep()), Not(HasSubstr("emulated")));
}

}  // namespace
}  // namespace ulpscope
