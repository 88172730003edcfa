#include "explorer/phenomena/massive_channel.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "explorer/error/massive.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr Op kAttn = Op::kAttnResidual;
constexpr Op kMlp = Op::kMlpResidual;

Matrix<const double> View(const std::vector<double>& values, size_t rows) {
  return {values.data(), rows, values.size() / rows};
}

class MassiveChannelsTest : public testing::Test {
 protected:
  // One position of five channels, of which the median magnitude is 1 whatever
  // the fifth.
  void See(size_t layer, Op op, double x) {
    channels_.Add(layer, op, 0, View({1, -1, 2, -0.5, x}, 1));
  }
  void SeeRow(size_t layer, Op op, const std::vector<double>& row) {
    channels_.Add(layer, op, 0, View(row, 1));
  }
  std::vector<MassiveChannel> Found() const { return channels_.Found(); }

  MassiveChannels channels_;
};

TEST_F(MassiveChannelsTest, SaysWhereItIsBornLargestAndRemoved) {
  See(0, Op::kEmbed, 0.5);
  See(1, kAttn, 1);
  See(1, kMlp, 20);
  See(2, kAttn, 20);
  See(2, kMlp, -500);
  See(3, kAttn, -501);
  See(3, kMlp, -800);
  See(4, kAttn, -800);
  See(4, kMlp, -790);
  See(5, kAttn, -810);  // within a layer
  See(5, kMlp, 3);
  See(6, kAttn, 3);
  const auto found = Found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].channel, 4u);
  EXPECT_EQ(found[0].position, 0u);
  EXPECT_EQ(found[0].born, 2u);
  EXPECT_EQ(found[0].born_op, kMlp);
  EXPECT_EQ(found[0].removed, 5u);
  EXPECT_EQ(found[0].removed_op, kMlp);
  EXPECT_EQ(found[0].left, 3);
  EXPECT_EQ(found[0].value, -800);
  EXPECT_EQ(found[0].value_layer, 3u);
  EXPECT_EQ(found[0].ratio_to_median, 800);
}

TEST_F(MassiveChannelsTest, AttentionCanMakeAndRemoveIt) {
  See(0, Op::kEmbed, 1);
  See(1, kAttn, 900);
  See(1, kMlp, 800);  // the largest after a layer
  See(2, kAttn, 4);
  See(2, kMlp, 4);
  const auto found = Found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].born, 1u);
  EXPECT_EQ(found[0].born_op, kAttn);
  EXPECT_EQ(found[0].removed, 2u);
  EXPECT_EQ(found[0].removed_op, kAttn);
  EXPECT_EQ(found[0].left, 4);
  EXPECT_EQ(found[0].value, 800);
  EXPECT_EQ(found[0].value_layer, 1u);
}

TEST_F(MassiveChannelsTest, OneWithinALayerIsSeen) {
  See(1, kAttn, 300);
  See(1, kMlp, 2);
  const auto found = Found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].value, 300);
  EXPECT_EQ(found[0].value_layer, 1u);
  EXPECT_EQ(found[0].removed, 1u);
}

TEST_F(MassiveChannelsTest, OneBornInTheEmbeddingAndNeverRemoved) {
  See(0, Op::kEmbed, 400);
  See(1, kAttn, 410);
  See(1, kMlp, 399);
  const auto found = Found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].born, 0u);
  EXPECT_EQ(found[0].born_op, Op::kEmbed);
  EXPECT_EQ(found[0].removed, 0u);
  EXPECT_EQ(found[0].value, 400);
  EXPECT_EQ(found[0].value_layer, 0u);
}

TEST_F(MassiveChannelsTest, NeedsBothTheMagnitudeAndTheRatio) {
  SeeRow(1, kMlp, {1e-3, 1e-3, 1e-3, 1e-3, kMassiveMagnitude});
  EXPECT_TRUE(Found().empty());
  const double below = std::nextafter(2 * kMassiveRatio, 0.0);
  SeeRow(2, kMlp, {2, 2, 2, 2, below});
  EXPECT_TRUE(Found().empty());
  SeeRow(3, kMlp, {2, 2, 2, 2, 2 * kMassiveRatio});
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].ratio_to_median, kMassiveRatio);
}

TEST_F(MassiveChannelsTest, HoveringAboutTheThresholdIsOneSpell) {
  for (size_t layer = 1; layer <= 6; ++layer) {
    See(layer, kMlp, layer % 2 == 1 ? 101 : 51);
  }
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].removed, 0u);
  See(7, kMlp, 49);
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].removed, 7u);
  See(8, kMlp, 60);  // not born again by that
  EXPECT_EQ(Found().size(), 1u);
}

TEST_F(MassiveChannelsTest, OneThatComesBackIsTwo) {
  See(2, kMlp, 600);
  See(3, kMlp, 10);
  See(5, kMlp, -2000);
  const auto found = Found();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].value, -2000);  // the largest first
  EXPECT_EQ(found[0].born, 5u);
  EXPECT_EQ(found[0].removed, 0u);
  EXPECT_EQ(found[1].value, 600);
  EXPECT_EQ(found[1].born, 2u);
  EXPECT_EQ(found[1].removed, 3u);
}

TEST_F(MassiveChannelsTest, ChannelsAndPositionsAreTheirOwn) {
  // Channel 0 in both positions, channel 2 in the second.
  const std::vector<double> first = {-300, 1, 1, 1, 1, 1, 300, 1, 500, 1, 1, 1};
  channels_.Add(1, kMlp, 3, View(first, 2));
  const std::vector<double> second = {1, 1, 1, 1, 1, 1, 300, 1, 500, 1, 1, 1};
  channels_.Add(2, kMlp, 3, View(second, 2));
  const auto found = Found();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].position, 4u);
  EXPECT_EQ(found[0].channel, 2u);
  EXPECT_EQ(found[0].removed, 0u);
  EXPECT_EQ(found[1].position, 3u);  // of equal ones the first
  EXPECT_EQ(found[1].channel, 0u);
  EXPECT_EQ(found[1].removed, 2u);
  EXPECT_EQ(found[2].position, 4u);
  EXPECT_EQ(found[2].channel, 0u);
  EXPECT_EQ(found[2].removed, 0u);
}

TEST_F(MassiveChannelsTest, MedianIsOfThePositionsOwnState) {
  // The second position is 100 times the first: 300 is nothing there.
  channels_.Add(1, kMlp, 0, View({300, 1, 1, 300, 100, 100}, 2));
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].position, 0u);
  EXPECT_EQ(Found()[0].ratio_to_median, 300);
}

TEST_F(MassiveChannelsTest, MedianOfAnEvenCountIsTheLower) {
  SeeRow(1, kMlp, {1, 4, 1, 150});
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].ratio_to_median, 150);
}

TEST_F(MassiveChannelsTest, OneChannelIsItsOwnMedian) {
  SeeRow(1, kMlp, {1e9});
  EXPECT_TRUE(Found().empty());
}

TEST_F(MassiveChannelsTest, NothingIsMassiveInZeros) {
  SeeRow(0, Op::kEmbed, {0, 0, 0, 0});
  EXPECT_TRUE(Found().empty());
  SeeRow(1, kMlp, {0, 0, 0, 99});
  EXPECT_TRUE(Found().empty());
  SeeRow(2, kMlp, {0, 0, 0, 101});
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].ratio_to_median, kInf);
}

TEST_F(MassiveChannelsTest, NaNEndsASpellAndCountsAsLargeInTheMedian) {
  See(1, kMlp, 700);
  See(2, kMlp, kNaN);
  auto found = Found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].removed, 2u);
  EXPECT_TRUE(std::isnan(found[0].left));
  EXPECT_EQ(found[0].value, 700);
  // With the NaN at the bottom the median would be 1, and 150 massive.
  SeeRow(3, kMlp, {1, 1, 150, kNaN, 2, 2});
  EXPECT_EQ(Found().size(), 1u);
  // Most are NaN: no median.
  SeeRow(4, kMlp, {1, 1e9, kNaN, kNaN, kNaN});
  SeeRow(5, kMlp, {kInf, kInf, kInf});
  EXPECT_EQ(Found().size(), 1u);
}

TEST_F(MassiveChannelsTest, InfinityIsMassive) {
  See(1, kMlp, -kInf);
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].value, -kInf);
  EXPECT_EQ(Found()[0].ratio_to_median, kInf);
}

TEST_F(MassiveChannelsTest, RowsApartAreReadAsRows) {
  const std::vector<double> padded = {1, 1, 1, 1e6, 1, 1, 400, 1e6};
  channels_.Add(1, kMlp, 0, {padded.data(), 2, 3, 4});
  ASSERT_EQ(Found().size(), 1u);
  EXPECT_EQ(Found()[0].position, 1u);
  EXPECT_EQ(Found()[0].channel, 2u);
}

// However large: the largest of 4096 Gaussians is some 6 times their median.
TEST_F(MassiveChannelsTest, GaussianStatesHaveNone) {
  Random random(1);
  std::vector<double> state(8 * 4096);
  for (double& x : state) x = 1e6 * random.Gaussian();
  channels_.Add(1, kMlp, 0, View(state, 8));
  EXPECT_TRUE(Found().empty());
}

}  // namespace
}  // namespace ulpscope
