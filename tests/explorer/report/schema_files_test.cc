// docs/schema has the schema of what is written.

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/report/attribution_results.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/results_json.h"
#include "explorer/report/schema.h"
#include "explorer/report/sweep_results.h"
#include "explorer/report/tune_results.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;

// Every mode's results, of nothing.
std::vector<Results> Modes() {
  SweepOptions sweep;
  sweep.metric = &RankMetrics()[0];
  return {SweepResults({}, sweep, {}), AttributionTables({}, {}),
          DiagnosisResults({}, "", {}), TuneResults({}, {})};
}

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string SchemaPath(const std::string& mode) {
  return absl::StrCat("docs/schema/", mode, ".json");
}

// After a change of the fields, from the workspace's root:
//   ULPSCOPE_WRITE_SCHEMAS=1 bazel-bin/tests/explorer/report/schema_files_test
TEST(SchemaFilesTest, AreThoseOfTheFields) {
  for (const Results& results : Modes()) {
    const std::string path = SchemaPath(results.mode);
    const std::string schema = JsonSchema(results);
    if (std::getenv("ULPSCOPE_WRITE_SCHEMAS") != nullptr) {
      std::ofstream(path, std::ios::binary) << schema;
    }
    EXPECT_EQ(ReadFile(path), schema) << path;
  }
}

TEST(SchemaFilesTest, FieldsAreDescribedAndNamedOnce) {
  for (const Results& results : Modes()) {
    for (const Table& table : results.tables) {
      EXPECT_FALSE(table.about.empty()) << table.name;
      for (size_t c = 0; c < table.columns.size(); ++c) {
        EXPECT_FALSE(table.columns[c].about.empty()) << table.columns[c].name;
        EXPECT_EQ(table.Find(table.columns[c].name), c) << table.name;
      }
    }
  }
}

TEST(SchemaFilesTest, SweepsAreValid) {
  const auto schema = nlohmann::json::parse(ReadFile(SchemaPath("sweep")));
  MadeSweep sweep;
  const auto faults = [&] {
    return SchemaFaults(schema,
                        nlohmann::json::parse(ResultsJson(sweep.Made())));
  };
  EXPECT_THAT(faults(), IsEmpty());
  sweep.Stop(2);
  EXPECT_THAT(faults(), IsEmpty());
  sweep.Stop(0);
  EXPECT_THAT(faults(), IsEmpty());
}

}  // namespace
}  // namespace ulpscope
