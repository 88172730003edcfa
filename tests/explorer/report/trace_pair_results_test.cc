// Two traces against each other, as JSON and in words.

#include "explorer/report/trace_pair_results.h"

#include <cstddef>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "explorer/diagnosis/trace_pair.h"
#include "explorer/report/trace_pair_text.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

PairPoint Made(size_t layer, Op op, PairOrigin origin) {
  PairPoint point;
  point.layer = layer;
  point.op = op;
  point.name_a = "x";
  point.name_b = "y\n";
  point.elements = 4;
  point.identical = origin == PairOrigin::kSame ? 4 : 1;
  point.compared = 3;
  point.distance = 0.25;
  point.inherited = 0;
  point.excess_b = kInf;
  point.origin = origin;
  return point;
}

TracePair MadePair() {
  TracePair pair;
  pair.path_a = "A";
  pair.path_b = "B";
  pair.tokens = {1, 2};
  pair.num_layers = 3;
  pair.points = {Made(0, Op::kEmbed, PairOrigin::kSame),
                 Made(2, Op::kRope, PairOrigin::kAddedByB),
                 Made(2, Op::kMlpResidual, PairOrigin::kInherited)};
  pair.points[1].nonfinite_b = 2;
  pair.first_different = pair.first_added = pair.first_nonfinite_b = 1;
  PairDifference difference;
  difference.point = 1;
  difference.heads = {1, 4, {3}};
  difference.head = 3;
  difference.value_b = kNaN;
  pair.difference = difference;
  PairState state;
  state.layer = 2;
  state.a_to_oracle = 1e-3;
  state.b_to_oracle = 1e-2;
  pair.states = {state, PairState()};
  pair.nearer_to_oracle = 1;
  pair.not_measured_b = {{"z", "why"}};
  return pair;
}

Json ParseJson(const TracePair& pair) {
  return Json::parse(ResultsJson(TracePairResults({}, pair)));
}

TEST(TracePairResultsTest, AreValid) {
  std::stringstream text;
  text << std::ifstream("docs/schema/trace_pair.json").rdbuf();
  const Json schema = Json::parse(text.str());
  for (const TracePair& pair : {MadePair(), TracePair()}) {
    EXPECT_THAT(SchemaFaults(schema, ParseJson(pair)), IsEmpty());
  }
}

TEST(TracePairResultsTest, HaveWhatWasFound) {
  const Json json = ParseJson(MadePair());
  EXPECT_EQ(json["pair"]["outcome"], "differs");
  EXPECT_EQ(json["pair"]["added_by"], "b");
  EXPECT_EQ(json["pair"]["nearer_to_oracle"], "a");
  EXPECT_EQ(json["pair"]["first_not_finite_b"], 1);
  EXPECT_TRUE(json["pair"]["first_not_finite_a"].is_null());
  EXPECT_EQ(json["pair_points"][1]["identical"], 0.25);
  EXPECT_EQ(json["pair_points"][1]["excess_b"], "Infinity");
  EXPECT_EQ(json["pair_points"][2]["origin"], "inherited");
  EXPECT_TRUE(json["pair_points"][0]["added_a"].is_null());
  EXPECT_EQ(json["pair_difference"]["heads_first"], Json({3}));
  EXPECT_EQ(json["pair_difference"]["value_b"], "NaN");
  EXPECT_EQ(json["pair_states"][0]["nearer"], "a");
  EXPECT_TRUE(json["pair_states"][1]["nearer"].is_null());
  EXPECT_EQ(json["not_measured"][0]["whose"], "b");
}

TEST(TracePairResultsTest, Outcomes) {
  TracePair pair = MadePair();
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kDiffers);
  pair.first_added.reset();
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kRounding);
  pair.first_different.reset();
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kSame);
  pair.points.clear();
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kNothingShared);
  pair.stopped_in = "the comparison";
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kStopped);
}

TEST(TracePairResultsTest, SentencesNameThePlace) {
  const std::vector<std::string> sentences = Sentences(MadePair());
  EXPECT_THAT(sentences[0], HasSubstr("part at rope in layer 2: B computes"));
  EXPECT_THAT(sentences[2], HasSubstr("1 of 4 heads (3)"));
  EXPECT_THAT(sentences[3],
              HasSubstr("B is not finite from rope in layer 2 on: 2 of 4"));
  EXPECT_THAT(TracePairReport({}, MadePair(), TracePairResults({}, MadePair())),
              HasSubstr("added_by_b"));
}

}  // namespace
}  // namespace ulpscope
