// What JSON, CSV, Markdown and the schema make of the same rows.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "explorer/report/markdown.h"
#include "explorer/report/report_files.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Cat {
  std::string name;
  size_t lives = 0;
  std::optional<double> share;
  std::vector<double> growths = {};
};

Fields<Cat> CatFields() {
  return {{"name", "Name", Unit::kNone, "Its name.", &Cat::name},
          {"lives", "Lives", Unit::kNone, "How many.", &Cat::lives},
          {"share", "Share", Unit::kShare, "Of the milk.", &Cat::share},
          {"growths", "", Unit::kRatio, "A year each.", &Cat::growths}};
}

Results Cats(const std::vector<Cat>& cats) {
  Table context = MakeSingle<Cat>("context", "Where.", {}, nullptr);
  context.rows.emplace_back();
  for (const char* name : {"model", "cpu", "target"}) {
    AddValue(context, name, Unit::kNone, "", std::string(name) + ",x");
  }
  AddValue(context, "synthetic", Unit::kNone, "", true);
  AddValue(context, "threads", Unit::kNone, "", size_t{2});
  return {"zoo",
          {context, MakeTable("cats", "All of them.", CatFields(), cats),
           MakeSingle("oldest", "One.", CatFields(),
                      cats.empty() ? nullptr : &cats[0])}};
}

const std::vector<Cat>& Odd() {
  static const auto* cats = new std::vector<Cat>{
      {"a \"b\",\nc", 9, kNaN, {kInf, 1.5}},
      {"none", SIZE_MAX, std::nullopt},
      {"inf", 0, -kInf},
      {"\xff not UTF-8", 1, 0.1},
      {"third", 3, 1.0 / 3},
  };
  return *cats;
}

TEST(ResultsJsonTest, NaNInfinityAndNotMeasuredAreThreeThings) {
  const Json json = Json::parse(ResultsJson(Cats(Odd())));
  EXPECT_EQ(json["schema"], "ulpscope/zoo");
  EXPECT_EQ(json["version"], kSchemaVersion);
  EXPECT_EQ(json["cats"][0]["share"], "NaN");
  EXPECT_TRUE(json["cats"][1]["share"].is_null());
  EXPECT_EQ(json["cats"][2]["share"], "-Infinity");
  EXPECT_EQ(json["cats"][0]["growths"], Json({"Infinity", 1.5}));
}

TEST(ResultsJsonTest, KeepsEveryBit) {
  const Json json = Json::parse(ResultsJson(Cats(Odd())));
  EXPECT_EQ(json["cats"][4]["share"].get<double>(), 1.0 / 3);
  EXPECT_EQ(json["cats"][1]["lives"].get<uint64_t>(), SIZE_MAX);
  EXPECT_EQ(json["cats"][0]["name"], "a \"b\",\nc");
}

TEST(ResultsJsonTest, SingleRowIsAnObjectOrNull) {
  EXPECT_EQ(Json::parse(ResultsJson(Cats(Odd())))["oldest"]["lives"], 9);
  const Json json = Json::parse(ResultsJson(Cats({})));
  EXPECT_TRUE(json["oldest"].is_null());
  EXPECT_EQ(json["cats"], Json::array());
}

TEST(JsonSchemaTest, TakesWhatIsWritten) {
  const Json schema = Json::parse(JsonSchema(Cats({})));
  for (const std::vector<Cat>& cats : {Odd(), {}}) {
    EXPECT_THAT(SchemaFaults(schema, Json::parse(ResultsJson(Cats(cats)))),
                IsEmpty());
  }
}

TEST(JsonSchemaTest, RefusesAnythingElse) {
  const Json schema = Json::parse(JsonSchema(Cats({})));
  const Json good = Json::parse(ResultsJson(Cats(Odd())));
  const auto refuses = [&](const char* pointer, const Json& value) {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = value;
    EXPECT_THAT(SchemaFaults(schema, bad), Not(IsEmpty()))
        << pointer << " = " << value;
  };
  refuses("/version", kSchemaVersion + 1);
  refuses("/schema", "ulpscope/sweep");
  refuses("/cats/0/lives", nullptr);
  refuses("/cats/0/lives", 1.5);
  refuses("/cats/0/share", "nan");
  refuses("/cats/0/growths", Json::array({nullptr}));
  refuses("/cats/0/claws", 18);
  refuses("/dogs", Json::array());
  Json bad = good;
  bad["cats"][0].erase("share");
  EXPECT_THAT(SchemaFaults(schema, bad), Not(IsEmpty()));
}

TEST(ResultsCsvTest, HasTheContextAndTheFieldsQuoted) {
  const Results results = Cats(Odd());
  const std::string text = ResultsCsv(results.tables[0], results.tables[1]);
  const std::string start = "\"model,x\",true,\"cpu,x\",\"target,x\",2,";
  EXPECT_EQ(text,
            "model,synthetic,cpu,target,threads,name,lives,share,growths"
            "\n" +
                start + "\"a \"\"b\"\",\nc\",9,NaN,Infinity 1.5\n" + start +
                "none,18446744073709551615,,\n" + start + "inf,0,-Infinity,\n" +
                start + "\xff not UTF-8,1,0.10000000000000001,\n" + start +
                "third,3,0.33333333333333331,\n");
}

TEST(MarkdownTest, ShowsAskedColumnsOfAskedRows) {
  const Results results = Cats(Odd());
  const std::string text =
      Markdown(results.tables[1], {"share", "lives±share", "growths"},
               [](const std::vector<Value>& row) {
                 return row[1] != Value(int64_t{1});
               });
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_THAT(lines, ElementsAre("| Share | Lives | growths |", "|--:|--:|---|",
                                 "| NaN | 9 ± NaN | Infinity, 1.500x |",
                                 "| - | 18446744073709551615 |  |",
                                 "| -Infinity | 0 ± -Infinity |  |",
                                 "| 33.3 % | 3 ± 33.3 % |  |", ""));
}

TEST(ReportFilesTest, HasOneOfEachTable) {
  Results results = Cats(Odd());
  const auto names = [&results] {
    std::vector<std::string> found;
    for (const ReportFile& file : ReportFiles({"text", results})) {
      found.push_back(file.name);
    }
    return found;
  };
  EXPECT_THAT(names(), ElementsAre("report.md", "results.json", "cats.csv"));
  results.mode = "sweep";  // which has a page
  EXPECT_THAT(names(), ElementsAre("report.md", "results.json", "report.html",
                                   "cats.csv"));
}

TEST(FieldsTest, PartsThatAreMissingHaveNoFields) {
  struct Owner {
    const Cat* cat;
  };
  Fields<Owner> fields;
  AppendPart(fields, "cat_", CatFields(), true,
             [](const Owner& owner) { return owner.cat; });
  const Table table = MakeTable("owners", "", fields,
                                std::vector<Owner>{{nullptr}, {&Odd()[4]}});
  const size_t lives = table.Find("cat_lives");
  EXPECT_TRUE(table.columns[lives].optional);
  EXPECT_EQ(table.rows[0][lives], Value());
  EXPECT_EQ(table.rows[1][lives], Value(int64_t{3}));
}

}  // namespace
}  // namespace ulpscope
