// Against numpy's figures of tools/make_token_errors_fixture.py.

#include "explorer/error/token_errors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/token_summary.h"
#include "explorer/error/windows.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Json Fixture() {
  std::ifstream file("tests/testdata/text/token_errors.json");
  return Json::parse(file);
}

// Sums of up to 40 terms of up to 10, rounded in another order.
void ExpectNear(double value, const Json& expected, const std::string& name) {
  const double e = expected.get<double>();
  EXPECT_NEAR(value, e, 1e-14 * std::max(40.0, std::fabs(e))) << name;
}

std::vector<double> Flat(const Json& rows) {
  std::vector<double> all;
  for (const Json& row : rows) {
    for (const Json& x : row) all.push_back(x.get<double>());
  }
  return all;
}

Matrix<const double> View(const std::vector<double>& values, size_t rows) {
  return {values.data(), rows, values.size() / rows};
}

TokenErrors Compared(const std::vector<double>& value,
                     const std::vector<double>& reference,
                     const std::vector<int32_t>& tokens, size_t threads = 1) {
  Parallel parallel(threads);
  TestMonitor monitor;
  const size_t rows = tokens.size();
  TokenErrors errors;
  const auto norms = LogSumExps(View(reference, rows), monitor, parallel);
  EXPECT_TRUE(CompareTokens(View(value, rows), View(reference, rows), *norms,
                            tokens, monitor, parallel, errors));
  errors.massive.assign(rows, 0);
  return errors;
}

struct TwoRuns {
  std::vector<TokenErrors> errors;
  std::vector<Window> windows;

  std::optional<TokenSummary> Summary(Positions positions) const {
    std::vector<const TokenErrors*> all;
    for (const TokenErrors& e : errors) all.push_back(&e);
    return Summarize(all, windows, positions);
  }
};

TwoRuns RunsOfFixture(const Json& fixture) {
  TwoRuns run;
  size_t begin = 0;
  for (const Json& window : fixture["windows"]) {
    const auto tokens = window["tokens"].get<std::vector<int32_t>>();
    run.errors.push_back(
        Compared(Flat(window["value"]), Flat(window["reference"]), tokens));
    run.errors.back().massive = window["massive"].get<std::vector<double>>();
    run.windows.push_back(
        {"text", begin, tokens, window["first"], window["end"]});
    begin += tokens.size();
  }
  return run;
}

TEST(TokenErrorsTest, EveryFigureOfAPositionIsNumpys) {
  const Json fixture = Fixture();
  const TwoRuns run = RunsOfFixture(fixture);
  for (size_t w = 0; w < run.errors.size(); ++w) {
    const TokenErrors& e = run.errors[w];
    const Json& positions = fixture["windows"][w]["positions"];
    ASSERT_EQ(e.positions(), positions.size());
    ASSERT_EQ(e.logp.size() + 1, positions.size());
    for (size_t p = 0; p < positions.size(); ++p) {
      const Json& expected = positions[p];
      ExpectNear(e.kl[p], expected["kl"], "kl");
      EXPECT_EQ(e.max_abs[p], expected["max_abs"].get<double>());
      EXPECT_EQ(e.top10[p], expected["top10"].get<double>());
      EXPECT_EQ(e.top[p], expected["top"].get<double>());
      EXPECT_EQ(e.reference_top[p], expected["reference_top"].get<double>());
      EXPECT_EQ(e.margin[p], expected["margin"].get<double>());
      EXPECT_EQ(e.flip_margin[p], expected["flip_margin"].get<double>());
      EXPECT_EQ(e.rank[p], expected["rank"].get<double>());
      if (p == e.logp.size()) continue;
      ExpectNear(e.logp[p], expected["logp"], "logp");
      ExpectNear(e.reference_logp[p], expected["reference_logp"],
                 "reference_logp");
    }
  }
}

void ExpectEstimate(const Estimate& value, const Json& expected,
                    const std::string& name) {
  ExpectNear(value.mean, expected["mean"], name);
  ExpectNear(value.token_error.value_or(kNaN), expected["token_error"], name);
  ExpectNear(value.replicate_error.value_or(kNaN), expected["replicate_error"],
             name);
}

TEST(TokenSummaryTest, EveryFigureIsNumpys) {
  const Json fixture = Fixture();
  const TwoRuns run = RunsOfFixture(fixture);
  for (const auto& [positions, name] :
       {std::make_pair(Positions::kAll, "all"),
        std::make_pair(Positions::kOrdinary, "ordinary")}) {
    SCOPED_TRACE(name);
    const auto summary = run.Summary(positions);
    const Json& expected = fixture[name];
    ASSERT_TRUE(summary.has_value() && summary->text.has_value());
    const TokenSummary::Text& text = *summary->text;
    EXPECT_EQ(summary->positions, expected["positions"].get<size_t>());
    EXPECT_EQ(text.tokens, expected["tokens"].get<size_t>());
    EXPECT_EQ(summary->flips, expected["flips"].get<size_t>());
    EXPECT_EQ(summary->worst_rank, expected["worst_rank"].get<double>());
    ExpectEstimate(summary->kl, expected["kl"], "kl");
    ExpectEstimate(summary->same_top, expected["same_top"], "same_top");
    ExpectEstimate(text.logp, expected["logp"], "logp");
    ExpectEstimate(text.reference_logp, expected["reference_logp"],
                   "reference_logp");
    ExpectEstimate(text.delta_logp, expected["delta_logp"], "delta_logp");
    ExpectEstimate(text.delta_p, expected["delta_p"], "delta_p");
    ExpectEstimate(text.k3, expected["k3"], "k3");
    ExpectEstimate(text.ratio, expected["ratio"], "ratio");
    ExpectEstimate(text.off_by_twice, expected["off_by_twice"], "off_by_twice");
    ExpectNear(text.perplexity, expected["perplexity"], "perplexity");
    ExpectNear(text.reference_perplexity, expected["reference_perplexity"],
               "reference_perplexity");
    ExpectNear(text.delta_logp_rms, expected["delta_logp_rms"], "rms");
    ExpectNear(text.delta_logp_max_abs, expected["delta_logp_max_abs"], "max");
    ExpectNear(text.delta_p_rms, expected["delta_p_rms"], "delta_p_rms");
    ExpectNear(summary->flip_margin_mean.value_or(kNaN),
               expected["flip_margin_mean"], "flip_margin_mean");
    ExpectNear(summary->flip_margin_max.value_or(kNaN),
               expected["flip_margin_max"], "flip_margin_max");
    ASSERT_EQ(summary->percentiles.size(), expected["percentiles"].size());
    for (size_t i = 0; i < summary->percentiles.size(); ++i) {
      const TokenPercentile& row = summary->percentiles[i];
      const Json& of = expected["percentiles"][i];
      EXPECT_EQ(row.percent, of["percent"].get<double>());
      ExpectNear(row.kl, of["kl"], "kl");
      ExpectNear(row.delta_logp.value_or(kNaN), of["delta_logp"], "logp");
      ExpectNear(row.delta_p.value_or(kNaN), of["delta_p"], "p");
    }
  }
}

TEST(TokenErrorsTest, DoNotDependOnTheThreads) {
  const Json window = Fixture()["windows"][1];
  const auto tokens = window["tokens"].get<std::vector<int32_t>>();
  const TokenErrors one =
      Compared(Flat(window["value"]), Flat(window["reference"]), tokens, 1);
  const TokenErrors two =
      Compared(Flat(window["value"]), Flat(window["reference"]), tokens, 2);
  EXPECT_EQ(one.kl, two.kl);
  EXPECT_EQ(one.logp, two.logp);
  EXPECT_EQ(one.rank, two.rank);
}

// A NaN is no prediction, and is told from a bad one.
TEST(TokenErrorsTest, NaNIsNoToken) {
  const TokenErrors in_value =
      Compared({0, kNaN, 2, 0, 1, 2}, {0, 1, 2, 0, 1, 2}, {1, 0});
  EXPECT_TRUE(in_value.flips(0));
  EXPECT_TRUE(std::isnan(in_value.top[0]));
  EXPECT_TRUE(std::isnan(in_value.flip_margin[0]));
  EXPECT_EQ(in_value.reference_top[0], 2);
  EXPECT_EQ(in_value.rank[0], 2);  // behind the NaN
  EXPECT_TRUE(std::isnan(in_value.kl[0]));
  EXPECT_TRUE(std::isnan(in_value.logp[0]));
  EXPECT_FALSE(in_value.flips(1));
  EXPECT_EQ(in_value.kl[1], 0);
  const TokenErrors in_reference = Compared({0, 1, 2}, {0, 1, kNaN}, {1});
  EXPECT_TRUE(in_reference.flips(0));
  EXPECT_TRUE(std::isnan(in_reference.reference_top[0]));
  EXPECT_TRUE(std::isnan(in_reference.rank[0]));
}

TEST(TokenSummaryTest, OneTokenAloneHasNoText) {
  TwoRuns run;
  run.errors = {Compared({0, 1, 2.5}, {0, 1, 2}, {1})};
  run.windows = {{"token", 0, {1}, 0, 1}};
  const auto summary = run.Summary(Positions::kAll);
  ASSERT_TRUE(summary.has_value());
  EXPECT_FALSE(summary->text.has_value());
  EXPECT_GT(summary->kl.mean, 0);
  EXPECT_FALSE(summary->kl.token_error.has_value());
  EXPECT_FALSE(summary->percentiles[0].delta_p.has_value());
  run.errors[0].massive = {1};
  EXPECT_FALSE(run.Summary(Positions::kOrdinary).has_value());
}

TEST(ReplicatesOfTest, AreThePromptsOrTheWindowsOfOne) {
  const Window first = {"a", 0, {1}, 0, 1}, more = {"a", 1, {1}, 0, 1};
  EXPECT_EQ(ReplicatesOf({first, more, more}), (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(ReplicatesOf({first, more, first, first, more}),
            (std::vector<size_t>{0, 0, 1, 2, 2}));
}

}  // namespace
}  // namespace ulpscope
