#include "explorer/report/tune_results.h"

#include <cstddef>
#include <fstream>
#include <string>
#include <utility>

#include "explorer/error/evaluation.h"
#include "explorer/results/results_json.h"
#include "explorer/tuning/proof.h"
#include "explorer/tuning/tune.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/tuning.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

// Of one tuning that gains and one that does not.
TuneOutcome MadeOutcome() {
  TuneOutcome outcome;
  for (const bool gains : {true, false}) {
    TunedMatMul tuned;
    tuned.matmul.key.weights = *FindBlockType("Q4_K");
    tuned.matmul.key.shape = ShapeClass::Of(1, gains ? 100 : 200, 256);
    tuned.matmul.m = 1;
    tuned.matmul.n = gains ? 100 : 200;
    tuned.matmul.k = 256;
    tuned.matmul.ops = {"q_proj", "o_proj"};
    tuned.result.best.prefetch_steps = 64;
    tuned.result.default_seconds = 3e-3;
    tuned.result.best_seconds = 2e-3;
    tuned.result.worst_seconds = 6e-3;
    tuned.kept = gains;
    outcome.tuned.push_back(tuned);
    Proof proof;
    proof.plan = "f32";
    proof.phase = gains ? Phase::kDecode : Phase::kPrefill;
    proof.tuned_seconds = {0.1, 0.2, 0.3};
    proof.default_seconds = {0.2, 0.4, 0.6};
    proof.tuned_rate = Spread{5, 1};
    proof.default_rate = Spread{2.5, 0.5};
    proof.speedup = Spread{2, 0.25};
    proof.gains = gains;
    outcome.proofs.push_back(std::move(proof));
  }
  return outcome;
}

Json WrittenOf(const TuneOutcome& outcome) {
  return Json::parse(ResultsJson(TuneResults(MadeRunInfo(), outcome)));
}

TEST(TuneResultsTest, HaveWhatIsNotKeptAndEveryRun) {
  const Json written = WrittenOf(MadeOutcome());
  const Json& tunings = written["tunings"];
  ASSERT_EQ(tunings.size(), 2u);
  EXPECT_EQ(tunings[0]["kept"], true);
  EXPECT_EQ(tunings[1]["kept"], false);
  for (const Json& tuning : tunings) {
    EXPECT_EQ(tuning["weights"], "Q4_K");
    EXPECT_EQ(tuning["chosen"], "prefetch_steps=64");
    EXPECT_EQ(tuning["default_by_best"], 1.5);
  }
  const Json& proofs = written["proofs"];
  ASSERT_EQ(proofs.size(), 2u);
  EXPECT_EQ(proofs[0]["phase"], "decode");
  EXPECT_EQ(proofs[0]["tuned_tokens_per_second"], 5);
  EXPECT_EQ(proofs[0]["default_tokens_per_second_half_iqr"], 0.5);
  EXPECT_EQ(proofs[0]["speedup"], 2);
  EXPECT_EQ(proofs[0]["speedup_half_iqr"], 0.25);
  EXPECT_EQ(proofs[0]["runs"], 3);
  EXPECT_EQ(proofs[0]["gains"], true);
  EXPECT_EQ(proofs[1]["phase"], "prefill");
  EXPECT_EQ(proofs[1]["gains"], false);
  const Json& runs = written["proof_timings"];
  ASSERT_EQ(runs.size(), 12u);
  EXPECT_EQ(runs[1], (Json{{"plan", "f32"},
                           {"phase", "decode"},
                           {"kind", "tuned"},
                           {"run", 2},
                           {"seconds", 0.2}}));
  EXPECT_EQ(runs[5]["kind"], "default");
  EXPECT_EQ(runs[5]["seconds"], 0.6);
}

// Finished, stopped on the way, and before anything.
TEST(TuneResultsTest, AreValid) {
  const Json schema =
      Json::parse(std::ifstream("docs/schema/tune.json", std::ios::binary));
  TuneOutcome outcome = MadeOutcome();
  EXPECT_THAT(SchemaFaults(schema, WrittenOf(outcome)), IsEmpty());
  outcome.stopped_in = "the proof";
  outcome.proofs[1] = {"f32", Phase::kPrefill, {}, {}, {}, {}, {}, {}};
  const Json stopped = WrittenOf(outcome);
  EXPECT_THAT(SchemaFaults(schema, stopped), IsEmpty());
  EXPECT_EQ(stopped["context"]["stopped_in"], "the proof");
  EXPECT_TRUE(stopped["proofs"][1]["gains"].is_null());
  EXPECT_TRUE(stopped["proofs"][1]["speedup"].is_null());
  outcome = {};
  outcome.stopped_in = "the search";
  EXPECT_THAT(SchemaFaults(schema, WrittenOf(outcome)), IsEmpty());
}

}  // namespace
}  // namespace ulpscope
