#include "explorer/report/google_benchmark.h"

#include <limits>
#include <string>
#include <vector>

#include "explorer/report/tune_results.h"
#include "explorer/results/schema.h"
#include "explorer/tuning/proof.h"
#include "explorer/tuning/tune.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Json = nlohmann::json;

// What its JSON reporter writes of an iteration, and compare.py reads.
const Json& Schema() {
  static const auto* schema = new Json(Json::parse(R"({
    "type": "object",
    "additionalProperties": false,
    "required": ["context", "benchmarks"],
    "properties": {
      "context": {"type": "object"},
      "benchmarks": {"type": "array", "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "family_index", "per_family_instance_index",
                     "run_name", "run_type", "repetitions", "repetition_index",
                     "threads", "iterations", "real_time", "cpu_time",
                     "time_unit"],
        "properties": {
          "name": {"type": "string"},
          "family_index": {"type": "integer"},
          "per_family_instance_index": {"type": "integer"},
          "run_name": {"type": "string"},
          "run_type": {"const": "iteration"},
          "repetitions": {"type": "integer"},
          "repetition_index": {"type": "integer"},
          "threads": {"type": "integer"},
          "iterations": {"type": "integer"},
          "real_time": {"type": "number"},
          "cpu_time": {"type": "number"},
          "time_unit": {"enum": ["ns", "us", "ms", "s"]},
          "label": {"type": "string"}}}}}})"));
  return *schema;
}

Json Written(const Results& results) {
  Json json = Json::parse(GoogleBenchmarkJson(results));
  EXPECT_THAT(SchemaFaults(Schema(), json), IsEmpty());
  return json;
}

std::vector<std::string> Names(const Json& json) {
  std::vector<std::string> names;
  for (const Json& run : json["benchmarks"]) names.push_back(run["name"]);
  return names;
}

TEST(GoogleBenchmarkTest, EveryRunOfASweepIsAnIteration) {
  MadeSweep sweep;
  const Json json = Written(sweep.Made());
  // Of four plans two runs of decoding and one of prefilling.
  ASSERT_EQ(json["benchmarks"].size(), 12u);
  for (const auto& plan : sweep.result.plans) {
    std::vector<double> decode;
    for (const Json& run : json["benchmarks"]) {
      EXPECT_EQ(run["cpu_time"], 0);
      EXPECT_EQ(run["label"], "SYNTHETIC weights");
      EXPECT_EQ(run["threads"], 3);
      if (run["name"] != "decode/" + plan.plan) continue;
      EXPECT_EQ(run["repetitions"], 2);
      EXPECT_EQ(run["repetition_index"], decode.size());
      EXPECT_EQ(run["time_unit"], "ns");
      decode.push_back(run["real_time"].get<double>());
    }
    EXPECT_THAT(decode, ElementsAre(plan.timing.decode[0] * 1e9,
                                    plan.timing.decode[1] * 1e9));
  }
  EXPECT_EQ(json["context"]["model"], "synthetic:tiny");
  EXPECT_EQ(json["context"]["synthetic"], "true");
  EXPECT_EQ(json["context"]["target"], "AVX2");
}

TEST(GoogleBenchmarkTest, WhatWasNotTimedIsNotThere) {
  MadeSweep sweep;
  sweep.info.synthetic = false;
  sweep.result.plans.resize(2);
  sweep.result.plans[0].timing = {};
  sweep.result.plans[1].timing.decode = {
      std::numeric_limits<double>::quiet_NaN(), 2};
  const Json json = Written(sweep.Made());
  const std::string plan = sweep.result.plans[1].plan;
  EXPECT_THAT(Names(json), ElementsAre("prefill/" + plan, "decode/" + plan));
  EXPECT_EQ(json["benchmarks"][1]["real_time"], 2e9);
  EXPECT_FALSE(json["benchmarks"][1].contains("label"));
  sweep.Stop(2);
  EXPECT_THAT(Names(Written(sweep.Made())), IsEmpty());
}

TEST(GoogleBenchmarkTest, ProofsAreTunedAndDefault) {
  TuneOutcome outcome;
  Proof& proof = outcome.proofs.emplace_back();
  proof.plan = "f32";
  proof.phase = Phase::kDecode;
  proof.tuned_seconds = {0.5};
  proof.default_seconds = {0.75, 1};
  const Json json = Written(TuneResults(MadeRunInfo(), outcome));
  EXPECT_THAT(Names(json), ElementsAre("decode/f32/tuned", "decode/f32/default",
                                       "decode/f32/default"));
  EXPECT_EQ(json["benchmarks"][0]["family_index"], 0);
  EXPECT_EQ(json["benchmarks"][2]["family_index"], 1);
  EXPECT_EQ(json["benchmarks"][2]["repetition_index"], 1);
  EXPECT_EQ(json["benchmarks"][2]["real_time"], 1e9);
}

}  // namespace
}  // namespace ulpscope
