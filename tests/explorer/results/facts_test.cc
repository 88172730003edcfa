#include "explorer/results/facts.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Row {
  std::string plan;
  size_t layer = 0;
  std::optional<double> error;
  std::vector<double> growths = {};
  bool exact = false;
};

// Two keys, and a figure of each type.
Results Made() {
  const Fields<Row> fields = {
      {"plan", "", Unit::kNone, "A key.", &Row::plan},
      {"layer", "", Unit::kNone, "Another.", &Row::layer},
      {"error", "", Unit::kRelative, "A number.", &Row::error},
      {"growths", "", Unit::kRatio, "A list.", &Row::growths},
      {"exact", "", Unit::kNone, "A bool.", &Row::exact}};
  Table context = MakeSingle<Row>("context", "Where.", {}, nullptr);
  context.rows.emplace_back();
  AddValue(context, "model", Unit::kNone, "", std::string("it's, \"one\""));
  AddValue(context, "threads", Unit::kNone, "", size_t{2});
  AddValue(context, "load_seconds", Unit::kSeconds, "", 1.5);
  const std::vector<Row> rows = {{"f32", 1, 0.1, {2, kInf}, true},
                                 {"f32", 2, kNaN},
                                 {"f32", 3, std::nullopt}};
  return {"made", {context, MakeTable("layers", "", fields, rows)}};
}

std::string WrittenBy(void (*write)(const Results&, TextSink)) {
  return WholeText([&](TextSink sink) { write(Made(), sink); });
}

TEST(FactsTest, AFigureARow) {
  const Results results = Made();
  std::vector<std::string> found;
  ForEachFact(results, [&](const Fact& fact) {
    found.push_back(fact.column->name + std::to_string(fact.row) +
                    std::to_string(fact.index));
  });
  EXPECT_THAT(found, ElementsAre("error00", "growths01", "growths02", "exact00",
                                 "error10", "exact10", "error20", "exact20"));
}

TEST(FactsTest, JsonlTellsNumbersNaNAndNotMeasuredApart) {
  std::vector<Json> lines;
  for (const auto line :
       absl::StrSplit(WrittenBy(&WriteFactsJsonl), '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line));
  }
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[0], (Json{{"model", "it's, \"one\""},
                            {"threads", 2},
                            {"table", "layers"},
                            {"plan", "f32"},
                            {"layer", 1},
                            {"metric", "error"},
                            {"unit", "relative"},
                            {"value", 0.1},
                            {"text", nullptr}}));
  EXPECT_EQ(lines[1]["index"], 1);
  EXPECT_EQ(lines[1]["value"], 2.0);
  EXPECT_EQ(lines[2]["text"], "Infinity");
  EXPECT_EQ(lines[2]["value"], nullptr);
  EXPECT_EQ(lines[3]["value"], 1);  // true
  EXPECT_EQ(lines[4]["text"], "NaN");
  EXPECT_EQ(lines[6]["text"], nullptr);
  EXPECT_EQ(lines[6]["value"], nullptr);
}

TEST(FactsTest, CsvHasAColumnForEveryKey) {
  const std::vector<std::string> lines =
      absl::StrSplit(WrittenBy(&WriteFactsCsv), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines[0].rfind("model,threads,table,plan,", 0), 0u);
  EXPECT_EQ(lines[1].rfind("\"it's, \"\"one\"\"\",2,layers,f32,", 0), 0u);
  const auto fields = [&](const std::string& line) {
    return std::vector<std::string>(absl::StrSplit(line, ',')).size();
  };
  EXPECT_EQ(fields(lines[0]) + 1, fields(lines[1]));  // the model's comma
}

// What databases make of it: .ci/check_outputs.py.
TEST(FactsTest, SqlCreatesOnceAndInsertsInOneTransaction) {
  const std::vector<std::string> lines =
      absl::StrSplit(WrittenBy(&WriteFactsSql), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 11u);
  EXPECT_EQ(
      lines[0].rfind("CREATE TABLE IF NOT EXISTS results (\"model\" TEXT, "
                     "\"threads\" INTEGER, \"table\" TEXT, ",
                     0),
      0u);
  EXPECT_EQ(lines[1], "BEGIN;");
  EXPECT_EQ(lines[2].rfind("INSERT INTO results VALUES ('it''s, \"one\"',2,"
                           "'layers','f32',",
                           0),
            0u);
  EXPECT_EQ(lines[10], "COMMIT;");
}

}  // namespace
}  // namespace ulpscope
