#include "explorer/report/phenomena_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/phenomena_tables.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Truly;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// A line's layers, op, channel (-1: none) and figure.
auto Is(size_t layer, size_t last_layer, Op op, int channel, double figure) {
  return Truly([=](const NamedPhenomenon& n) {
    return n.layer == layer && n.last_layer == last_layer && n.op == op &&
           n.channel.value_or(SIZE_MAX) == static_cast<size_t>(channel) &&
           (n.figure == figure || (std::isnan(n.figure) && std::isnan(figure)));
  });
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

TEST(NamesOfTest, PositionsOfAChannelAreOneLineButSpellsAreNot) {
  MassiveChannel second = SeedsChannel();
  second.position = 7;
  second.value = 900;
  MassiveChannel stays = SeedsChannel();
  stays.removed = 0;
  stays.value = -800;
  MassiveChannel back = SeedsChannel();
  back.born = 23;
  back.removed = 0;
  MassiveChannel embedded;
  embedded.channel = 5;
  embedded.value = -250.5;
  Phenomena p = Nothing();
  p.massive = {SeedsChannel(), back, second, stays, embedded};
  EXPECT_THAT(NamesOf(p),
              ElementsAre(Is(0, 0, Op::kEmbed, 5, -250.5),
                          Is(3, 3, Op::kMlpResidual, 62, 1666.77),
                          Is(3, 3, Op::kMlpResidual, 62, -800),
                          Is(23, 23, Op::kMlpResidual, 62, 1666.77)));
  EXPECT_STREQ(NamesOf(p)[0].kind, "massive_channel");
}

TEST(NamesOfTest, AddsThatCancel) {
  Phenomena p = Nothing();
  p.cancellations = {{21, Op::kMlpResidual, 1.99, 55, 56},
                     {22, Op::kAttnResidual, 59.575, 55.681, 1.8604},
                     {23, Op::kAttnResidual, kNaN, kNaN, kNaN},
                     {23, Op::kMlpResidual, kInf, 1, 0}};
  EXPECT_THAT(NamesOf(p), ElementsAre(Is(22, 22, Op::kAttnResidual, -1, 59.575),
                                      Is(23, 23, Op::kMlpResidual, -1, kInf)));
}

TEST(NamesOfTest, ConcentrationsInARowAreOneLine) {
  Phenomena p = Nothing();
  p.concentrations = {
      ConcentrationOf(0, 0, 0, 0),       ConcentrationOf(1, 6, 0.49, 0.89),
      ConcentrationOf(2, 6, 0.5, 0.6),   ConcentrationOf(3, 6, 0.995, 1),
      ConcentrationOf(4, 7, 0.75, 0.8),  ConcentrationOf(5, 7, 0.4, 0.9),
      ConcentrationOf(6, 7, 0.4, 0.95),  ConcentrationOf(8, 7, 0.4, 0.9),
      ConcentrationOf(9, 0, kNaN, kNaN), ConcentrationOf(10, 7, 0.4, 0.9)};
  const auto names = NamesOf(p);
  constexpr Op kOp = Op::kMlpResidual;
  ASSERT_THAT(names,
              ElementsAre(Is(2, 3, kOp, 6, 0.995), Is(4, 4, kOp, 7, 0.75),
                          Is(5, 6, kOp, 7, 0.95), Is(8, 8, kOp, 7, 0.9),
                          Is(10, 10, kOp, 7, 0.9)));
  // What is in one channel is told from what is in eight.
  EXPECT_STREQ(names[0].text, names[1].text);
  EXPECT_STRNE(names[1].text, names[2].text);
}

TEST(NamesOfTest, BiasesOfOneSideInARowAreOneLine) {
  Phenomena p = Nothing();
  p.biases = {BiasOf(1, 33, 31, 4.9), BiasOf(2, 60, 4, 5),
              BiasOf(3, 62, 2, 7.5),  BiasOf(4, 61, 3, 7.25),
              BiasOf(5, 2, 62, -7.5), BiasOf(6, 0, 0, kNaN)};
  EXPECT_THAT(NamesOf(p), ElementsAre(Is(2, 4, Op::kMlpResidual, -1, 7.5),
                                      Is(5, 5, Op::kMlpResidual, -1, -7.5)));
}

TEST(NamesOfTest, OverflowsOfAnOpInARowAreOneLine) {
  Phenomena p = Nothing();
  p.headrooms = {HeadroomOf(1, Op::kQk, {1}),
                 HeadroomOf(1, Op::kDownProj, {32752}),  // exactly 1 bit
                 HeadroomOf(2, Op::kQk, {1}),
                 HeadroomOf(2, Op::kDownProj, {70000}),
                 HeadroomOf(3, Op::kQk, {46317}),  // 65504 / sqrt(2)
                 HeadroomOf(3, Op::kDownProj, {-90000, 1}),
                 HeadroomOf(5, Op::kDownProj, {kInf}),
                 HeadroomOf(6, Op::kDownProj, {kNaN}),
                 HeadroomOf(0, Op::kLmHead, {1e5})};
  EXPECT_THAT(NamesOf(p), ElementsAre(Is(2, 3, Op::kDownProj, -1, 90000),
                                      Is(3, 3, Op::kQk, -1, 46317),
                                      Is(5, 5, Op::kDownProj, -1, kInf),
                                      Is(0, 0, Op::kLmHead, -1, 1e5)));
}

TEST(NamesOfTest, UnderflowsOfAnOpInARowAreOneLine) {
  Phenomena p = Nothing();
  p.headrooms = {
      HeadroomOf(1, Op::kSoftmax, {0.5, 0.5, 1e-9}),
      HeadroomOf(2, Op::kSoftmax, {1, 1e-9}),
      HeadroomOf(3, Op::kSoftmax, {1, 1e-9, 1e-10, 1e-11, 0, 0, 0, 0})};
  EXPECT_THAT(NamesOf(p), ElementsAre(Is(2, 3, Op::kSoftmax, -1, 0.75)));
}

TEST(NamesOfTest, Breakdowns) {
  Phenomena p = Nothing();
  p.reference_breakdown = Breakdown{2, Op::kPostNorm, 0, 7, kNaN};
  p.plan_breakdown = Breakdown{1, Op::kQk, 2, 5, -kInf};
  const auto names = NamesOf(p);
  ASSERT_THAT(names, ElementsAre(Is(1, 1, Op::kQk, -1, -kInf),
                                 Is(2, 2, Op::kPostNorm, -1, kNaN)));
  EXPECT_THAT(names[0].text, testing::HasSubstr("the plan's"));
  EXPECT_THAT(names[1].text, testing::HasSubstr("the oracle's"));
  EXPECT_THAT(NamesOf(p, /*reference_is_oracle=*/false)[1].text,
              testing::HasSubstr("the reference's"));
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

LargeScore ScoreOf(size_t layer, size_t head, double score, Format format) {
  LargeScore s;
  s.layer = layer;
  s.head = head;
  s.position = 1;
  s.score = score;
  s.format = format;
  return s;
}

TEST(NamesOfTest, LargeScoresOfLayersInARow) {
  Phenomena p = Nothing();
  p.large_scores = {
      ScoreOf(1, 0, 3, Format::kBF16),    ScoreOf(1, 1, -1456, Format::kBF16),
      ScoreOf(2, 0, kNaN, Format::kBF16), ScoreOf(2, 1, -332, Format::kBF16),
      ScoreOf(3, 0, 1456, Format::kF32),  ScoreOf(3, 1, kInf, Format::kF32),
      ScoreOf(4, 0, 7e4, Format::kF16),   ScoreOf(4, 1, 1, Format::kF16)};
  EXPECT_THAT(NamesOf(p), ElementsAre(Is(1, 2, Op::kQk, -1, std::exp(8.0)),
                                      Is(4, 4, Op::kQk, -1, kInf)));
  EXPECT_STREQ(NamesOf(p)[0].kind, "large_score");
  const std::vector<Table> tables = PhenomenaTables(p);
  const Table* const all =
      &*std::find_if(tables.begin(), tables.end(),
                     [](const Table& t) { return t.name == "large_scores"; });
  ASSERT_EQ(all->rows.size(), p.large_scores.size());
  const auto at = [all](size_t row, const char* column) {
    return all->rows[row][all->Find(column)];
  };
  EXPECT_EQ(at(1, "format"), Value("bf16"));
  EXPECT_EQ(at(1, "spacing"), Value(8.0));
  EXPECT_EQ(at(1, "rounding_factor"), Value(std::exp(4.0)));
  EXPECT_EQ(at(1, "weight_factor"), Value(std::exp(8.0)));
  // NaN, not applicable, and infinite are three things.
  EXPECT_TRUE(std::isnan(std::get<double>(at(2, "score"))));
  EXPECT_EQ(at(2, "spacing"), Value());
  EXPECT_EQ(at(5, "score"), Value(kInf));
  EXPECT_EQ(at(5, "weight_factor"), Value());
  EXPECT_EQ(at(6, "spacing"), Value(kInf));
  EXPECT_EQ(at(6, "weight_factor"), Value(kInf));
}

}  // namespace
}  // namespace ulpscope
