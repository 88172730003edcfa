#include "explorer/report/attribution_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/run_info.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr size_t kLayers = 24;

// An attribution of random figures, all different; 18 ops in each layer.
class AttributionReportTest : public testing::Test {
 protected:
  AttributionReportTest() : plan_(*Plan::Parse("torch-bf16", kLayers)) {
    info_.model = "synthetic:seed, \"quoted\"";
    info_.synthetic = true;
    info_.config.num_hidden_layers = kLayers;
    info_.config.qk_norm = true;
    info_.cpu = "A CPU";
    info_.target = "AVX2";
    info_.threads = 2;
    attribution_.plan = RandomEffect();
    attribution_.plan.rel_l2 = 0.01;
    for (size_t layer = 0; layer <= kLayers; ++layer) {
      LayerSplit split;
      split.layer = layer;
      split.total.rel_l2 = Figure();
      split.inherited.rel_l2 = Figure();
      split.local.rel_l2 = Figure();
      split.amplification = Figure();
      split.relative_amplification = Figure();
      for (size_t i = 0; i < kNumOps; ++i) {
        if (IsPerLayer(OpAt(i)) == (layer > 0)) {
          split.ops.push_back({OpAt(i), Figure(), Figure()});
        }
      }
      attribution_.layers.push_back(split);
    }
    for (const Cell& cell : CellsOf(info_.config)) {
      attribution_.causes.push_back(
          {cell, cell.op != Op::kSoftmax, RandomEffect(), Figure(), Figure()});
      Repair repair = {cell,      RandomEffect(), Figure(),
                       -Figure(), Figure(),       Figure()};
      attribution_.repairs.push_back(repair);
      if (cell.layer == 1) attribution_.op_repairs.push_back(repair);
      if (cell.layer == 1 && (cell.op == Op::kQProj || cell.op == Op::kRope)) {
        attribution_.group_repairs.push_back(repair);
      }
      if (cell.op == Op::kQProj) attribution_.layer_repairs.push_back(repair);
    }
    attribution_.sum_cosine = 0.9871;
    phenomena_.positions = 3;
    phenomena_.massive.push_back({});
    phenomena_.concentrations.push_back({4, 896, 62, 0.75, 0.9});
    phenomena_.cancellations.push_back({4, Op::kMlpResidual, 59.6, 55, 1.9});
    phenomena_.headrooms.push_back({});
    phenomena_.biases.push_back({});
    repair_.budget = {BudgetMetric::kKl, 0.125};
    repair_.reached = true;
    repair_.error_before = 0.5;
    repair_.strategies = {Strategy()};
    repair_.repair = {{{Op::kQProj, Strategy(), {3, 4}}}, plan_, 0.0625};
    repair_.repair.plan.Set(3, Op::kQProj, Strategy());
    repair_.repair.plan.Set(4, Op::kQProj, Strategy());
    repair_.entries = {"q_proj@3-4=f32"};
    repair_.alternatives = {repair_.repair};
    repair_.cost = RepairCost();
    repair_.cost->plan_decode = {12.5, 0.5};
    repair_.cost->decode_ratio = {0.75, 0.125};
    repair_.streams = 321;
    verdict_ = Judge(plan_, attribution_, &phenomena_);
    results_ = {&plan_,     {9707, 5}, &attribution_, &phenomena_,
                {"a line"}, &verdict_, &repair_,      ""};
  }

  double Figure() { return std::exp2(random_.Uniform(-30, 3)); }
  Effect RandomEffect() {
    return {Figure(), Figure(), Figure(), {Figure(), Figure()}, true};
  }

  std::string Text() const { return AttributionText(info_, results_); }
  Json Parsed() const {
    return Json::parse(AttributionJson(info_, results_), nullptr, false);
  }
  // Lines of the n-th map, heads first.
  std::vector<std::vector<std::string>> MapRows(size_t n) const {
    const std::vector<std::string> blocks = absl::StrSplit(Text(), "```\n");
    std::vector<std::vector<std::string>> rows;
    for (absl::string_view line :
         absl::StrSplit(blocks[2 * n + 1], '\n', absl::SkipEmpty())) {
      rows.push_back(absl::StrSplit(line, ' ', absl::SkipEmpty()));
    }
    return rows;
  }
  Cause& CauseAt(size_t layer, Op op) {
    for (Cause& cause : attribution_.causes) {
      if (cause.cell.layer == layer && cause.cell.op == op) return cause;
    }
    ADD_FAILURE();
    return attribution_.causes[0];
  }

  Random random_{11};
  Plan plan_;
  RunInfo info_;
  Attribution attribution_;
  Phenomena phenomena_;
  Verdict verdict_;
  RepairResult repair_;
  AttributionResults results_;
};

TEST_F(AttributionReportTest, VerdictIsFirstAndPartsFollow) {
  const std::string text = Text();
  size_t at = 0;
  for (const char* part :
       {"# Attribution of `torch-bf16`", "## Verdict",
        "## Where it arises, layer by layer", "## Cause map", "## Repair map",
        "## Minimal repair: kl<=0.125", "## Phenomena\n\n- a line"}) {
    const size_t found = text.find(part);
    ASSERT_NE(found, std::string::npos) << part;
    EXPECT_GT(found + 1, at) << part;
    at = found;
  }
}

TEST_F(AttributionReportTest, MapsAreThoseOfTheJsonWithin120Columns) {
  // The longest figures that a map can have.
  CauseAt(3, Op::kQProj).effect.rel_l2 = 1e-16;
  attribution_.repairs[30].effect.rel_l2 = 1e-20;
  attribution_.repairs[31].effect.rel_l2 = 0.01001;
  const std::vector<std::string> blocks = absl::StrSplit(Text(), "```\n");
  ASSERT_EQ(blocks.size(), 5u);
  for (const size_t block : {1, 3}) {
    for (absl::string_view line : absl::StrSplit(blocks[block], '\n')) {
      EXPECT_LE(line.size(), 120u) << line;
    }
  }
  const Json json = Parsed()["attribution"];
  for (const size_t map : {0, 1}) {
    const auto rows = MapRows(map);
    ASSERT_EQ(rows.size(), 1 + kLayers);
    for (const auto& row : rows) ASSERT_EQ(row.size(), 1 + 18u);
    for (const Json& cell : json[map == 0 ? "cause_map" : "repair_map"]) {
      const size_t layer = cell["layer"].get<size_t>();
      if (layer == 0) continue;
      size_t column = 1;
      for (size_t i = 1; OpName(OpAt(i)) != cell["op"].get<std::string>();
           ++i) {
        ++column;
      }
      const double error = cell["effect"]["rel_l2"].get<double>();
      const double decades = std::log10(error / 0.01);
      const std::string expected =
          map == 1 ? std::fabs(decades) < 0.005 ? "~"
                     : std::fabs(decades) < 10
                         ? absl::StrFormat("%+.2f", decades)
                         : absl::StrFormat("%+.1f", decades)
          : cell["changes_bits"].get<bool>()
              ? absl::StrFormat("%.1f", std::log10(error))
              : ".";
      EXPECT_EQ(rows[layer][0], absl::StrCat(layer));
      EXPECT_EQ(rows[layer][column], expected) << cell["op"] << layer;
    }
  }
}

TEST_F(AttributionReportTest, LayersCanBeChosen) {
  info_.layers = {3, 23};
  for (const size_t map : {0, 1}) {
    const auto rows = MapRows(map);
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[1][0], "3");
    EXPECT_EQ(rows[2][0], "23");
  }
}

TEST_F(AttributionReportTest, OpsTheModelLacksHaveNoColumn) {
  info_.config.qk_norm = false;
  std::vector<Cause> causes;
  for (const Cause& cause : attribution_.causes) {
    if (cause.cell.op != Op::kQNorm && cause.cell.op != Op::kKNorm) {
      causes.push_back(cause);
    }
  }
  attribution_.causes = causes;
  for (const auto& row : MapRows(0)) EXPECT_EQ(row.size(), 1 + 16u);
  EXPECT_THAT(Text(), Not(HasSubstr("q_n q_norm")));
}

TEST_F(AttributionReportTest, WhatIsNoNumberIsNamedAndNull) {
  CauseAt(5, Op::kDownProj).effect.rel_l2 = kNaN;
  CauseAt(6, Op::kDownProj).effect.rel_l2 = kInf;
  CauseAt(7, Op::kDownProj).effect.rel_l2 = 0;
  CauseAt(8, Op::kDownProj).effect.complete = false;
  const auto rows = MapRows(0);
  const size_t column = 1 + static_cast<size_t>(Op::kDownProj) - 1;
  EXPECT_EQ(rows[0][column], "down");
  EXPECT_EQ(rows[5][column], "nan");
  EXPECT_EQ(rows[6][column], "inf");
  EXPECT_EQ(rows[7][column], "0");
  EXPECT_EQ(rows[8][column], "?");
  size_t nulls = 0;
  const Json cells = Parsed()["attribution"]["cause_map"];
  for (const Json& cell : cells) {
    nulls += cell["effect"]["rel_l2"].is_null();
  }
  EXPECT_EQ(nulls, 2u);
}

TEST_F(AttributionReportTest, JsonHasTheVerdictAndEveryPart) {
  const Json json = Parsed();
  EXPECT_TRUE(json["context"]["synthetic"].get<bool>());
  const Json& a = json["attribution"];
  EXPECT_EQ(a["plan"], "torch-bf16");
  EXPECT_EQ(a["layers"].size(), kLayers + 1);
  EXPECT_EQ(a["cause_map"].size(), attribution_.causes.size());
  EXPECT_EQ(a["cause_map"][0]["strategy"], "bf16");
  EXPECT_EQ(a["cause_sum"]["cosine"], 0.9871);
  EXPECT_EQ(a["op_repairs"].size(), 18u);
  EXPECT_EQ(a["layer_repairs"].size(), kLayers);
  EXPECT_EQ(a["group_repairs"][1]["group"], "elementwise");
  EXPECT_EQ(a["group_repairs"][1]["moved"],
            attribution_.group_repairs[1].moved);
  EXPECT_EQ(a["minimal_repair"]["entries"][0], "q_proj@3-4=f32");
  EXPECT_EQ(a["minimal_repair"]["repair"]["upgrades"][0]["layers"],
            Json({3, 4}));
  EXPECT_EQ(a["minimal_repair"]["cost"]["decode_ratio"]["median"], 0.75);
  EXPECT_EQ(a["phenomena"]["cancellations"][0]["ratio"], 59.6);
  EXPECT_EQ(a["phenomena"]["lines"][0], "a line");
  EXPECT_EQ(a["verdict"]["rel_l2"], 0.01);
  EXPECT_GT(a["verdict"]["sentences"].size(), 2u);
  for (const auto& sentence : a["verdict"]["sentences"]) {
    EXPECT_THAT(Text(), HasSubstr(sentence.get<std::string>()));
  }
}

TEST_F(AttributionReportTest, StructuredVerdictIsComplete) {
  ErrorSource source;
  source.ops = {Op::kMlpResidual};
  source.first_layer = 3;
  source.last_layer = 21;
  source.channel = SourceChannel();
  source.channel->channel = 62;
  source.channel->massive = true;
  source.channel->rounded = true;
  source.channel->spacing = 8;
  source.makes = SourcePart{3, {Op::kSwiGlu}, 0.1};
  source.cures = {{CureScope::kOps, Strategy(), {"residual=f32"}, 0.25}};
  verdict_.source = source;
  verdict_.exposed_by =
      Exposure{22, Op::kMlpResidual, 59.6, 55, 2, 0.1, 0.4, 0.5};
  verdict_.spread_by = Spreading{23, 0.9, 0.4, 1.3};
  verdict_.no_effect = {{Op::kSoftmax, true}};
  const Json v = Parsed()["attribution"]["verdict"];
  EXPECT_EQ(v["source"]["ops"][0], "mlp_residual");
  EXPECT_EQ(v["source"]["first_layer"], 3);
  EXPECT_EQ(v["source"]["last_layer"], 21);
  EXPECT_EQ(v["source"]["channel"]["channel"], 62);
  EXPECT_EQ(v["source"]["channel"]["spacing"], 8);
  EXPECT_EQ(v["source"]["makes"]["ops"][0], "swiglu");
  EXPECT_FALSE(v["source"].contains("removes"));
  EXPECT_EQ(v["source"]["cures"][0]["scope"], "ops");
  EXPECT_EQ(v["source"]["cures"][0]["entries"][0], "residual=f32");
  EXPECT_EQ(v["source"]["cures"][0]["rel_l2"], 0.25);
  EXPECT_EQ(v["source"]["cures"][0]["rel_l2_on_average"],
            LeftOnAverage(verdict_, CureScope::kOps));
  EXPECT_EQ(v["exposed_by"]["layer"], 22);
  EXPECT_EQ(v["exposed_by"]["cancellation"], 59.6);
  EXPECT_EQ(v["exposed_by"]["rel_l2_before"], 0.1);
  EXPECT_EQ(v["exposed_by"]["inherited_after"], 0.4);
  EXPECT_EQ(v["exposed_by"]["rel_l2_after"], 0.5);
  EXPECT_EQ(v["spread_by"]["layer"], 23);
  EXPECT_EQ(v["no_effect"][0]["op"], "softmax");
  EXPECT_TRUE(v["no_effect"][0]["over_one_position"].get<bool>());
  verdict_.source->channel->rounded = false;
  EXPECT_FALSE(Parsed()["attribution"]["verdict"]["source"]["channel"].contains(
      "spacing"));
  verdict_.source.reset();
  verdict_.exposed_by.reset();
  EXPECT_FALSE(Parsed()["attribution"]["verdict"].contains("source"));
  EXPECT_FALSE(Parsed()["attribution"]["verdict"].contains("exposed_by"));
}

TEST_F(AttributionReportTest, SyntheticWeightsAreLabelledEverywhere) {
  EXPECT_THAT(Text(), HasSubstr("(SYNTHETIC weights)"));
  EXPECT_THAT(Text(), HasSubstr("figures are of SYNTHETIC weights"));
  EXPECT_TRUE(Parsed()["attribution"]["synthetic"].get<bool>());
  EXPECT_THAT(AttributionCsv(info_, results_),
              HasSubstr("\n\"synthetic:seed, \"\"quoted\"\"\",true,"));
  info_.synthetic = false;
  EXPECT_THAT(Text(), Not(HasSubstr("SYNTHETIC")));
  EXPECT_FALSE(Parsed()["attribution"]["synthetic"].get<bool>());
}

TEST_F(AttributionReportTest, CsvHasARowPerCell) {
  info_.model = "model";
  attribution_.causes[3].share = kNaN;
  const std::vector<std::string> lines =
      absl::StrSplit(AttributionCsv(info_, results_), '\n', absl::SkipEmpty());
  const size_t cells = attribution_.causes.size();
  ASSERT_EQ(lines.size(), 2 + 2 * cells + 18 + 2 + kLayers);
  const std::vector<std::string> heads = absl::StrSplit(lines[0], ',');
  const auto field = [&](size_t line, const std::string& head) {
    const std::vector<std::string> fields = absl::StrSplit(lines[line], ',');
    EXPECT_EQ(fields.size(), heads.size()) << lines[line];
    const auto at = std::find(heads.begin(), heads.end(), head);
    EXPECT_NE(at, heads.end()) << head;
    return fields[static_cast<size_t>(at - heads.begin())];
  };
  EXPECT_EQ(field(1, "map"), "plan");
  EXPECT_EQ(field(1, "rel_l2"), absl::StrFormat("%.17g", 0.01));
  for (size_t i = 0; i < cells; ++i) {
    const Cause& cause = attribution_.causes[i];
    EXPECT_EQ(field(2 + i, "map"), "cause");
    EXPECT_EQ(field(2 + i, "layer"), absl::StrCat(cause.cell.layer));
    EXPECT_EQ(field(2 + i, "op"), OpName(cause.cell.op));
    EXPECT_EQ(field(2 + i, "strategy"), "bf16");
    EXPECT_EQ(field(2 + i, "kl"), absl::StrFormat("%.17g", cause.effect.kl));
    EXPECT_EQ(field(2 + i, "share"),
              i == 3 ? "" : absl::StrFormat("%.17g", cause.share));
    EXPECT_EQ(field(2 + i, "gain"), "");
    const Repair& repair = attribution_.repairs[i];
    EXPECT_EQ(field(2 + cells + i, "map"), "repair");
    EXPECT_EQ(field(2 + cells + i, "gain"),
              absl::StrFormat("%.17g", repair.gain));
    EXPECT_EQ(field(2 + cells + i, "changes_bits"), "");
  }
  EXPECT_EQ(field(2 + 2 * cells, "map"), "op_repair");
  EXPECT_EQ(field(2 + 2 * cells, "layer"), "");
  EXPECT_EQ(field(2 + 2 * cells + 18, "map"), "group_repair");
  EXPECT_EQ(field(2 + 2 * cells + 18, "op"), "matmul");
  EXPECT_EQ(field(2 + 2 * cells + 18, "moved"),
            absl::StrFormat("%.17g", attribution_.group_repairs[0].moved));
  EXPECT_EQ(field(2 + 2 * cells + 20, "map"), "layer_repair");
  EXPECT_EQ(field(2 + 2 * cells + 20, "op"), "");
}

TEST_F(AttributionReportTest, StoppedRunShowsWhatThereIs) {
  attribution_.stopped_in = "the cause map, after layer 2";
  results_.stopped_in = attribution_.stopped_in;
  info_.stopped_by = "Ctrl-C";
  attribution_.repairs.clear();
  attribution_.op_repairs.clear();
  attribution_.layer_repairs.clear();
  results_.phenomena = nullptr;
  results_.repair = nullptr;
  EXPECT_THAT(Text(), HasSubstr("**Stopped by Ctrl-C in the cause map, after "
                                "layer 2.**"));
  EXPECT_THAT(Text(), Not(HasSubstr("## Repair map")));
  EXPECT_THAT(Text(), Not(HasSubstr("## Minimal repair")));
  const Json json = Parsed()["attribution"];
  EXPECT_EQ(json["stopped_in"], "the cause map, after layer 2");
  EXPECT_EQ(json["stopped_by"], "Ctrl-C");
  EXPECT_TRUE(json["minimal_repair"].is_null());
  EXPECT_TRUE(json["phenomena"].is_null());
  // Nothing at all.
  const Attribution nothing;
  const Verdict unknown;
  results_.attribution = &nothing;
  results_.verdict = &unknown;
  EXPECT_THAT(Text(), Not(HasSubstr("## Cause map")));
  EXPECT_TRUE(Parsed().is_object());
}

}  // namespace
}  // namespace ulpscope
