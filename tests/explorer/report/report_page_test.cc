#include "explorer/report/report_page.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

size_t Count(absl::string_view text, absl::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != text.npos;
       at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

// What stands between the first `begin` and the next `end`.
std::string Between(const std::string& text, const std::string& begin,
                    const std::string& end) {
  const size_t from = text.find(begin);
  EXPECT_NE(from, text.npos) << begin;
  if (from == text.npos) return "";
  const size_t start = from + begin.size();
  return text.substr(start, text.find(end, start) - start);
}

std::string DataOf(const std::string& page) {
  return Between(page, "<script type=\"application/json\" id=\"results\">",
                 "</script");
}

Json AboutOf(const std::string& page) {
  return Json::parse(Between(page, "<template id=\"about\">", "</template"));
}

TEST(ReportPageTest, HasTheVeryTextOfItsResults) {
  const Results results = MadeSweep().Made();
  const std::string json = ResultsJson(results);
  const std::string data = DataOf(ReportPage(results));
  EXPECT_EQ(absl::StrReplaceAll(data, {{"\\u003c", "<"}}), json);
  EXPECT_EQ(Json::parse(data), Json::parse(json));
}

TEST(ReportPageTest, NeedsNothingButItself) {
  const std::string page = ReportPage(MadeSweep().Made());
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* other : {"://", "fetch(", "XMLHttpRequest", "import", "src=",
                            "href=\"", "unsafe-", "@RESULTS@", "@ABOUT@"}) {
    EXPECT_THAT(page, Not(HasSubstr(other)));
  }
  EXPECT_THAT(page, HasSubstr("<noscript>"));
  EXPECT_THAT(Between(page, "<noscript>", "</noscript>"),
              HasSubstr("report.md"));
}

TEST(ReportPageTest, AllowsOneStyleAndOneScript) {
  const std::string page = ReportPage(MadeSweep().Made());
  EXPECT_EQ(Count(page, "<script"), 2u);  // the data, which do not run, and it
  EXPECT_EQ(Count(page, "</script>"), 2u);
  EXPECT_EQ(Count(page, "<style"), 1u);
  EXPECT_EQ(Count(page, "'sha256-"), 2u);
  // 32 bytes in base64.
  EXPECT_EQ(Between(page, "script-src 'sha256-", "'").size(), 44u);
}

TEST(ReportPageTest, HostileNamesStayText) {
  for (const char* name :
       {"</script><img src=x onerror=alert(1)>", "<!--<script>", "@ABOUT@",
        "\\u003c", "]]></template><script>alert(1)</script>", "&lt;\\\\"}) {
    MadeSweep sweep;
    sweep.info.model = name;
    sweep.result.plans[0].plan = name;
    const std::string page = ReportPage(sweep.Made());
    EXPECT_EQ(Count(page, "<script"), 2u) << name;
    EXPECT_EQ(Count(page, "</script"), 2u) << name;
    EXPECT_EQ(Count(page, "<img"), 0u) << name;
    EXPECT_EQ(Count(page, "<!--"), 0u) << name;
    const Json data = Json::parse(DataOf(page));
    EXPECT_EQ(data["context"]["model"], name);
    EXPECT_EQ(data["plans"][0]["plan"], name);
  }
}

TEST(ReportPageTest, SaysWhatEveryColumnMeans) {
  const Results results = MadeSweep().Made();
  const Json about = AboutOf(ReportPage(results));
  EXPECT_EQ(about["left_out"], "");
  for (const Table& table : results.tables) {
    const Json& columns = about["tables"][table.name]["columns"];
    EXPECT_EQ(columns.size(), table.columns.size());
    for (const Column& column : table.columns) {
      EXPECT_EQ(columns[column.name]["about"], column.about);
      EXPECT_EQ(columns[column.name].value("title", ""), column.title);
      EXPECT_EQ(columns[column.name].value("unit", ""), UnitName(column.unit));
    }
  }
}

// As many plans and layers as the default sweep has, with every digit that
// figures can have.
TEST(ReportPageTest, DefaultSweepTakesLittle) {
  MadeSweep sweep;
  std::vector<PlanResult> plans;
  for (size_t i = 0; i < 27; ++i) {
    PlanResult plan = sweep.result.plans[i % 4];
    plan.plan = absl::StrCat("matmul=kahan,rmsnorm=kahan,softmax=", i);
    for (TraceMetrics* trace : {&plan.token, &plan.prompt}) {
      for (size_t layer = 6; layer <= 24; ++layer) {
        trace->layers.push_back(trace->layers[layer % 5]);
        trace->layers.back().layer = layer;
      }
    }
    plan.timing.decode.resize(10, 1.0 / 3);
    plan.timing.prefill.resize(10, 1.0 / 3);
    plans.push_back(plan);
  }
  sweep.result.plans = plans;
  EXPECT_LE(ReportPage(sweep.Made()).size(), size_t{3} << 19);
}

TEST(ReportPageTest, SaysWhatIsLeftOut) {
  const Results results = MadeSweep().Made();
  const size_t all = ResultsJson(results).size();
  EXPECT_EQ(AboutOf(ReportPage(results, 2 * all))["left_out"], "");
  const std::string page = ReportPage(results, all / 2);
  const Json data = Json::parse(DataOf(page)), about = AboutOf(page);
  EXPECT_LT(data["layers"].size(), results.Find("layers").rows.size());
  EXPECT_EQ(about["tables"]["layers"]["rows"],
            results.Find("layers").rows.size());
  EXPECT_THAT(std::string(about["left_out"]),
              HasSubstr("results.json, in this page's folder"));
  const Json none = AboutOf(ReportPage(results, 0));
  EXPECT_EQ(none["all_plans"]["plans"], 4);
  EXPECT_EQ(none["all_plans"]["left_out"][0]["first_rank"], 1);
  EXPECT_EQ(none["all_plans"]["timed"], 4);
  EXPECT_GT(none["all_plans"]["front"], 0);
  EXPECT_TRUE(none["all_plans"]["fastest"].is_string());
  EXPECT_EQ(none["all_plans"]["left_out"][0]["timed"], 1);
}

}  // namespace
}  // namespace ulpscope
