#include "explorer/report/phenomena_text.h"

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "explorer/phenomena/phenomena.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<std::string> TextsOf(const Phenomena& phenomena) {
  std::vector<std::string> texts;
  for (const NamedPhenomenon& named : NamesOf(phenomena)) {
    texts.push_back(named.text);
  }
  return texts;
}

Phenomena Nothing() {
  Phenomena nothing;
  nothing.positions = 2;
  return nothing;
}

Concentration ConcentrationOf(size_t layer, size_t channel, double top1,
                              double top8) {
  Concentration c;
  c.layer = layer;
  c.channels = 64;
  c.channel = channel;
  c.top1 = top1;
  c.top8 = top8;
  return c;
}

Bias BiasOf(size_t layer, size_t positive, size_t negative, double z_signs) {
  Bias b;
  b.layer = layer;
  b.mean = 0.25;
  b.rms = 2;
  b.positive = positive;
  b.negative = negative;
  b.z_signs = z_signs;
  return b;
}

Headroom HeadroomOf(size_t layer, Op op, std::vector<double> outputs) {
  Headroom h;
  h.layer = layer;
  h.op = op;
  h.range.Add({outputs.data(), 1, outputs.size()});
  return h;
}

MassiveChannel SeedsChannel() {
  MassiveChannel m;
  m.channel = 62;
  m.born = 3;
  m.born_op = Op::kMlpResidual;
  m.removed = 22;
  m.removed_op = Op::kMlpResidual;
  m.left = 16.71;
  m.value = 1666.77;
  m.value_layer = 21;
  m.ratio_to_median = 1395.6;
  return m;
}

TEST(NamesOfTest, NothingIsNotNamed) {
  EXPECT_THAT(NamesOf(Phenomena()), IsEmpty());
  EXPECT_THAT(NamesOf(Nothing()), IsEmpty());
}

TEST(NamesOfTest, MassiveChannels) {
  Phenomena p = Nothing();
  p.massive = {SeedsChannel()};
  const auto names = NamesOf(p);
  ASSERT_EQ(names.size(), 1u);
  EXPECT_STREQ(names[0].kind, "massive_channel");
  EXPECT_EQ(names[0].layer, 3u);
  EXPECT_EQ(names[0].text,
            "massive activation: channel 62 at position 0, born in layer 3 "
            "(mlp_residual), largest 1667 after layer 21 (1396x the median), "
            "removed in layer 22 (mlp_residual), which leaves 16.7");
}

TEST(NamesOfTest, MassiveFromTheEmbeddingToTheEnd) {
  MassiveChannel m;
  m.channel = 5;
  m.position = 2;
  m.value = -250.5;
  m.ratio_to_median = kInf;
  Phenomena p = Nothing();
  p.massive = {m};
  EXPECT_THAT(TextsOf(p),
              ElementsAre("massive activation: channel 5 at position 2, born "
                          "in the embedding, largest -250 in the embedding "
                          "(infx the median), still there after the last "
                          "layer"));
}

TEST(NamesOfTest, PositionsOfAChannelAreOneLineButSpellsAreNot) {
  MassiveChannel second = SeedsChannel();
  second.position = 7;
  second.value = 900;
  MassiveChannel stays = SeedsChannel();
  stays.position = 8;
  stays.removed = 0;
  MassiveChannel back = SeedsChannel();
  back.born = 23;
  back.removed = 0;
  Phenomena p = Nothing();
  p.massive = {SeedsChannel(), back, second, stays};
  const auto texts = TextsOf(p);
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_THAT(texts[0], testing::HasSubstr("position 0 (and 1 more), born in "
                                           "layer 3 (mlp_residual), largest "
                                           "1667"));
  EXPECT_THAT(texts[1], testing::HasSubstr("position 8, born in layer 3"));
  EXPECT_THAT(texts[2], testing::HasSubstr("position 0, born in layer 23"));
}

TEST(NamesOfTest, AddsThatCancel) {
  Phenomena p = Nothing();
  p.cancellations = {{21, Op::kMlpResidual, 1.99, 55, 56},
                     {22, Op::kMlpResidual, 59.575, 55.681, 1.8604},
                     {23, Op::kAttnResidual, kNaN, kNaN, kNaN},
                     {23, Op::kMlpResidual, kInf, 1, 0}};
  EXPECT_THAT(
      TextsOf(p),
      ElementsAre("layer 22's mlp_residual cancels: (|x| + |u|) / |x + u| = "
                  "59.6, the stream's std goes from 55.7 to 1.86",
                  "layer 23's mlp_residual cancels: (|x| + |u|) / |x + u| = "
                  "inf, the stream's std goes from 1 to 0"));
}

TEST(NamesOfTest, ConcentrationsInARowAreOneLine) {
  Phenomena p = Nothing();
  p.concentrations = {
      ConcentrationOf(0, 0, 0, 0),       ConcentrationOf(1, 6, 0.49, 0.89),
      ConcentrationOf(2, 6, 0.5, 0.6),   ConcentrationOf(3, 6, 0.995, 1),
      ConcentrationOf(4, 7, 0.75, 0.8),  ConcentrationOf(5, 7, 0.4, 0.9),
      ConcentrationOf(6, 7, 0.4, 0.95),  ConcentrationOf(8, 7, 0.4, 0.9),
      ConcentrationOf(9, 0, kNaN, kNaN), ConcentrationOf(10, 7, 0.4, 0.9)};
  EXPECT_THAT(
      TextsOf(p),
      ElementsAre("after layers 2-3, 50 to 99.5 % of the squared error is in "
                  "channel 6",
                  "after layer 4, 75 % of the squared error is in channel 7",
                  "after layers 5-6, 90 to 95 % of the squared error is in 8 "
                  "of 64 channels, most in channel 7",
                  "after layer 8, 90 % of the squared error is in 8 of 64 "
                  "channels, most in channel 7",
                  "after layer 10, 90 % of the squared error is in 8 of 64 "
                  "channels, most in channel 7"));
}

TEST(NamesOfTest, BiasesOfOneSideInARowAreOneLine) {
  Phenomena p = Nothing();
  p.biases = {BiasOf(1, 33, 31, 4.9), BiasOf(2, 60, 4, 5),
              BiasOf(3, 62, 2, 7.5),  BiasOf(4, 61, 3, 7.25),
              BiasOf(5, 2, 62, -7.5), BiasOf(6, 0, 0, kNaN)};
  const auto names = NamesOf(p);
  ASSERT_EQ(names.size(), 2u);
  EXPECT_STREQ(names[0].kind, "bias");
  EXPECT_EQ(names[0].layer, 2u);
  EXPECT_EQ(names[0].text,
            "after layers 2-4 the error is biased upwards: in 62 channels of "
            "64 after layer 3 (z = 7.5), its mean 0.25 where its rms is 2");
  EXPECT_EQ(names[1].text,
            "after layer 5 the error is biased downwards: in 62 channels of 64 "
            "after layer 5 (z = -7.5), its mean 0.25 where its rms is 2");
}

TEST(NamesOfTest, OverflowsOfAnOpInARowAreOneLine) {
  Phenomena p = Nothing();
  p.headrooms = {HeadroomOf(1, Op::kQk, {1}),
                 HeadroomOf(1, Op::kDownProj, {32752}),  // exactly 1 bit
                 HeadroomOf(2, Op::kQk, {1}),
                 HeadroomOf(2, Op::kDownProj, {70000}),
                 HeadroomOf(3, Op::kQk, {46317}),  // 65504 / sqrt(2)
                 HeadroomOf(3, Op::kDownProj, {-90000, 1}),
                 HeadroomOf(4, Op::kDownProj, {kInf}),
                 HeadroomOf(5, Op::kDownProj, {kNaN}),
                 HeadroomOf(0, Op::kLmHead, {1e5})};
  EXPECT_THAT(TextsOf(p),
              ElementsAre("layers 2-3's down_proj reaches 90000, which "
                          "overflows f16",
                          "layer 3's qk reaches 46317, which leaves f16 0.5 "
                          "bits of headroom",
                          "layer 4's down_proj reaches inf, which overflows "
                          "f16, overflows bf16, overflows f32",
                          "lm_head reaches 100000, which overflows f16"));
}

TEST(NamesOfTest, UnderflowsOfAnOpInARowAreOneLine) {
  Phenomena p = Nothing();
  p.headrooms = {
      HeadroomOf(1, Op::kSoftmax, {0.5, 0.5, 1e-9}),
      HeadroomOf(2, Op::kSoftmax, {1, 1e-9}),
      HeadroomOf(3, Op::kSoftmax, {1, 1e-9, 1e-10, 1e-11, 0, 0, 0, 0}),
      HeadroomOf(4, Op::kSoftmax, {1, 1e-40, 1e-41, 1e-42})};
  EXPECT_THAT(TextsOf(p),
              ElementsAre("layers 2-3's softmax underflows: of its outputs, up "
                          "to 75 % in f16 are below the smallest normal number",
                          "layer 4's softmax underflows: of its outputs, up to "
                          "75 % in f16, 75 % in bf16, 75 % in f32 are below "
                          "the smallest normal number"));
}

TEST(NamesOfTest, Breakdowns) {
  Phenomena p = Nothing();
  p.oracle_breakdown = Breakdown{2, Op::kPostNorm, 0, 7, kNaN};
  p.plan_breakdown = Breakdown{1, Op::kQk, 2, 5, -kInf};
  EXPECT_THAT(TextsOf(p),
              ElementsAre("the plan breaks down: the first output that is no "
                          "number is -inf, of layer 1's qk at position 2, "
                          "element 5",
                          "the oracle breaks down: the first output that is no "
                          "number is nan, of layer 2's post_norm at position "
                          "0, element 7"));
}

TEST(NamesOfTest, AreInTheOrderOfLayersThenOfKinds) {
  Phenomena p;
  p.positions = 1;
  p.massive = {SeedsChannel()};
  p.cancellations = {{2, Op::kAttnResidual, 3, 1, 1},
                     {3, Op::kMlpResidual, 3, 1, 1}};
  p.concentrations = {ConcentrationOf(3, 62, 1, 1)};
  p.biases = {BiasOf(3, 64, 0, 8)};
  p.headrooms = {HeadroomOf(0, Op::kEmbed, {1e-9}),
                 HeadroomOf(3, Op::kQk, {1e6}),
                 HeadroomOf(0, Op::kFinalNorm, {1e6})};
  p.plan_breakdown = Breakdown{3, Op::kQk, 0, 0, kInf};
  std::vector<std::string> kinds;
  for (const auto& named : NamesOf(p)) kinds.emplace_back(named.kind);
  EXPECT_THAT(kinds,
              ElementsAre("underflow", "softmax_over_one", "cancellation",
                          "breakdown", "massive_channel", "cancellation",
                          "concentration", "bias", "overflow", "overflow"));
}

}  // namespace
}  // namespace ulpscope
