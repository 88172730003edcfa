#include "explorer/phenomena/softmax_weights.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using Weights = std::vector<double>;

Matrix<const double> View(const Weights& weights, size_t heads) {
  return {weights.data(), heads, weights.size() / heads};
}

TEST(SoftmaxWeightsTest, TheLargestDifferenceOfEveryHead) {
  SoftmaxWeights found;
  const Weights first = {1, 1};
  const Weights reference = {0.25, 0.75, 0.5, 0.5};
  const Weights plan = {0.3, 0.7, 0.1, 0.9};
  found.AddReference(3, 0, View(first, 2));
  found.AddReference(3, 1, View(reference, 2));
  found.AddPlan(3, 0, View(first, 2));
  found.AddPlan(3, 1, View(plan, 2));
  const std::vector<MovedWeight> moved = found.Moved();
  ASSERT_THAT(moved, SizeIs(2));
  EXPECT_EQ(moved[0].head, 0u);
  EXPECT_EQ(moved[1].layer, 3u);
  EXPECT_EQ(moved[1].head, 1u);
  EXPECT_EQ(moved[1].position, 1u);
  EXPECT_EQ(moved[1].reference, 0.5);
  EXPECT_EQ(std::fabs(moved[1].plan - 0.5), 0.4);
}

TEST(SoftmaxWeightsTest, EqualRunsMoveNothingAndANanIsFurthest) {
  SoftmaxWeights found;
  const Weights same = {0.5, 0.5};
  found.AddReference(1, 1, View(same, 1));
  found.AddPlan(1, 1, View(same, 1));
  EXPECT_THAT(found.Moved(), IsEmpty());
  const Weights broken = {0, std::numeric_limits<double>::quiet_NaN()};
  found.AddReference(1, 2, View(same, 1));
  found.AddPlan(1, 2, View(broken, 1));
  ASSERT_THAT(found.Moved(), SizeIs(1));
  EXPECT_EQ(found.Moved()[0].key_position, 1u);
  EXPECT_TRUE(std::isnan(found.Moved()[0].plan));
}

// The mean is over the queries behind the key, and needs four of them.
TEST(SoftmaxWeightsTest, ASinkIsWhatMostQueriesLookAt) {
  SoftmaxWeights found;
  for (size_t position = 0; position < 6; ++position) {
    Weights weights(2 * (position + 1), 0);
    // Head 0 looks at position 1 once it is there, head 1 at itself.
    weights[position == 0 ? 0 : 1] = 1;
    weights[2 * position + 1] = 1;
    found.AddReference(2, position, View(weights, 2));
  }
  const std::vector<AttentionSink> sinks = found.Sinks();
  ASSERT_THAT(sinks, SizeIs(1));
  EXPECT_EQ(sinks[0].layer, 2u);
  EXPECT_EQ(sinks[0].head, 0u);
  EXPECT_EQ(sinks[0].key_position, 1u);
  EXPECT_EQ(sinks[0].queries, 4u);
  EXPECT_EQ(sinks[0].mean_weight, 1);
}

TEST(SoftmaxWeightsTest, FewQueriesAreNoSink) {
  SoftmaxWeights found;
  for (size_t position = 0; position < kLeastSinkQueries; ++position) {
    Weights weights(position + 1, 0);
    weights[0] = 1;
    found.AddReference(1, position, View(weights, 1));
  }
  EXPECT_THAT(found.Sinks(), IsEmpty());
}

}  // namespace
}  // namespace ulpscope
