#include "explorer/attribution/mechanisms.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/losses.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/checkpoint/weights.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MechanismsTest : public testing::Test {
 protected:
  MechanismsTest() : weights_(LoadedWeights("synthetic:tiny", parallel_)) {
    ErrorSet& set = sets_.whole.emplace();
    set.ops = {Op::kKProj, Op::kQk};
    set.first_layer = 1;
    set.last_layer = 2;
    phenomena_.positions = 4;
    // Half of a spacing of bf16 there: 4, and 0.5.
    phenomena_.large_scores = {
        {1, 0, 3, 2, 1456, 0.5, Format::kBF16},
        {1, 1, 2, 1, -200, 0.5, Format::kBF16},
        {2, 1, 2, 1, 20, 0.5, Format::kBF16},
        {3, 0, 3, 0, 2000, 0.5, Format::kBF16},
    };
    Headroom headroom;
    headroom.layer = 1;
    headroom.op = Op::kKProj;
    headroom.range.largest = 150;
    phenomena_.headrooms = {headroom};
    weights_.layers[0].k_bias.assign(
        static_cast<size_t>(weights_.config.kv_size()), 0.5);
    weights_.layers[0].k_bias.back() = -145;
  }

  std::vector<Mechanism> Found(MechanismKind kind) const {
    std::vector<Mechanism> some;
    for (const Mechanism& m :
         FindMechanisms(weights_, verdict_, &sets_, phenomena_)) {
      if (m.kind == kind) some.push_back(m);
    }
    return some;
  }

  Parallel parallel_;
  Weights weights_;
  Verdict verdict_;
  ErrorSets sets_;
  Phenomena phenomena_;
};

TEST_F(MechanismsTest, LargeScoresOfTheSetsLayers) {
  const auto scores = Found(MechanismKind::kLargeScores);
  ASSERT_THAT(scores, SizeIs(1));
  EXPECT_EQ(scores[0].first_layer, 1u);
  EXPECT_THAT(scores[0].heads, ElementsAre(0, 1));
  EXPECT_THAT(scores[0].positions, ElementsAre(2, 3));
  EXPECT_EQ(scores[0].value, 1456);
  EXPECT_NEAR(scores[0].ratio, 54.598, 1e-3);
}

TEST_F(MechanismsTest, TheKeyBiasThatMakesThem) {
  const auto biases = Found(MechanismKind::kKeyBias);
  ASSERT_THAT(biases, SizeIs(1));
  EXPECT_EQ(biases[0].value, -145);
  const size_t channel = weights_.layers[0].k_bias.size() - 1;
  EXPECT_THAT(biases[0].channels, ElementsAre(channel));
  EXPECT_THAT(
      biases[0].heads,
      ElementsAre(channel / static_cast<size_t>(weights_.config.head_dim)));
  // A bias that is a small part of the largest key does not.
  phenomena_.headrooms[0].range.largest = 1500;
  EXPECT_THAT(Found(MechanismKind::kKeyBias), IsEmpty());
}

// Where scores are small it does not matter what makes them.
TEST_F(MechanismsTest, ABiasMattersByItsScores) {
  phenomena_.large_scores = {{1, 0, 3, 2, 20, 0.5, Format::kBF16}};
  EXPECT_THAT(Found(MechanismKind::kLargeScores), IsEmpty());
  EXPECT_THAT(Found(MechanismKind::kKeyBias), IsEmpty());
}

TEST_F(MechanismsTest, TheLastLayerOfASetCounts) {
  phenomena_.large_scores = {{2, 0, 3, 2, 1456, 0.5, Format::kBF16}};
  const auto scores = Found(MechanismKind::kLargeScores);
  ASSERT_THAT(scores, SizeIs(1));
  EXPECT_EQ(scores[0].first_layer, 2u);
}

TEST_F(MechanismsTest, ScoresAreNoMechanismOfAnotherSource) {
  sets_.whole->ops = {Op::kDownProj};
  EXPECT_THAT(Found(MechanismKind::kLargeScores), IsEmpty());
  EXPECT_THAT(Found(MechanismKind::kKeyBias), IsEmpty());
}

TEST_F(MechanismsTest, MovedWeightsAndSinksThatQueriesLeave) {
  phenomena_.sinks = {{2, 1, 0, 5, 0.9}};
  phenomena_.moved_weights = {{1, 0, 3, 2, 0.9, 0.2},   // elsewhere
                              {1, 1, 3, 2, 0.5, 0.3},   // by little
                              {2, 1, 2, 0, 0.95, 0.1},  // from the sink
                              {4, 0, 1, 0, 1, 0}};      // in another layer
  const auto moved = Found(MechanismKind::kMovedWeights);
  ASSERT_THAT(moved, SizeIs(1));
  EXPECT_THAT(moved[0].heads, ElementsAre(0));
  EXPECT_NEAR(moved[0].value, -0.7, 1e-15);
  EXPECT_EQ(moved[0].ratio, 0.9);
  const auto sinks = Found(MechanismKind::kSink);
  ASSERT_THAT(sinks, SizeIs(1));
  EXPECT_EQ(sinks[0].first_layer, 2u);
  EXPECT_THAT(sinks[0].positions, ElementsAre(2));
  EXPECT_EQ(sinks[0].ratio, 0.9);
}

// What comes to a sink, or leaves another position of its head, has not left
// it.
TEST_F(MechanismsTest, ASinkIsOneOnlyWhereWeightsLeaveIt) {
  phenomena_.sinks = {{1, 0, 0, 5, 0.9}, {2, 1, 0, 5, 0.9}};
  phenomena_.moved_weights = {{1, 0, 3, 0, 0.1, 0.9}, {2, 1, 2, 1, 0.95, 0.1}};
  EXPECT_THAT(Found(MechanismKind::kSink), IsEmpty());
  EXPECT_THAT(Found(MechanismKind::kMovedWeights), SizeIs(2));
}

TEST_F(MechanismsTest, FlipsOfAChannelAreOne) {
  phenomena_.flips = {{62, 3, 6, true, 152, 9, 63},
                      {62, 1, 6, true, 151, 9, 60},
                      {7, 1, 2, false, 120, 4, 0}};
  const auto flips = Found(MechanismKind::kFlip);
  ASSERT_THAT(flips, SizeIs(2));
  EXPECT_THAT(flips[0].positions, ElementsAre(1, 3));
  EXPECT_THAT(flips[0].channels, ElementsAre(62));
  EXPECT_EQ(flips[0].value, 152);
  EXPECT_EQ(flips[0].ratio, 63.0 / 152);
  EXPECT_EQ(flips[1].first_layer, 2u);
  // One that is in the other run is another one.
  phenomena_.flips[1].in_plan = false;
  EXPECT_THAT(Found(MechanismKind::kFlip), SizeIs(3));
}

TEST_F(MechanismsTest, TokensThatChange) {
  phenomena_.near_ties = {{1, 5, 6, 0.5, 0.6, true},
                          {2, 5, 6, 0.5, 0.4, false},
                          {3, 5, 6, 0.1, 0.3, true}};
  const auto ties = Found(MechanismKind::kNearTie);
  ASSERT_THAT(ties, SizeIs(1));
  EXPECT_THAT(ties[0].positions, ElementsAre(1, 3));
  EXPECT_EQ(ties[0].value, 0.1);
  EXPECT_DOUBLE_EQ(ties[0].ratio, 3);
}

TEST_F(MechanismsTest, NothingOfAnExactPlan) {
  verdict_.exact = true;
  EXPECT_THAT(FindMechanisms(weights_, verdict_, &sets_, phenomena_),
              IsEmpty());
}

// A state that is 30 % off may move no logit, and a changed token matters
// however small its KL.
TEST_F(MechanismsTest, WhatPositionsLose) {
  std::vector<PositionError> errors(4);
  errors[0] = {true, 0.5, 0.3, 0, 1e-5};
  errors[1] = {false, 0.4, 0.2, 0.9, 0.95};
  errors[2] = {false, 0.1, 0.01, 0.1, 0.05};
  errors[3] = {false, 0, 0.01, 0, 1e-3};
  phenomena_.near_ties = {{3, 5, 6, 0.1, 0.3, true}};
  const std::vector<PositionLoss> losses = LossesOf(errors, phenomena_);
  ASSERT_THAT(losses, SizeIs(4));
  EXPECT_FALSE(losses[0].matters);
  EXPECT_TRUE(losses[1].matters);
  EXPECT_TRUE(losses[2].matters);
  EXPECT_TRUE(losses[3].matters);
  EXPECT_TRUE(losses[3].changes_token);
  EXPECT_TRUE(losses[1].has_most);
  EXPECT_FALSE(losses[2].has_most);
  EXPECT_NEAR(losses[1].kl_share, 0.95 / 1.00101, 1e-12);
}

TEST_F(MechanismsTest, FromWhichLossOnAPositionMatters) {
  std::vector<PositionError> errors(4);
  errors[0].kl = kMatters;
  errors[1].kl = kMatters * (1 - 0x1p-52);
  errors[2].kl = kMatters / 2;
  errors[3].kl = 0.9;
  // One that keeps its token, however near the tie.
  phenomena_.near_ties = {{2, 5, 6, 0.1, 0.09, false}};
  std::vector<PositionLoss> losses = LossesOf(errors, phenomena_);
  EXPECT_TRUE(losses[0].matters);
  EXPECT_FALSE(losses[1].matters);
  EXPECT_FALSE(losses[2].changes_token);
  EXPECT_FALSE(losses[2].matters);
  EXPECT_TRUE(losses[3].has_most);
  // 0.9 of 0.925 are most of it, and 0.9 of 1.02 are not.
  EXPECT_FALSE(losses[0].has_most);
  errors[0].kl = 0.12;
  losses = LossesOf(errors, phenomena_);
  EXPECT_TRUE(losses[3].has_most);
  EXPECT_TRUE(losses[0].has_most);
  EXPECT_FALSE(losses[1].has_most);
  // What is no number has no part, and is no reason to say that all is well.
  errors[1].kl = std::numeric_limits<double>::quiet_NaN();
  losses = LossesOf(errors, phenomena_);
  EXPECT_TRUE(losses[1].matters);
  for (const PositionLoss& loss : losses) EXPECT_FALSE(loss.has_most);
}

}  // namespace
}  // namespace ulpscope
