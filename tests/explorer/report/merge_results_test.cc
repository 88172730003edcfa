#include "explorer/report/merge_results.h"

#include <fstream>
#include <string>

#include "explorer/results/facts.h"
#include "explorer/results/results_json.h"
#include "explorer/store/merge.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Json = nlohmann::json;

Merge MadeMerge(size_t conflicts) {
  Merge merge;
  merge.written = 3;
  merge.shard = "into/shards/x.jsonl";
  merge.sources = {{"into", 0, 0, 0, {}},
                   {"store", 2, 5, 3, {"store/shards/a.jsonl: line 7: torn"}}};
  merge.kinds["error"] = {5, 3, 2, conflicts};
  for (size_t i = 0; i < conflicts; ++i) {
    merge.conflicts.push_back({"error",
                               "0123",
                               "synthetic:tiny",
                               "bf16",
                               "1,2",
                               {"layers/1/error/rmse", "1.5", ""},
                               {"a-1-x", "A CPU", "AVX2", "abc"},
                               {"b-1-x", "B CPU", "NEON", "abc"}});
  }
  return merge;
}

TEST(MergeResultsTest, IsOfItsSchema) {
  const Json schema = Json::parse(std::ifstream("docs/schema/merge.json"));
  for (const size_t conflicts : {0, 2}) {
    const Json json =
        Json::parse(ResultsJson(MergeResults("into", MadeMerge(conflicts))));
    EXPECT_THAT(SchemaFaults(schema, json), IsEmpty());
    EXPECT_THAT(json["conflicts"], SizeIs(conflicts));
    EXPECT_EQ(json["context"]["written"], 3);
    EXPECT_EQ(json["sources"][1]["name"], "store");
    EXPECT_EQ(json["kinds"][0]["checked"], 2);
  }
  const Json json =
      Json::parse(ResultsJson(MergeResults("into", MadeMerge(1))));
  EXPECT_EQ(json["conflicts"][0]["first_value"], "1.5");
  EXPECT_TRUE(json["conflicts"][0]["second_value"].is_null());
  EXPECT_EQ(json["conflicts"][0]["second_target"], "NEON");
  // Without a new record there is no new file.
  EXPECT_TRUE(Json::parse(ResultsJson(
      MergeResults("into", Merge())))["context"]["shard"]
                  .is_null());
}

TEST(MergeResultsTest, ReportNamesConflictsAndWhatWasSkipped) {
  const std::string none = MergeReport(MergeResults("into", MadeMerge(0)));
  EXPECT_THAT(none, Not(HasSubstr("Conflicts\n\n")));
  EXPECT_THAT(none, HasSubstr("store/shards/a.jsonl: line 7: torn"));
  const std::string some = MergeReport(MergeResults("into", MadeMerge(70)));
  for (const char* part : {"layers/1/error/rmse", "A CPU", "B CPU", "bf16",
                           "20 more are in conflicts.csv"}) {
    EXPECT_THAT(some, HasSubstr(part));
  }
  EXPECT_THAT(WholeText([](TextSink sink) {
                WriteFactsCsv(MergeResults("into", MadeMerge(1)), sink);
              }),
              HasSubstr("second_target"));
}

}  // namespace
}  // namespace ulpscope
