#include "explorer/report/report.h"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/error/metrics.h"
#include "explorer/report/run_info.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kLayers = 5;

ErrorMetrics RandomErrors(Random& random) {
  const auto figure = [&random] { return std::exp2(random.Uniform(-40, 8)); };
  ErrorMetrics e;
  e.mean_abs = figure();
  e.rmse = figure();
  e.max_abs = figure();
  e.max_row = random.Below(100);
  e.max_col = random.Below(100);
  e.mean_signed = -figure();
  e.rel_l2 = figure();
  e.cosine = figure();
  e.ulps = {figure(), figure(), figure()};
  return e;
}

TraceMetrics RandomTrace(Random& random) {
  TraceMetrics m;
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    LayerMetrics row;
    row.layer = layer;
    row.error = RandomErrors(random);
    row.growth = layer == 1 ? kNaN : random.Uniform(0, 20);
    row.std = random.Uniform();
    row.max_activation = 2000 * random.Uniform(-1, 1);
    row.max_channel = random.Below(900);
    m.layers.push_back(row);
  }
  m.final_norm = RandomErrors(random);
  m.logits.emplace();
  m.logits->max_abs = random.Uniform();
  m.logits->kl = random.Uniform();
  m.logits->kl_max = random.Uniform();
  m.logits->top1_agreement = random.Uniform();
  m.logits->top10_overlap = random.Uniform();
  m.mean_growth = random.Uniform(0, 3);
  return m;
}

// A sweep of 2 x 2 plans with figures drawn at random, all different.
class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    info_.model = "synthetic:tiny";
    info_.synthetic = true;
    info_.config.num_hidden_layers = kLayers;
    info_.config.hidden_size = 64;
    info_.decode_bytes = 123456789;
    info_.cpu = "A \"CPU\", with a comma";
    info_.target = "AVX2";
    info_.threads = 3;
    info_.seed = 18446744073709551615u;
    info_.axes = "matmul=f32,bf16;softmax=f32,bf16";
    options_.axes = {{"matmul", {"f32", "bf16"}}, {"softmax", {"f32", "bf16"}}};
    options_.metric = &RankMetrics()[0];
    options_.token = 97;
    options_.prompt = {97, 5, 6};
    Random random(6);
    const char* plans[] = {"f32", "softmax=bf16", "matmul=bf16",
                           "matmul=bf16,softmax=bf16"};
    for (size_t i = 0; i < 4; ++i) {
      PlanResult plan;
      plan.plan = plans[i];
      plan.levels = {i / 2, i % 2};
      plan.token = RandomTrace(random);
      plan.prompt = RandomTrace(random);
      plan.timing.decode = {random.Uniform(), random.Uniform()};
      plan.timing.prefill = {random.Uniform()};
      plan.decode_rate = {1000 * random.Uniform(), random.Uniform()};
      plan.prefill_rate = {1000 * random.Uniform(), random.Uniform()};
      plan.score = plan.prompt.final_hidden().rmse;
      result_.plans.push_back(plan);
    }
    result_.effects = MainEffects(options_.axes, result_.plans);
    RankPlans(result_.plans);
  }

  std::string Text() const { return ReportText(info_, options_, result_); }
  Json Parsed() const {
    return Json::parse(ReportJson(info_, options_, result_), nullptr, false);
  }

  RunInfo info_;
  SweepOptions options_;
  SweepResult result_;
};

// The cells of each table's rows, header and rule included.
std::vector<std::vector<std::vector<std::string>>> Tables(
    const std::string& text) {
  std::vector<std::vector<std::vector<std::string>>> tables;
  bool in_table = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool is_row = absl::StartsWith(line, "|");
    if (is_row && !in_table) tables.emplace_back();
    in_table = is_row;
    if (!is_row) continue;
    std::vector<std::string> cells;
    for (absl::string_view cell : absl::StrSplit(line, '|')) {
      cells.emplace_back(absl::StripAsciiWhitespace(cell));
    }
    EXPECT_GE(cells.size(), 3u);
    tables.back().emplace_back(cells.begin() + 1, cells.end() - 1);
  }
  for (const auto& table : tables) {
    for (const auto& row : table) EXPECT_EQ(row.size(), table[0].size());
  }
  return tables;
}

// "1.5", "1.675x", "12.0 %", "-" against a figure of the JSON.
void ExpectPrinted(const std::string& cell, const Json& figure,
                   const std::string& name) {
  if (figure.is_null()) {
    EXPECT_TRUE(cell == "-" || cell == "nan") << name << " is " << cell;
    return;
  }
  ASSERT_TRUE(figure.is_number()) << name;
  const double x = figure.get<double>();
  std::string expected;
  if (absl::EndsWith(cell, " %")) {
    expected = absl::StrFormat("%.1f %%", 100 * x);
  } else if (absl::EndsWith(cell, "x")) {
    expected = absl::StrFormat("%.3fx", x);
  } else if (absl::StrContains(cell, "e")) {
    // As many decimals as are printed.
    const size_t point = cell.find('.');
    const int decimals = static_cast<int>(cell.find('e') - point - 1);
    expected = absl::StrFormat("%.*e", decimals, x);
  } else {
    const size_t point = cell.find('.');
    const int decimals = point == std::string::npos
                             ? 0
                             : static_cast<int>(cell.size() - point - 1);
    expected = absl::StrFormat("%.*f", decimals, x);
  }
  EXPECT_EQ(cell, expected) << name;
}

TEST_F(ReportTest, RankingIsInTheJson) {
  const Json json = Parsed();
  const auto ranking = Tables(Text())[0];
  EXPECT_THAT(ranking[0], ElementsAre("#", "", "Plan", "Decode tok/s",
                                      "Prefill tok/s", "Final RMSE", "Rel L2",
                                      "Growth/layer", "KL (nats)", "Top-1"));
  ASSERT_EQ(ranking.size(), 2 + 4u);
  ASSERT_EQ(json["plans"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<std::string>& row = ranking[i + 2];
    const Json& plan = json["plans"][i];
    EXPECT_EQ(row[0], absl::StrCat(plan["rank"].get<int>()));
    EXPECT_EQ(row[1] == "*", plan["pareto"].get<bool>());
    EXPECT_EQ(row[2], plan["plan"].get<std::string>());
    const char* rates[] = {"decode_tokens_per_second",
                           "prefill_tokens_per_second"};
    for (size_t r = 0; r < 2; ++r) {
      const std::vector<std::string> parts = absl::StrSplit(row[3 + r], " ± ");
      ASSERT_EQ(parts.size(), 2u);
      ExpectPrinted(parts[0], plan[rates[r]]["median"], rates[r]);
      ExpectPrinted(parts[1], plan[rates[r]]["half_iqr"], rates[r]);
    }
    const Json& error = plan["prompt"]["layers"].back()["error"];
    ExpectPrinted(row[5], error["rmse"], "rmse");
    ExpectPrinted(row[6], error["rel_l2"], "rel_l2");
    ExpectPrinted(row[7], plan["prompt"]["mean_growth"], "mean_growth");
    ExpectPrinted(row[8], plan["prompt"]["logits"]["kl"], "kl");
    ExpectPrinted(row[9], plan["prompt"]["logits"]["top1_agreement"], "top1");
  }
}

TEST_F(ReportTest, LayerTablesAreTheSeedReportsAndInTheJson) {
  const Json json = Parsed();
  const auto tables = Tables(Text());
  ASSERT_EQ(tables.size(), 4u);  // ranking, best, worst, effects
  for (const size_t t : {1, 2}) {
    const Json& plan = t == 1 ? json["plans"].front() : json["plans"].back();
    EXPECT_THAT(tables[t][0], ElementsAre("Layers", "Mean Abs Error", "RMSE",
                                          "Max Error", "Growth Rate", "Status",
                                          "Rel L2", "Largest Activation"));
    ASSERT_EQ(tables[t].size(), 2 + kLayers);
    for (size_t l = 0; l < kLayers; ++l) {
      const std::vector<std::string>& row = tables[t][l + 2];
      const Json& layer = plan["token"]["layers"][l];
      EXPECT_EQ(row[0], absl::StrCat(layer["layer"].get<int>()));
      ExpectPrinted(row[1], layer["error"]["mean_abs"], "mean_abs");
      ExpectPrinted(row[2], layer["error"]["rmse"], "rmse");
      ExpectPrinted(row[3], layer["error"]["max_abs"], "max_abs");
      if (l == 0) {
        EXPECT_EQ(row[4], "1.000x");  // the seed report's convention
        EXPECT_TRUE(layer["growth"].is_null());
      } else {
        ExpectPrinted(row[4], layer["growth"], "growth");
      }
      EXPECT_EQ(row[5], layer["status"].get<std::string>());
      ExpectPrinted(row[6], layer["error"]["rel_l2"], "rel_l2");
      EXPECT_EQ(row[7],
                absl::StrFormat("%.4g (channel %d)",
                                layer["max_activation"].get<double>(),
                                layer["max_activation_channel"].get<int>()));
    }
  }
}

TEST_F(ReportTest, MainEffectsAreInTheJson) {
  const Json effects = Parsed()["main_effects"];
  ASSERT_EQ(effects.size(), 2u);
  const auto table = Tables(Text())[3];
  ASSERT_EQ(table.size(), 2 + 4u);
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<std::string>& row = table[i + 2];
    const Json& effect = effects[i / 2];
    const Json& level = effect["levels"][i % 2];
    EXPECT_EQ(row[0], i % 2 == 0 ? effect["axis"].get<std::string>() : "");
    EXPECT_EQ(row[1], level["strategy"].get<std::string>());
    ExpectPrinted(row[2], level["error"], "error");
    ExpectPrinted(row[3], level["decode_rate"], "decode_rate");
    ExpectPrinted(row[4], level["prefill_rate"], "prefill_rate");
    if (i % 2 != 0) continue;
    ExpectPrinted(row[5], effect["error_share"], "error_share");
    ExpectPrinted(row[6], effect["decode_share"], "decode_share");
    ExpectPrinted(row[7], effect["prefill_share"], "prefill_share");
  }
}

// Some axis always has the largest share of the timings' variance; it is named
// only where its levels differ by more than the plans' own median spread.
TEST_F(ReportTest, SpeedEffectsWithinTheSpreadAreNotNamed) {
  for (PlanResult& plan : result_.plans) {
    const bool bf16 = plan.levels[0] == 1;
    plan.decode_rate = {bf16 ? 104.0 : 100.0, 5};   // 4 %, spread 5 %
    plan.prefill_rate = {bf16 ? 110.0 : 100.0, 5};  // 10 %
  }
  result_.effects = MainEffects(options_.axes, result_.plans);
  EXPECT_THAT(Text(),
              HasSubstr("decode speed by no axis beyond the timings' spread of "
                        "5.0 %, prefill speed by matmul (100.0 %)."));
}

TEST_F(ReportTest, ContextIsInTheJson) {
  const Json context = Parsed()["context"];
  EXPECT_EQ(context["seed"].get<uint64_t>(), info_.seed);
  EXPECT_EQ(context["cpu"].get<std::string>(), info_.cpu);
  EXPECT_EQ(context["threads"].get<size_t>(), 3u);
  EXPECT_EQ(context["axes"].get<std::string>(), info_.axes);
  EXPECT_EQ(context["metric"].get<std::string>(), "rmse");
  EXPECT_EQ(context["prompt"].get<std::vector<int>>(),
            (std::vector<int>{97, 5, 6}));
  EXPECT_EQ(context["token"].get<int>(), 97);
  EXPECT_EQ(context["decode_bytes"].get<size_t>(), 123456789u);
  EXPECT_THAT(Text(), HasSubstr("123.5 MB"));
  EXPECT_THAT(Text(), HasSubstr("3 threads"));
}

TEST_F(ReportTest, LayersAreThoseAskedFor) {
  info_.layers = {2, 5};
  const auto tables = Tables(Text());
  ASSERT_EQ(tables[1].size(), 4u);
  EXPECT_EQ(tables[1][2][0], "2");
  EXPECT_EQ(tables[1][3][0], "5");
  EXPECT_EQ(Parsed()["plans"][0]["token"]["layers"].size(), kLayers);
}

TEST_F(ReportTest, OnePlanHasOneSection) {
  result_.plans.resize(1);
  result_.effects.clear();
  EXPECT_EQ(Tables(Text()).size(), 2u);
  EXPECT_THAT(Text(), HasSubstr("## Plan `"));
  EXPECT_THAT(Text(), Not(HasSubstr("Worst")));
  EXPECT_THAT(Text(), Not(HasSubstr("Main effects")));
}

TEST_F(ReportTest, SyntheticWeightsAreLabelled) {
  EXPECT_THAT(Text(), HasSubstr("SYNTHETIC"));
  EXPECT_TRUE(Parsed()["context"]["synthetic"].get<bool>());
  EXPECT_THAT(ReportCsv(info_, options_, result_),
              HasSubstr("\nsynthetic:tiny,true,"));
  info_.synthetic = false;
  info_.model = "folder";
  EXPECT_THAT(Text(), Not(HasSubstr("SYNTHETIC")));
  EXPECT_FALSE(Parsed()["context"]["synthetic"].get<bool>());
  EXPECT_THAT(ReportCsv(info_, options_, result_),
              HasSubstr("\nfolder,false,"));
}

TEST_F(ReportTest, WhatIsNotANumberIsNull) {
  TraceMetrics& prompt = result_.plans[3].prompt;
  prompt.layers.back().error.rmse = kNaN;
  prompt.mean_growth = kNaN;
  prompt.logits->kl = std::numeric_limits<double>::infinity();
  result_.plans[3].score = kNaN;
  result_.plans[3].token.layers[2].error.mean_abs = kNaN;
  const Json json = Parsed();
  ASSERT_FALSE(json.is_discarded());
  const Json& plan = json["plans"][3];
  EXPECT_TRUE(plan["score"].is_null());
  EXPECT_TRUE(plan["prompt"]["layers"].back()["error"]["rmse"].is_null());
  EXPECT_TRUE(plan["prompt"]["mean_growth"].is_null());
  EXPECT_TRUE(plan["prompt"]["logits"]["kl"].is_null());
  const auto tables = Tables(Text());
  EXPECT_EQ(tables[0][5][5], "nan");
  EXPECT_EQ(tables[0][5][7], "-");
  EXPECT_EQ(tables[0][5][8], "inf");
  EXPECT_EQ(tables[2][4][1], "nan");
  EXPECT_EQ(tables[2][4][5], "[ERR] Poor");
}

TEST_F(ReportTest, WholeSweepSaysNothingOfAStop) {
  EXPECT_THAT(Text(), Not(HasSubstr("topped")));
  const Json json = Parsed();
  EXPECT_TRUE(json.contains("stopped_by"));
  EXPECT_TRUE(json["stopped_by"].is_null());
  EXPECT_TRUE(json["stopped_in"].is_null());
}

TEST_F(ReportTest, StoppedDuringTimingShowsTheTimesThereAre) {
  info_.stopped_by = "Ctrl-C";
  result_.stopped_in = "in round 1 of timing";
  PlanResult& plan = result_.plans[2];
  plan.decode_rate = plan.prefill_rate = {kNaN, kNaN};
  plan.timing = {};
  result_.effects = MainEffects(options_.axes, result_.plans);
  RankPlans(result_.plans);
  EXPECT_THAT(Text(), HasSubstr("\n\n**Stopped by Ctrl-C in round 1 of "
                                "timing.** "));
  EXPECT_THAT(Text(), Not(HasSubstr("nan")));
  const auto tables = Tables(Text());
  ASSERT_EQ(tables.size(), 4u);  // ranking, best, worst, effects
  ASSERT_EQ(tables[0].size(), 6u);
  EXPECT_EQ(tables[0][4][0], "3");
  EXPECT_EQ(tables[0][4][3], "-");
  EXPECT_EQ(tables[0][4][4], "-");
  EXPECT_NE(tables[0][4][5], "-");
  // Half of the levels have no mean rate; none of the axes a share of them.
  EXPECT_THAT(Text(), HasSubstr("decode speed by - (not all are timed)"));
  const Json json = Parsed();
  EXPECT_EQ(json["stopped_by"], "Ctrl-C");
  EXPECT_EQ(json["stopped_in"], "in round 1 of timing");
  EXPECT_TRUE(json["plans"][2]["decode_tokens_per_second"]["median"].is_null());
  EXPECT_TRUE(json["plans"][2]["decode_seconds"].empty());
  EXPECT_FALSE(json["plans"][2]["pareto"].get<bool>());
  const std::vector<std::string> lines =
      absl::StrSplit(ReportCsv(info_, options_, result_), '\n');
  EXPECT_THAT(lines[3],
              HasSubstr(absl::StrCat(result_.plans[2].plan, ",,,,,")));
}

// After two layers, with and without the token's.
TEST_F(ReportTest, StoppedDuringErrorsShowsTheLayersThereAre) {
  info_.stopped_by = "SIGTERM";
  result_.stopped_in = "while measuring errors, after layer 2 of 5";
  for (PlanResult& plan : result_.plans) {
    for (TraceMetrics* trace : {&plan.token, &plan.prompt}) {
      trace->layers.resize(2);
      trace->final_norm.reset();
      trace->logits.reset();
    }
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = {kNaN, kNaN};
    plan.score = kNaN;
  }
  result_.plans[3].prompt.layers.clear();
  result_.plans[3].prompt.mean_growth = kNaN;
  result_.effects.clear();
  RankPlans(result_.plans);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("**Stopped by SIGTERM while measuring errors, "
                              "after layer 2 of 5.** "));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("Best plan")));
  auto tables = Tables(text);
  ASSERT_EQ(tables.size(), 1u);
  ASSERT_EQ(tables[0].size(), 6u);
  const Json json = Parsed();
  for (size_t i = 0; i < 4; ++i) {
    const Json& plan = json["plans"][i];
    EXPECT_TRUE(plan["rank"].is_null());
    EXPECT_TRUE(plan["score"].is_null());
    EXPECT_TRUE(plan["prompt"]["logits"].is_null());
    EXPECT_TRUE(plan["prompt"]["final_norm"].is_null());
    EXPECT_EQ(plan["token"]["layers"].size(), 2u);
    const std::vector<std::string>& row = tables[0][i + 2];
    EXPECT_EQ(row[0], result_.plans[i].plan);
    if (i == 3) {
      EXPECT_EQ(row[1], "-");
      continue;
    }
    const Json& last = plan["prompt"]["layers"][1];
    EXPECT_EQ(row[1], "2");
    ExpectPrinted(row[2], last["error"]["mean_abs"], "mean_abs");
    ExpectPrinted(row[3], last["error"]["rmse"], "rmse");
    ExpectPrinted(row[4], last["error"]["rel_l2"], "rel_l2");
    ExpectPrinted(row[5], plan["prompt"]["mean_growth"], "mean_growth");
  }
  const std::vector<std::string> lines =
      absl::StrSplit(ReportCsv(info_, options_, result_), '\n');
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_THAT(lines[1], HasSubstr(",3,,false,"));
  EXPECT_TRUE(absl::EndsWith(lines[1], std::string(12, ',')));

  // A plan alone has its table.
  result_.plans.resize(1);
  tables = Tables(Text());
  EXPECT_THAT(Text(), HasSubstr("## Plan `"));
  EXPECT_THAT(Text(), HasSubstr("Logits: -. "));
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0].size(), 4u);
}

// Where plans are measured in several passes.
TEST_F(ReportTest, StoppedWithSomePlansDoneRanksThose) {
  info_.stopped_by = "Ctrl-C";
  result_.stopped_in = "while measuring errors, with 2 of 4 plans done";
  for (size_t i = 0; i < 4; ++i) {
    PlanResult& plan = result_.plans[i];
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = {kNaN, kNaN};
    if (i % 2 == 0) plan.prompt.logits.reset();
  }
  const std::string best = result_.plans[1].plan;
  const std::string worst = result_.plans[3].plan;
  result_.effects.clear();
  RankPlans(result_.plans);
  EXPECT_THAT(Text(), HasSubstr(absl::StrCat("## Best plan `", best, "`")));
  EXPECT_THAT(Text(), HasSubstr(absl::StrCat("## Worst plan `", worst, "`")));
  const auto tables = Tables(Text());
  ASSERT_EQ(tables.size(), 4u);  // ranking, best, worst, until it was stopped
  EXPECT_EQ(tables[0][2][0], "1");
  EXPECT_EQ(tables[0][3][0], "2");
  for (const size_t row : {4, 5}) {
    EXPECT_EQ(tables[0][row][0], "-");
    for (size_t c = 3; c < tables[0][row].size(); ++c) {
      EXPECT_EQ(tables[0][row][c], "-");
    }
  }
  EXPECT_EQ(tables[3].size(), 4u);
}

TEST_F(ReportTest, PathThatIsNotUtf8IsStillJson) {
  info_.model = "mod\xE8le";
  const Json json = Parsed();
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["context"]["model"].get<std::string>(), "mod\xEF\xBF\xBDle");
}

// RFC 4180.
std::vector<std::vector<std::string>> ParseCsv(const std::string& text) {
  std::vector<std::vector<std::string>> rows = {{""}};
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (quoted && text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[i++];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (quoted) {
      field += text[i];
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\n') {
      rows.push_back({""});
    } else {
      field += text[i];
    }
  }
  EXPECT_FALSE(quoted);
  EXPECT_THAT(rows.back(), ElementsAre(""));
  rows.pop_back();
  return rows;
}

TEST_F(ReportTest, CsvHasARowPerPlan) {
  info_.model = "a,b\"c\r\nd";
  const auto rows = ParseCsv(ReportCsv(info_, options_, result_));
  const Json json = Parsed();
  ASSERT_EQ(rows.size(), 5u);
  const auto column = [&rows](absl::string_view name) {
    for (size_t c = 0; c < rows[0].size(); ++c) {
      if (rows[0][c] == name) return c;
    }
    ADD_FAILURE() << "no column " << name;
    return size_t{0};
  };
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<std::string>& row = rows[i + 1];
    ASSERT_EQ(row.size(), rows[0].size());
    const Json& plan = json["plans"][i];
    EXPECT_EQ(row[column("model")], info_.model);
    EXPECT_EQ(row[column("cpu")], info_.cpu);
    EXPECT_EQ(row[column("plan")], plan["plan"].get<std::string>());
    EXPECT_EQ(row[column("rank")], absl::StrCat(i + 1));
    EXPECT_EQ(row[column("pareto")],
              plan["pareto"].get<bool>() ? "true" : "false");
    EXPECT_EQ(row[column("prompt_tokens")], "3");
    const auto figure = [&](absl::string_view name) {
      return std::strtod(row[column(name)].c_str(), nullptr);
    };
    const Json& prompt = plan["prompt"];
    const Json& token = plan["token"];
    EXPECT_EQ(figure("decode_tokens_per_second"),
              plan["decode_tokens_per_second"]["median"].get<double>());
    EXPECT_EQ(figure("prefill_half_iqr"),
              plan["prefill_tokens_per_second"]["half_iqr"].get<double>());
    EXPECT_EQ(figure("final_rmse"),
              prompt["layers"].back()["error"]["rmse"].get<double>());
    EXPECT_EQ(figure("final_rel_l2"),
              prompt["layers"].back()["error"]["rel_l2"].get<double>());
    EXPECT_EQ(figure("kl"), prompt["logits"]["kl"].get<double>());
    EXPECT_EQ(figure("top1_agreement"),
              prompt["logits"]["top1_agreement"].get<double>());
    EXPECT_EQ(figure("token_final_rmse"),
              token["layers"].back()["error"]["rmse"].get<double>());
    EXPECT_EQ(figure("token_mean_growth"), token["mean_growth"].get<double>());
  }
}

TEST_F(ReportTest, SaysWhetherKernelsAreTuned) {
  info_.wisdom = {"/cache/w.json", 0, 27, "/cache/w.json knows others"};
  EXPECT_THAT(Text(),
              HasSubstr("Kernels are not tuned: /cache/w.json knows others."));
  Json wisdom = Parsed()["context"]["wisdom"];
  EXPECT_EQ(wisdom["used"], false);
  EXPECT_EQ(wisdom["reason"], "/cache/w.json knows others");
  info_.wisdom = {"/cache/w.json", 18, 27, ""};
  EXPECT_THAT(Text(), HasSubstr("Of 27 kinds of MatMul against weights, 18 are "
                                "tuned, by /cache/w.json."));
  wisdom = Parsed()["context"]["wisdom"];
  EXPECT_EQ(wisdom["used"], true);
  EXPECT_EQ(wisdom["file"], "/cache/w.json");
  EXPECT_EQ(wisdom["known_matmuls"], 18);
  EXPECT_EQ(wisdom["timed_matmuls"], 27);
}

}  // namespace
}  // namespace ulpscope
