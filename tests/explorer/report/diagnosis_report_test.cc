#include "explorer/report/diagnosis_report.h"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/metrics.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/run_info.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/diagnosis/made_diagnosis.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class DiagnosisReportTest : public testing::Test {
 protected:
  DiagnosisReportTest() {
    info_.model = "synthetic:seed, \"quoted\"";
    info_.synthetic = true;
    info_.config.num_hidden_layers = 24;
    info_.cpu = "A CPU";
    info_.target = "AVX2";
    info_.threads = 2;
  }

  Results ResultsOf(const Diagnosis& d) const {
    return DiagnosisResults(info_, "a/trace", d);
  }
  std::string Text(const Diagnosis& d) const {
    return DiagnosisReport(info_, "a/trace", d, ResultsOf(d));
  }
  Json Parsed(const Diagnosis& d) const {
    return Json::parse(ResultsJson(ResultsOf(d)), nullptr, false);
  }
  // Rows of the table below the heading, cells without spaces around them.
  std::vector<std::vector<std::string>> TableOf(
      const Diagnosis& d, absl::string_view heading) const {
    const std::vector<std::string> parts =
        absl::StrSplit(Text(d), absl::StrCat("\n## ", heading, "\n"));
    EXPECT_EQ(parts.size(), 2u) << heading;
    std::vector<std::vector<std::string>> rows;
    for (absl::string_view line : absl::StrSplit(parts.back(), '\n')) {
      if (absl::StartsWith(line, "## ")) break;
      if (!absl::StartsWith(line, "|")) continue;
      std::vector<std::string> cells;
      for (absl::string_view cell : absl::StrSplit(line, '|')) {
        cells.emplace_back(absl::StripAsciiWhitespace(cell));
      }
      rows.emplace_back(cells.begin() + 1, cells.end() - 1);
    }
    // Without the head and the rule.
    if (rows.size() >= 2) rows.erase(rows.begin(), rows.begin() + 2);
    return rows;
  }

  RunInfo info_;
  Random random_{7};
};

// All ways in which a report may print a figure.
void AddFigure(double x, std::set<std::string>& figures) {
  for (const double y : {x, 100 * x}) {
    for (const char* format :
         {"%.0f", "%.1f", "%.2f", "%.3f", "%.6f", "%.3e", "%.3g"}) {
      char text[400];
      std::snprintf(text, sizeof(text), format, std::fabs(y));
      figures.insert(text);
    }
  }
}

// Every number in the JSON, and how long each list is; not what sentences say.
void AddFigures(const Json& json, std::set<std::string>& figures) {
  if (json.is_number()) AddFigure(json.get<double>(), figures);
  if (json.is_structured()) {
    if (json.is_array()) figures.insert(absl::StrCat(json.size()));
    for (const auto& [key, value] : json.items()) {
      if (key != "sentences" && key != "advice") AddFigures(value, figures);
    }
  }
}

// Numbers in a text, without signs; not those within words, as in bf16 or L2.
std::vector<std::string> NumbersIn(const std::string& text) {
  std::vector<std::string> numbers;
  for (size_t i = 0; i < text.size();) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    const size_t start = i;
    const auto at = [&text](size_t k) {
      return k < text.size() ? text[k] : '\0';
    };
    const auto digit = [&at](size_t k) {
      return absl::ascii_isdigit(static_cast<unsigned char>(at(k)));
    };
    while (digit(i)) ++i;
    if (at(i) == '.' && digit(i + 1)) {
      ++i;
      while (digit(i)) ++i;
    }
    if (at(i) == 'e' && (at(i + 1) == '-' || at(i + 1) == '+') &&
        digit(i + 2)) {
      i += 2;
      while (digit(i)) ++i;
    }
    const char before = start == 0 ? ' ' : text[start - 1];
    if (!absl::ascii_isalpha(static_cast<unsigned char>(before)) &&
        before != '_' && before != '.') {
      numbers.push_back(text.substr(start, i - start));
    }
  }
  return numbers;
}

TEST_F(DiagnosisReportTest, EveryFigureIsInTheJson) {
  Diagnosis seed = SeedDiagnosis(random_);
  seed.alignment.other_tokens = {{0, 5, 77}, {2, 6, -1}};
  Diagnosis buggy = CleanDiagnosis(24, random_);
  AddCause(buggy, MadeCause("rope_neighbours", 2, Op::kRope, random_));
  AddCause(buggy, MadeCause("norm_eps", 1, Op::kInputNorm, random_));
  MakeUnexplained(buggy, 0, Op::kLmHead);
  for (int i = 0; i < 12; ++i) {
    buggy.tried.push_back({"hypothesis", 100u + static_cast<size_t>(i), 17,
                           random_.Uniform(1, 90), 12345, 6789, ""});
  }
  buggy.tried.push_back({"never", 0, 0, 0, 0, 0, "the model has no bias"});
  buggy.not_measured = {{"a", "too short"}};
  buggy.points[3].nonfinite = 31;
  for (const Diagnosis& d : {seed, buggy, CleanDiagnosis(4, random_)}) {
    std::set<std::string> figures;
    AddFigures(Parsed(d), figures);
    // How many rows tables have at most, and how many hypotheses were tried.
    figures.insert({"60", "12"});
    for (const std::string& number : NumbersIn(Text(d))) {
      EXPECT_EQ(figures.count(number), 1u) << number;
    }
  }
}

// (What the test above rests on.)
TEST_F(DiagnosisReportTest, NumbersOfATextAreFound) {
  EXPECT_THAT(NumbersIn("bf16 1.5 (3.2e-04), | 12 | 0.5 %; layers 3-21. x_1"),
              ElementsAre("1.5", "3.2e-04", "12", "0.5", "3", "21"));
  Diagnosis d = CleanDiagnosis(4, random_);
  std::set<std::string> figures;
  AddFigures(Parsed(d), figures);
  EXPECT_EQ(figures.count(absl::StrFormat("%.3e", *d.points[3].distance)), 1u);
  EXPECT_EQ(figures.count(absl::StrFormat("%.3e", 1.7 * *d.points[3].distance)),
            0u);
}

TEST_F(DiagnosisReportTest, PartsAreInOrder) {
  Diagnosis d = SeedDiagnosis(random_);
  d.tried.push_back({"hypothesis", 0, 0, 0, 0, 0, ""});
  d.not_measured = {{"logits", "shape [1, 2], expected [1, 3]"}};
  const std::string text = Text(d);
  size_t at = 0;
  for (const char* part :
       {"# Diagnosis of `a/trace`", "Model: synthetic:seed",
        "Compared with `f32` on token 9707 (the trace's).", "\n## Verdict\n",
        "\n- No implementation difference", "\n## Error table\n",
        "\n## Who is right\n", "\n## Arithmetic\n", "\n## Points\n",
        "\n## Hypotheses\n", "\n## Where `torch-bf16` loses accuracy\n",
        "\n## Not measured\n\n- `logits`: shape [1, 2], expected [1, 3]\n"}) {
    const size_t found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << part;
    at = found;
  }
  EXPECT_THAT(text, Not(HasSubstr("Stopped")));
}

TEST_F(DiagnosisReportTest, ErrorTableIsTheSeedReports) {
  const Diagnosis d = SeedDiagnosis(random_);
  EXPECT_THAT(Text(d), HasSubstr("\n| Layers | Mean Abs Error | RMSE | Max "
                                 "Error | Growth Rate | Status | Comes from |"
                                 "\n"));
  const auto rows = TableOf(d, "Error table");
  ASSERT_EQ(rows.size(), 24u);
  EXPECT_THAT(rows, Each(testing::SizeIs(7)));
  EXPECT_EQ(rows[0][4], "-");
  EXPECT_EQ(rows[2][3], "4.107605");
  EXPECT_EQ(rows[2][4], "15.010x");
  EXPECT_THAT(rows[2][6],
              StartsWith(absl::StrFormat("rounding of the trace %.0f %%",
                                         100 * d.rows[2].shares->rounding)));
  EXPECT_EQ(rows[21][6],
            "cancellation 81 %, inherited 12 %, rounding of the trace 6 %");
  EXPECT_THAT(
      rows[23],
      ElementsAre("24", "3.405869",
                  absl::StrFormat("%.6f", d.rows[23].error.rmse), "49.161961",
                  "20.187x", "[ERR] Poor", "comparison 100 %"));
  double average = 0;
  for (size_t i = 1; i < 24; ++i) average += *d.rows[i].growth / 23;
  EXPECT_THAT(Text(d),
              HasSubstr(absl::StrFormat(
                  "\n- Average growth rate per layer: %.3fx (", average)));
  EXPECT_THAT(Text(d),
              HasSubstr(absl::StrFormat(
                  "\n- Total error growth (layer 1 -> 24): %.1fx\n",
                  d.rows[23].error.mean_abs / d.rows[0].error.mean_abs)));
  EXPECT_THAT(Text(d), HasSubstr("\n- Final error (layer 24): 3.405869; of "
                                 "what belongs together 0.023875\n"));
}

TEST_F(DiagnosisReportTest, SharesThatAreNotKnownAreLeftOut) {
  Diagnosis d = CleanDiagnosis(2, random_);
  d.rows[0].shares.reset();
  EXPECT_EQ(TableOf(d, "Error table")[0][6], "-");
  EXPECT_TRUE(Parsed(d)["error_table"][0]["share_own"].is_null());
  EXPECT_NE(TableOf(d, "Error table")[1][6], "-");
  // Nor are there parts of no error.
  d.rows[1].error = ErrorMetrics();
  EXPECT_EQ(TableOf(d, "Error table")[1][6], "-");
}

// NaN, infinity and what was not measured are three things everywhere.
TEST_F(DiagnosisReportTest, WhatIsNoNumberIsToldApart) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeNotFinite(d, 4, Op::kInputNorm);
  d.states[3].emulation_to_oracle.reset();
  const Json json = Parsed(d);
  const size_t first = d.trace_nonfinite->first;
  EXPECT_EQ(json["diagnosis"]["trace_not_finite_first"], first);
  EXPECT_EQ(json["diagnosis"]["trace_not_finite_points"], 4);
  EXPECT_EQ(json["diagnosis"]["trace_not_finite_elements"], 4 * 896);
  EXPECT_TRUE(json["diagnosis"]["ours_not_finite_first"].is_null());
  EXPECT_EQ(json["points"][first]["distance"], "Infinity");
  EXPECT_EQ(json["points"][first]["nan"], 896);
  EXPECT_TRUE(json["points"][first]["held_by"].is_null());
  EXPECT_TRUE(json["points"][first + 1]["distance"].is_null());
  EXPECT_EQ(json["states"][4]["trace_to_oracle"], "NaN");
  EXPECT_TRUE(json["states"][4]["nearer"].is_null());
  EXPECT_TRUE(json["states"][3]["emulation_to_oracle"].is_null());
  const auto points = TableOf(d, "Points");
  EXPECT_EQ(points[first][5], "Infinity");
  EXPECT_EQ(points[first + 1][5], "-");
  EXPECT_EQ(points[first + 1].back(), "not judged");
  const auto states = TableOf(d, "Who is right");
  EXPECT_EQ(states[4][2], "NaN");
  EXPECT_EQ(states[3][5], "-");
}

TEST_F(DiagnosisReportTest, LayersCanBeChosen) {
  info_.layers = {3, 24};
  const Diagnosis d = SeedDiagnosis(random_);
  const auto rows = TableOf(d, "Error table");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0][0], "3");
  EXPECT_EQ(rows[1][0], "24");
  EXPECT_EQ(TableOf(d, "Who is right").size(), 3u);
  EXPECT_EQ(Parsed(d)["error_table"].size(), 24u);
}

TEST_F(DiagnosisReportTest, OfFewPointsAllAreListed) {
  const Diagnosis d = CleanDiagnosis(4, random_);
  const auto rows = TableOf(d, "Points");
  ASSERT_EQ(rows.size(), d.points.size());
  EXPECT_THAT(
      rows[0],
      ElementsAre("0", "embed", "F32", "bf16", "0",
                  absl::StrFormat("%.3e", *d.points[0].distance),
                  absl::StrFormat("%.3e", *d.points[0].allowed),
                  absl::StrFormat("%.3e", *d.points[0].distance),
                  absl::StrFormat("%.1f %%", 100 * *d.points[0].identical),
                  "torch-bf16", ""));
}

// Those that differ and the five that come nearest to it, in their order.
TEST_F(DiagnosisReportTest, OfManyPointsThoseThatDifferAreListed) {
  Diagnosis d = CleanDiagnosis(24, random_);
  ASSERT_GT(d.points.size(), 60u);
  d.points[70].distance = 0.99 * *d.points[70].allowed;
  d.points[8].distance = 0.98 * *d.points[8].allowed;
  d.points[9].distance = d.points[9].allowed = 0;
  AddCause(d, MadeCause("rope_neighbours", 23, Op::kRope, random_));
  MakeUnexplained(d, 2, Op::kRope);
  auto rows = TableOf(d, "Points");
  ASSERT_EQ(rows.size(), 3 + 5u);
  size_t differing = 0, unexplained = 0, tight = 0;
  std::vector<size_t> layers;
  for (const auto& row : rows) {
    differing += row[10] == "differs";
    unexplained += row[10] == "unexplained";
    tight += row[5] == absl::StrFormat("%.3e", *d.points[70].distance) ||
             row[5] == absl::StrFormat("%.3e", *d.points[8].distance);
    EXPECT_NE(row[6], "0.000e+00");
    layers.push_back(static_cast<size_t>(std::stoi(row[0])));
  }
  EXPECT_EQ(differing, 2u);
  EXPECT_EQ(unexplained, 1u);
  EXPECT_EQ(tight, 2u);
  EXPECT_THAT(Text(d), HasSubstr("Of 74 points these are the ones"));
  EXPECT_EQ(Parsed(d)["points"].size(), 74u);
  for (PointResult& point : d.points) point.differs = true;
  EXPECT_EQ(TableOf(d, "Points").size(), 60u);
}

TEST_F(DiagnosisReportTest, HypothesesAreTheBestTen) {
  Diagnosis d = CleanDiagnosis(4, random_);
  for (int i = 0; i < 12; ++i) {
    d.tried.push_back({absl::StrCat("h", i), 3, 1, 12.25 - i, 100, 50, ""});
  }
  d.tried.push_back({"no_bias", 0, 0, 0, 0, 0, "the model has none"});
  const auto rows = TableOf(d, "Hypotheses");
  ASSERT_EQ(rows.size(), 10u);
  EXPECT_THAT(rows[0], ElementsAre("h0", "3", "1", "12.2", "100", "50"));
  EXPECT_EQ(rows[9][0], "h9");
  EXPECT_THAT(Text(d), HasSubstr("Not tried: `no_bias` (the model has none)."));
  const Json json = Parsed(d)["hypotheses"];
  ASSERT_EQ(json.size(), 13u);
  EXPECT_EQ(json[11]["id"], "h11");
  EXPECT_TRUE(json[12]["bits"].is_null());
  EXPECT_EQ(json[12]["not_tried"], "the model has none");
}

TEST_F(DiagnosisReportTest, JsonHasTheVerdictAndItsEvidence) {
  Diagnosis d = SeedDiagnosis(random_);
  Json json = Parsed(d);
  const Json& diagnosis = json["diagnosis"];
  EXPECT_EQ(diagnosis["outcome"], "no_difference");
  EXPECT_TRUE(diagnosis["explained"].get<bool>());
  EXPECT_FALSE(diagnosis["differs"].get<bool>());
  EXPECT_EQ(json["context"]["reference"], "a/trace");
  EXPECT_EQ(json["context"]["tokens"], Json({9707}));
  EXPECT_EQ(diagnosis["last_state_index"], 24);
  EXPECT_EQ(diagnosis["last_state_normed"], d.alignment.last_state->normed);
  EXPECT_TRUE(diagnosis["last_state_is_normed"].get<bool>());
  EXPECT_EQ(diagnosis["arithmetic_name"], "torch-bf16");
  EXPECT_EQ(json["formats"][0]["points"], d.points.size());
  EXPECT_EQ(diagnosis["nearer_to_oracle"], "ours");
  EXPECT_EQ(json["causes"][0]["id"], "rounding_of_massive_activation");
  EXPECT_EQ(json["causes"][0]["kind"], "rounding");
  EXPECT_TRUE(json["causes"][0]["run_with"].is_null());
  EXPECT_EQ(json["causes"][2]["kind"], "comparison");
  EXPECT_EQ(json["causes"][2]["first_op"], "final_norm");
  EXPECT_EQ(json["error_table"][23]["share_comparison"], 0.9971);
  EXPECT_EQ(json["error_table"][23]["aligned_mean_abs"], 0.023875);
  EXPECT_TRUE(json["error_table"][0]["growth"].is_null());
  EXPECT_TRUE(diagnosis["first_difference"].is_null());
  EXPECT_TRUE(diagnosis["first_unexplained"].is_null());
  for (const auto& sentence : json["sentences"]) {
    EXPECT_THAT(Text(d), HasSubstr(sentence["text"].get<std::string>()));
  }
  MakeUnexplained(d, 5, Op::kRope);
  json = Parsed(d);
  EXPECT_EQ(json["diagnosis"]["outcome"], "unexplained");
  const size_t first = json["diagnosis"]["first_unexplained"];
  EXPECT_EQ(json["points"][first]["layer"], 5);
  EXPECT_EQ(json["points"][first]["op"], "rope");
  EXPECT_EQ(json["diagnosis"]["points_still_differing"], 1);
}

TEST_F(DiagnosisReportTest, SyntheticWeightsAreLabelledEverywhere) {
  const Diagnosis d = CleanDiagnosis(4, random_);
  EXPECT_THAT(Text(d), HasSubstr("(SYNTHETIC weights)"));
  EXPECT_THAT(Text(d), HasSubstr("figures are of SYNTHETIC weights"));
  EXPECT_TRUE(Parsed(d)["context"]["synthetic"].get<bool>());
  info_.synthetic = false;
  EXPECT_THAT(Text(d), Not(HasSubstr("SYNTHETIC")));
  EXPECT_FALSE(Parsed(d)["context"]["synthetic"].get<bool>());
}

TEST_F(DiagnosisReportTest, StoppedRunShowsWhatThereIs) {
  info_.stopped_by = "Ctrl-C";
  Diagnosis d;
  d.plan = "f32";
  d.tokens = {1, 2};
  d.stopped_in = "the oracle's run";
  EXPECT_THAT(Text(d), HasSubstr("\n**Stopped by Ctrl-C: the oracle's run.**"));
  for (const char* part : {"Causes", "Error table", "Who is right", "Points",
                           "Hypotheses", "Arithmetic", "Not measured"}) {
    EXPECT_THAT(Text(d), Not(HasSubstr(absl::StrCat("## ", part))));
  }
  EXPECT_EQ(Parsed(d)["context"]["stopped_in"], "the oracle's run");
  EXPECT_EQ(Parsed(d)["context"]["stopped_by"], "Ctrl-C");
  EXPECT_EQ(Parsed(d)["diagnosis"]["outcome"], "stopped");
}

}  // namespace
}  // namespace ulpscope
