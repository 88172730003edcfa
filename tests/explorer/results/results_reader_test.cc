#include "explorer/results/results_reader.h"

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/report/made_sweep.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A sweep with every kind of value, and its schema.
Results Made() {
  MadeSweep sweep;
  sweep.result.plans[0].token.layers[1].error.rel_l2 =
      std::numeric_limits<double>::quiet_NaN();
  sweep.result.plans[1].token.layers[1].error.rel_l2 =
      -std::numeric_limits<double>::infinity();
  sweep.result.plans[2].prompt.logits.reset();
  return sweep.Made();
}

std::vector<Results> Schemas() {
  Results schema = Made();
  for (Table& table : schema.tables) table.rows.clear();
  return {schema};
}

TEST(ResultsReaderTest, ReadsWhatIsWrittenBitForBit) {
  const std::string text = ResultsJson(Made());
  const auto read = ParseResults(text, "file", Schemas());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ResultsJson(*read), text);
  EXPECT_THAT(text, AllOf(HasSubstr("\"NaN\""), HasSubstr("\"-Infinity\"")));
}

TEST(ResultsReaderTest, ReadsAFolder) {
  const std::string path = WriteTestFile("results.json", ResultsJson(Made()));
  for (const std::string& of : {path, TestFolder()}) {
    const auto read = ReadResults(of, Schemas());
    EXPECT_TRUE(read.ok()) << read.status();
  }
  EXPECT_THAT(ReadResults(path + ".no", Schemas()).status().message(),
              HasSubstr(path + ".no"));
}

TEST(ResultsReaderTest, WhatIsNoResultsIsNamed) {
  const std::string text = ResultsJson(Made());
  const std::vector<std::pair<std::string, std::string>> spoiled = {
      {"", "file"},
      {"[]", "file"},
      {text.substr(0, text.size() / 2), "file"},
      {absl::StrReplaceAll(text, {{"ulpscope/sweep", "ulpscope/x"}}),
       "expected one of \"ulpscope/sweep\", found \"ulpscope/x\""},
      {absl::StrReplaceAll(text, {{"\"version\": 2", "\"version\": 3"}}),
       "\"version\": expected 2, found 3"},
      {absl::StrReplaceAll(text, {{"\"timings\"", "\"timing\""}}),
       "\"timings\" is missing"},
      {absl::StrReplaceAll(text, {{"\"pareto\"", "\"paretto\""}}),
       "\"plans\"[0]: \"pareto\" is missing"},
      {absl::StrReplaceAll(text, {{"\"rank\":1", "\"rank\":\"1\""}}),
       "\"plans\"[0]: \"rank\": \"1\" is no value of it"},
      {absl::StrReplaceAll(text, {{"\"rank\":1", "\"rank\":1,\"new\":2"}}),
       "\"plans\"[0]: unknown key \"new\""},
      {absl::StrReplaceAll(text, {{"\"phase\":\"decode\"", "\"phase\":null"}}),
       "\"phase\": null is no value of it"},
      {absl::StrCat("{\"part_of\": {\"layers\": 9},", text.substr(1)),
       "expected a whole results.json, found \"part_of\""},
      {absl::StrReplaceAll(text, {{"\"NaN\"", "\"nan\""}}),
       "\"rel_l2\": \"nan\" is no value of it"}};
  for (const auto& [json, message] : spoiled) {
    EXPECT_THAT(ParseResults(json, "file", Schemas()),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("file"), HasSubstr(message))));
  }
}

// Whatever is cut off, it is an error and nothing else.
TEST(ResultsReaderTest, CutOffAnywhereIsAnError) {
  const std::string text = ResultsJson(Made());
  for (size_t size = 0; size + 2 < text.size(); size += 97) {
    EXPECT_FALSE(ParseResults(text.substr(0, size), "file", Schemas()).ok());
  }
}

}  // namespace
}  // namespace ulpscope
