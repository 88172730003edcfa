#include "explorer/diagnosis/points.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/traced_values.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "model/architecture/rounding.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

HeldBy HeldByOf(std::vector<double> values) {
  return FormatHolding({values.data(), 1, values.size()});
}

TEST(FormatHoldingTest, Edges) {
  const struct {
    double value;
    HeldBy held_by;
  } rows[] = {
      {0, HeldBy::kBF16AndF16},
      {-0.0, HeldBy::kBF16AndF16},
      {1, HeldBy::kBF16AndF16},
      // Spacings at 1, and halves of them.
      {1 + 0x1p-7, HeldBy::kBF16AndF16},
      {1 + 0x1p-8, HeldBy::kF16},
      {1 + 0x1p-10, HeldBy::kF16},
      {1 + 0x1p-11, HeldBy::kF32},
      {1 + 0x1p-23, HeldBy::kF32},
      {1 + 0x1p-24, HeldBy::kF64},
      // The largest ones, what is next to them, and beyond.
      {0x1.FEp127, HeldBy::kBF16},
      {0x1.FFp127, HeldBy::kF32},
      {0x1.FFFFFEp127, HeldBy::kF32},
      {0x1p128, HeldBy::kF64},
      {65504, HeldBy::kF16},
      {65520, HeldBy::kF32},
      {65536, HeldBy::kBF16},
      {65280, HeldBy::kBF16AndF16},
      // The smallest, and subnormal ones.
      {0x1p-24, HeldBy::kBF16AndF16},
      {1023 * 0x1p-24, HeldBy::kF16},
      {0x1p-25, HeldBy::kBF16},
      {1.5 * 0x1p-24, HeldBy::kBF16},
      {0x1p-126, HeldBy::kBF16},
      {127 * 0x1p-133, HeldBy::kBF16},
      {0x1p-133, HeldBy::kBF16},
      {1.5 * 0x1p-133, HeldBy::kF32},
      {0x1p-134, HeldBy::kF32},
      {0x1p-149, HeldBy::kF32},
      {0x1p-150, HeldBy::kF64},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(HeldByOf({row.value}), row.held_by) << row.value;
    EXPECT_EQ(HeldByOf({1, -row.value}), row.held_by) << -row.value;
  }
}

TEST(FormatHoldingTest, IsOfAllValues) {
  EXPECT_EQ(HeldByOf({65536, 1}), HeldBy::kBF16);
  EXPECT_EQ(HeldByOf({65536, 1 + 0x1p-8}), HeldBy::kF32);
  EXPECT_EQ(HeldByOf({65536, 1 + 0x1p-8, 0.1}), HeldBy::kF64);
  EXPECT_EQ(HeldByOf({}), HeldBy::kBF16AndF16);
  // What is not finite says nothing.
  EXPECT_EQ(HeldByOf({kNaN, kInfinity, -kInfinity}), HeldBy::kBF16AndF16);
  EXPECT_EQ(HeldByOf({kNaN, 0x1p-25}), HeldBy::kBF16);
}

// A number is held if rounding does not change it.
TEST(FormatHoldingTest, IsWhatRoundingDoesNotChange) {
  Random random(1);
  for (int i = 0; i < 100000; ++i) {
    const int bits = static_cast<int>(random.Below(26)) + 1;
    const double significand =
        std::ldexp(static_cast<double>(random.Below(uint64_t{1} << bits)),
                   -static_cast<int>(random.Below(30)));
    const double x =
        std::ldexp(significand, static_cast<int>(random.Below(60)) - 40);
    const HeldBy held_by = HeldByOf({x});
    EXPECT_EQ(Holds(Format::kBF16, held_by),
              static_cast<double>(RoundedToBF16(x)) == x)
        << x;
    EXPECT_EQ(Holds(Format::kF16, held_by), RoundedToF16(x) == x) << x;
    EXPECT_EQ(Holds(Format::kF32, held_by),
              static_cast<double>(static_cast<float>(x)) == x)
        << x;
    EXPECT_TRUE(Holds(Format::kF64, held_by));
  }
}

TEST(FormatHoldingTest, UnitRoundoffs) {
  EXPECT_EQ(UnitRoundoffOf(HeldBy::kBF16AndF16), UnitRoundoff(Format::kBF16));
  EXPECT_EQ(UnitRoundoffOf(HeldBy::kBF16), UnitRoundoff(Format::kBF16));
  EXPECT_EQ(UnitRoundoffOf(HeldBy::kF16), UnitRoundoff(Format::kF16));
  EXPECT_EQ(UnitRoundoffOf(HeldBy::kF32), UnitRoundoff(Format::kF32));
  EXPECT_EQ(UnitRoundoffOf(HeldBy::kF64), UnitRoundoff(Format::kF64));
}

constexpr size_t kPositions = 3;
constexpr size_t kLayers = 2;

TracedTensor TensorOf(const std::string& name, size_t rows,
                      const std::vector<double>& row) {
  TracedTensor tensor;
  tensor.name = name;
  tensor.stored_as = "F64";
  tensor.rows = Rows::Allocate(rows, row.size());
  for (size_t r = 0; r < rows; ++r) {
    std::copy(row.begin(), row.end(), tensor.rows.view().Row(r));
  }
  return tensor;
}

TracedTensor TensorOf(const std::string& name) {
  return TensorOf(name, kPositions, {1, 2, 3, 4});
}

ReferenceTrace EmptyTrace() {
  ReferenceTrace trace;
  trace.tokens.assign(kPositions, 0);
  return trace;
}

std::vector<std::string> NamesOf(const AlignedTrace& aligned) {
  std::vector<std::string> names;
  for (const Point& point : aligned.points()) {
    names.push_back(absl::StrCat(point.tensor->name, "=", OpName(point.op), "@",
                                 point.layer));
  }
  return names;
}

ReferenceTrace TraceOfStates() {
  ReferenceTrace trace = EmptyTrace();
  for (size_t n = 0; n <= kLayers; ++n) {
    trace.states[n] = TensorOf(absl::StrCat("s", n));
  }
  return trace;
}

TEST(AlignedTraceTest, PointsAreInTheOrderInWhichTheyRun) {
  ReferenceTrace trace = TraceOfStates();
  trace.outputs[{0, Op::kLmHead}] = TensorOf("logits");
  trace.outputs[{0, Op::kFinalNorm}] = TensorOf("norm");
  trace.outputs[{2, Op::kInputNorm}] = TensorOf("in2");
  trace.outputs[{1, Op::kDownProj}] = TensorOf("down1");
  trace.scores[{1, Op::kSoftmax}] = TensorOf("p1", kPositions, {1, 0, 0});
  const AlignedTrace aligned = Aligned(trace, kLayers, 0, false);
  EXPECT_THAT(
      NamesOf(aligned),
      ElementsAre("s0=embed@0", "p1=softmax@1", "down1=down_proj@1",
                  "s1=mlp_residual@1", "in2=input_norm@2", "s2=mlp_residual@2",
                  "norm=final_norm@0", "logits=lm_head@0"));
  for (size_t i = 0; i < aligned.points().size(); ++i) {
    const Point& point = aligned.points()[i];
    EXPECT_EQ(aligned.Find(point.layer, point.op), static_cast<int>(i));
  }
  EXPECT_EQ(aligned.Find(1, Op::kInputNorm), -1);
  EXPECT_EQ(aligned.Find(3, Op::kMlpResidual), -1);
}

TEST(AlignedTraceTest, StatesAreWhereTheShiftPutsThem) {
  const ReferenceTrace trace = TraceOfStates();
  EXPECT_THAT(NamesOf(Aligned(trace, kLayers, 1, false)),
              ElementsAre("s0=mlp_residual@1", "s1=mlp_residual@2"));
  EXPECT_THAT(NamesOf(Aligned(trace, kLayers, -1, false)),
              ElementsAre("s1=embed@0", "s2=mlp_residual@1"));
  EXPECT_THAT(NamesOf(Aligned(trace, kLayers, -1, true)),
              ElementsAre("s1=embed@0", "s2=mlp_residual@1"));
  EXPECT_THAT(
      NamesOf(Aligned(trace, kLayers, 0, true)),
      ElementsAre("s0=embed@0", "s1=mlp_residual@1", "s2=final_norm@0"));
  EXPECT_THAT(NamesOf(Aligned(trace, kLayers, 1, true)),
              ElementsAre("s0=mlp_residual@1", "s1=final_norm@0"));
}

TEST(AlignedTraceTest, AModulesOutputGoesBeforeAState) {
  ReferenceTrace trace = TraceOfStates();
  trace.outputs[{2, Op::kMlpResidual}] = TensorOf("layer2");
  trace.outputs[{0, Op::kFinalNorm}] = TensorOf("norm");
  EXPECT_THAT(NamesOf(Aligned(trace, kLayers, 0, true)),
              ElementsAre("s0=embed@0", "s1=mlp_residual@1",
                          "layer2=mlp_residual@2", "norm=final_norm@0"));
}

// Scores are no input of an op that is replayed, and part of the positions is
// none either.
TEST(AlignedTraceTest, GivesWhatHasAllPositions) {
  ReferenceTrace trace = TraceOfStates();
  trace.scores[{1, Op::kSoftmax}] = TensorOf("p1");
  TracedTensor last = TensorOf("norm", 1, {1, 2});
  last.first_position = kPositions - 1;
  trace.outputs[{0, Op::kFinalNorm}] = last;
  const AlignedTrace aligned = Aligned(trace, kLayers, 0, false);
  EXPECT_EQ(aligned.Get(1, Op::kSoftmax).rows(), 0u);
  EXPECT_EQ(aligned.Get(0, Op::kFinalNorm).rows(), 0u);
  EXPECT_EQ(aligned.Get(1, Op::kQProj).rows(), 0u);
  EXPECT_EQ(aligned.Get(1, Op::kMlpResidual).data(),
            trace.states[1].rows.data());
}

// Three of four points: the embedding and scores do not count.
TEST(AlignedTraceTest, TheFormatIsThatOfMostPoints) {
  const std::vector<double> bf16 = {1, 2}, f16 = {1 + 0x1p-9},
                            f32 = {0x1p-60, 1.1f};
  const auto aligned = [&](std::initializer_list<std::vector<double>> rows) {
    ReferenceTrace trace = EmptyTrace();
    trace.outputs[{0, Op::kEmbed}] = TensorOf("e", kPositions, {0.1});
    trace.scores[{1, Op::kQk}] = TensorOf("qk", kPositions, {0.1});
    size_t i = 0;
    for (const auto& row : rows) {
      trace.outputs[{1, OpAt(static_cast<size_t>(Op::kGateProj) + i++)}] =
          TensorOf("x", kPositions, row);
    }
    const AlignedTrace all = Aligned(trace, kLayers, 0, false);
    return std::make_pair(all.format(), all.ShareHeld(Format::kBF16));
  };
  EXPECT_EQ(aligned({bf16, bf16, bf16, f32}),
            std::make_pair(Format::kBF16, 0.75));
  EXPECT_EQ(aligned({bf16, bf16, f32, f32}), std::make_pair(Format::kF32, 0.5));
  EXPECT_EQ(aligned({bf16, f16, f16, f32}), std::make_pair(Format::kF16, 0.25));
  EXPECT_EQ(aligned({{0.1}, {0.1}, f32, f32}),
            std::make_pair(Format::kF64, 0.0));
}

TEST(AlignedTraceTest, SumsWhatDoesNotStandOut) {
  ReferenceTrace trace = EmptyTrace();
  const std::vector<double> row = {1, -1, 1, 31, -32, 100};
  trace.outputs[{1, Op::kOProj}] = TensorOf("o", 1, row);
  // Of six magnitudes the median is the upper one of two, 31.
  trace.outputs[{1, Op::kDownProj}] =
      TensorOf("d", 1, {1, -1, 1, 1, -31, -32, 100});
  trace.outputs[{2, Op::kDownProj}] =
      TensorOf("n", 1, {1, kNaN, -kInfinity, 1, 40});
  trace.outputs[{2, Op::kOProj}] = TensorOf("z", 1, {0, 0, 5});
  trace.scores[{1, Op::kQk}] = TensorOf("qk", 1, {1, 1, 1, 100});
  const AlignedTrace aligned = Aligned(trace, kLayers, 0, false);
  const auto point = [&](size_t layer, Op op) {
    return aligned.points()[static_cast<size_t>(aligned.Find(layer, op))];
  };
  EXPECT_THAT(point(1, Op::kOProj).stands_out_from, ElementsAre(31 * 32));
  EXPECT_EQ(point(1, Op::kOProj).usual_squares, point(1, Op::kOProj).squares);
  const Point down = point(1, Op::kDownProj);
  EXPECT_THAT(down.stands_out_from, ElementsAre(32));
  EXPECT_EQ(down.squares, 4 + 31 * 31 + 32 * 32 + 1e4);
  EXPECT_EQ(down.usual_squares, 4 + 31 * 31);
  const Point with_nan = point(2, Op::kDownProj);
  EXPECT_THAT(with_nan.stands_out_from, ElementsAre(32));
  EXPECT_EQ(with_nan.nonfinite, 2u);
  EXPECT_EQ(with_nan.squares, 2 + 1600);
  EXPECT_EQ(with_nan.usual_squares, 2);
  // Nothing stands out from zeros, and no score.
  EXPECT_THAT(point(2, Op::kOProj).stands_out_from, ElementsAre(kInfinity));
  EXPECT_THAT(point(1, Op::kQk).stands_out_from, ElementsAre(kInfinity));
}

TEST(TracedValuesTest, StopsBetweenPieces) {
  ReferenceTrace trace = EmptyTrace();
  // Of 2^20 values at once: two pieces, and one of the other tensor.
  const std::vector<double> row((size_t{1} << 20) / 4, 1.5);
  trace.outputs[{1, Op::kOProj}] = TensorOf("o", 8, row);
  trace.outputs[{2, Op::kOProj}] = TensorOf("o", 4, row);
  Parallel parallel(2);
  TestMonitor never;
  EXPECT_THAT(TracedValues::Of(trace, never, parallel), IsOk());
  EXPECT_EQ(never.asked(), 3u);
  for (size_t allowed = 0; allowed < 3; ++allowed) {
    TestMonitor monitor(allowed);
    EXPECT_THAT(TracedValues::Of(trace, monitor, parallel),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(monitor.asked(), allowed + 1);
  }
}

// Behind the first values that are not finite, others are not judged, but what
// is finite is.
TEST(AlignedTraceTest, JudgesWhatIsFiniteAndTheFirstThatIsNot) {
  ReferenceTrace trace = TraceOfStates();
  for (const Op op : {Op::kQProj, Op::kOProj, Op::kUpProj}) {
    trace.outputs[{2, op}] = TensorOf("x", kPositions, {1, kNaN});
  }
  const AlignedTrace aligned = Aligned(trace, kLayers, 0, false);
  std::vector<bool> judged;
  for (const Point& point : aligned.points()) judged.push_back(point.judged);
  EXPECT_THAT(judged, ElementsAre(true, true, true, false, false, true));
}

TEST(PerturbedTraceTest, MovesByHalfASpacing) {
  constexpr size_t kWidth = 4000;
  Random random(2);
  ReferenceTrace trace = EmptyTrace();
  std::vector<double> row(kWidth);
  for (double& x : row) {
    x = std::ldexp(random.Gaussian(), static_cast<int>(random.Below(40)) - 20);
  }
  row[0] = 0;
  row[1] = kNaN;
  row[2] = kInfinity;
  row[3] = 1;
  trace.outputs[{1, Op::kOProj}] = TensorOf("o", kPositions, row);
  trace.outputs[{2, Op::kOProj}] = TensorOf("o", kPositions, row);
  const AlignedTrace aligned = Aligned(trace, kLayers, 0, false);
  const double unit = UnitRoundoff(Format::kBF16);
  const PerturbedTrace perturbed(aligned, unit);
  const Rows moved = perturbed.Get(1, Op::kOProj);
  EXPECT_TRUE(moved.SameBits(perturbed.Get(1, Op::kOProj)));
  EXPECT_FALSE(moved.SameBits(perturbed.Get(2, Op::kOProj)));
  EXPECT_EQ(perturbed.Get(1, Op::kQProj).rows(), 0u);
  ASSERT_EQ(moved.rows(), kPositions);
  double sum = 0, squares = 0;
  for (size_t r = 0; r < kPositions; ++r) {
    const double* const values = moved.view().Row(r);
    EXPECT_EQ(values[0], 0);
    EXPECT_TRUE(std::isnan(values[1]));
    EXPECT_EQ(values[2], kInfinity);
    for (size_t c = 3; c < kWidth; ++c) {
      const double half =
          unit * std::exp2(std::floor(std::log2(std::fabs(row[c]))));
      const double d = (values[c] - row[c]) / half;
      EXPECT_LE(std::fabs(d), 1);
      sum += d;
      squares += d * d;
    }
  }
  // Uniform over [-1, 1]: mean 0 and mean square 1/3, each within six standard
  // deviations of a mean of n: sqrt(1/3) and sqrt(4/45) by sqrt(n).
  const double n = kPositions * (kWidth - 3);
  EXPECT_NEAR(sum / n, 0, 6 * std::sqrt(1 / 3.0 / n));
  EXPECT_NEAR(squares / n, 1 / 3.0, 6 * std::sqrt(4 / 45.0 / n));
}

}  // namespace
}  // namespace ulpscope
