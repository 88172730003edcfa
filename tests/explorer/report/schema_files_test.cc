// docs/schema has the schema of what is written.

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/report/mode_schemas.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string SchemaPath(const std::string& mode) {
  return absl::StrCat("docs/schema/", mode, ".json");
}

// After a change of the fields, from the workspace's root:
//   ULPSCOPE_WRITE_SCHEMAS=1 bazel-bin/tests/explorer/results/schema_files_test
TEST(SchemaFilesTest, AreThoseOfTheFields) {
  for (const Results& results : ModeSchemas()) {
    const std::string path = SchemaPath(results.mode);
    const std::string schema = JsonSchema(results);
    if (std::getenv("ULPSCOPE_WRITE_SCHEMAS") != nullptr) {
      std::ofstream(path, std::ios::binary) << schema;
    }
    EXPECT_EQ(ReadFile(path), schema) << path;
  }
}

TEST(SchemaFilesTest, FieldsAreDescribedAndNamedOnce) {
  for (const Results& results : ModeSchemas()) {
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
