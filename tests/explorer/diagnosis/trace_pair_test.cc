#include "explorer/diagnosis/trace_pair.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/pair_difference.h"
#include "explorer/report/trace_pair_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kModel[] = "synthetic:tiny";

ReferenceTrace Ops(absl::string_view plan,
                   const std::vector<int32_t>& tokens = kTokens) {
  return TraceOf(kModel, plan, tokens, TraceKind::kOps, true);
}

absl::StatusOr<TracePair> Compared(const ReferenceTrace& a,
                                   const ReferenceTrace& b,
                                   std::function<bool()> stop = nullptr) {
  const OpenedModel& model = Opened(kModel);
  Parallel parallel(2);
  TestMonitor monitor(std::move(stop));
  return ComparePair(RunOf(model.weights, parallel, monitor, SIZE_MAX),
                     model.checkpoint, a, b);
}

TracePair PairOf(const ReferenceTrace& a, const ReferenceTrace& b) {
  auto pair = Compared(a, b);
  EXPECT_THAT(pair, IsOk());
  return pair.ok() ? *std::move(pair) : TracePair();
}

const PairPoint* Find(const TracePair& pair, size_t layer, Op op) {
  for (const PairPoint& point : pair.points) {
    if (point.layer == layer && point.op == op) return &point;
  }
  return nullptr;
}

TEST(TracePairTest, EqualTracesAreTheSame) {
  const ReferenceTrace trace = Ops("torch-bf16");
  const TracePair pair = PairOf(trace, trace);
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kSame);
  EXPECT_GT(pair.points.size(), 100u);
  for (const PairPoint& point : pair.points) {
    EXPECT_EQ(point.origin, PairOrigin::kSame);
    EXPECT_EQ(point.identical, point.elements);
    EXPECT_EQ(point.distance, 0);
    EXPECT_EQ(point.inherited, 0);
    EXPECT_EQ(point.added_a, point.added_b);
  }
  EXPECT_FALSE(pair.difference.has_value());
  EXPECT_EQ(pair.nearer_to_oracle, 0);
  EXPECT_EQ(pair.only_in_a + pair.only_in_b, 0u);
}

// No program is accused of its arithmetic.
TEST(TracePairTest, TwoArithmeticsDifferByRounding) {
  const ReferenceTrace f32 = Ops("f32"), bf16 = Ops("torch-bf16");
  const TracePair pair = PairOf(f32, bf16);
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kRounding);
  EXPECT_EQ(pair.arithmetic_a.name, "f32");
  EXPECT_EQ(pair.arithmetic_b.name, "torch-bf16");
  EXPECT_EQ(pair.nearer_to_oracle, 1);
  EXPECT_EQ(PairOf(bf16, f32).nearer_to_oracle, -1);
  for (const PairState& state : pair.states) {
    EXPECT_EQ(state.compared, state.elements);
    EXPECT_EQ(state.nearer(), state.layer > 0 ? 1 : 0) << state.layer;
  }
  ASSERT_TRUE(pair.difference.has_value());
  EXPECT_EQ(pair.difference->point, pair.first_different);
}

// One op of one layer in another arithmetic: named there, and inherited from
// there on.
TEST(TracePairTest, ADifferenceIsAddedOnceAndInheritedBehind) {
  const ReferenceTrace plain = Ops("f32");
  const ReferenceTrace planted = Ops("f32,down_proj@2=bf16");
  const TracePair pair = PairOf(plain, planted);
  EXPECT_EQ(OutcomeOf(pair), PairOutcome::kDiffers);
  ASSERT_TRUE(pair.first_added.has_value());
  EXPECT_EQ(pair.first_added, pair.first_different);
  const PairPoint& first = pair.points[*pair.first_added];
  EXPECT_EQ(first.layer, 2u);
  EXPECT_EQ(first.op, Op::kDownProj);
  EXPECT_EQ(first.origin, PairOrigin::kAddedByB);
  EXPECT_EQ(first.inherited, 0);
  EXPECT_GT(first.added_b, 100 * *first.added_a);
  EXPECT_LE(first.excess_a, 1);
  EXPECT_GT(first.excess_b, 1);
  for (size_t i = 0; i < pair.points.size(); ++i) {
    const PairPoint& point = pair.points[i];
    SCOPED_TRACE(point.name_a);
    if (i < *pair.first_added) {
      EXPECT_EQ(point.origin, PairOrigin::kSame);
    }
    if (i <= *pair.first_added) continue;
    // Scores are often the same ones: of position 0 they are of one key.
    EXPECT_FALSE(point.is_added());
    EXPECT_TRUE(point.origin == PairOrigin::kInherited ||
                point.origin == PairOrigin::kSame);
    if (point.distance > 1e-5) {
      EXPECT_NEAR(*point.inherited / *point.distance, 1, 0.01);
    }
  }
  EXPECT_EQ(pair.nearer_to_oracle, 1);
  EXPECT_EQ(pair.difference->point, *pair.first_added);
  EXPECT_NEAR(*pair.difference->cosine, 1, 1e-4);
  // The other way round.
  const TracePair swapped = PairOf(planted, plain);
  ASSERT_TRUE(swapped.first_added.has_value());
  EXPECT_EQ(swapped.points[*swapped.first_added].origin, PairOrigin::kAddedByA);
  EXPECT_EQ(swapped.first_added, pair.first_added);
  EXPECT_EQ(swapped.nearer_to_oracle, -1);
}

// Both can be wrong.
TEST(TracePairTest, BothMayAddSomething) {
  const TracePair pair =
      PairOf(Ops("f32,o_proj@5=bf16"), Ops("f32,o_proj@5=f16,up_proj@2=bf16"));
  ASSERT_TRUE(pair.first_added.has_value());
  EXPECT_EQ(pair.points[*pair.first_added].op, Op::kUpProj);
  const PairPoint* const both = Find(pair, 5, Op::kOProj);
  ASSERT_NE(both, nullptr);
  EXPECT_EQ(both->origin, PairOrigin::kAddedByBoth);
}

// What is not finite stays out of distances, and of who is nearer.
TEST(TracePairTest, NaNAndInfinityAreKeptApart) {
  const ReferenceTrace a = Ops("f32");
  ReferenceTrace b = Ops("f32");
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(),
                        std::numeric_limits<double>::infinity()};
  TracedTensor& tensor = b.outputs.at({3, Op::kMlpResidual});
  for (const size_t i : {0, 1}) tensor.rows.view().Row(1)[7 + i] = bad[i];
  const TracePair pair = PairOf(a, b);
  EXPECT_FALSE(pair.first_nonfinite_a.has_value());
  ASSERT_TRUE(pair.first_nonfinite_b.has_value());
  const PairPoint& first = pair.points[*pair.first_nonfinite_b];
  EXPECT_EQ(first.layer, 3u);
  EXPECT_EQ(first.op, Op::kMlpResidual);
  EXPECT_EQ(first.origin, PairOrigin::kAddedByB);
  EXPECT_EQ(first.nonfinite_a, 0u);
  EXPECT_EQ(first.nonfinite_b, 2u);
  EXPECT_EQ(first.nonfinite_differ, 2u);
  EXPECT_EQ(first.compared, first.elements - 2);
  EXPECT_EQ(first.distance, 0);
  EXPECT_EQ(pair.first_added, pair.first_nonfinite_b);
  const PairDifference& d = *pair.difference;
  EXPECT_EQ(d.position, 1u);
  EXPECT_EQ(d.channel, 7u);
  EXPECT_TRUE(std::isnan(d.value_b));
  EXPECT_THAT(d.positions.first, ElementsAre(1));
  EXPECT_THAT(d.channels.first, ElementsAre(7, 8));
  for (const PairState& state : pair.states) {
    EXPECT_TRUE(state.a_to_oracle.has_value());
    EXPECT_TRUE(std::isfinite(*state.b_to_oracle));
  }
  // The same in both is no difference there.
  const TracePair same = PairOf(b, b);
  EXPECT_EQ(OutcomeOf(same), PairOutcome::kSame);
  EXPECT_EQ(same.points[*same.first_nonfinite_a].nonfinite_differ, 0u);
}

// A state's replay begins at the state before, whatever more one of them has.
TEST(TracePairTest, OnlyWhatBothHaveIsCompared) {
  const ReferenceTrace a = Ops("f32");
  ReferenceTrace b = Ops("f32,rope@3=bf16");
  b.outputs.clear();
  b.scores.clear();
  const TracePair pair = PairOf(a, b);
  EXPECT_EQ(pair.only_in_b, 0u);
  EXPECT_EQ(pair.points.size() + pair.only_in_a, PairOf(a, a).points.size());
  EXPECT_EQ(pair.points.size(), 9u);  // the last one after the final norm
  ASSERT_TRUE(pair.first_added.has_value());
  EXPECT_EQ(pair.points[*pair.first_added].layer, 3u);
  EXPECT_EQ(pair.points[*pair.first_added].op, Op::kMlpResidual);
  EXPECT_EQ(pair.points[*pair.first_added].origin, PairOrigin::kAddedByB);

  ReferenceTrace other = Ops("f32");
  other.states.clear();
  other.scores.clear();
  other.outputs = {{{0, Op::kLmHead}, other.outputs.at({0, Op::kLmHead})}};
  const TracePair nothing = PairOf(other, b);
  EXPECT_EQ(OutcomeOf(nothing), PairOutcome::kNothingShared);
  EXPECT_TRUE(nothing.points.empty());
}

TEST(TracePairTest, TokensHaveToBeTheSame) {
  const ReferenceTrace a = Ops("f32");
  ReferenceTrace b = Ops("f32");
  b.path = "B";
  b.tokens[2] = 131;
  EXPECT_THAT(Compared(a, b),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("B: position 2: expected token 130, as ")));
  b.tokens = {97, 1};
  EXPECT_THAT(Compared(a, b), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("B: expected 5 tokens, as ")));
  EXPECT_THAT(Compared(a, {}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TracePairTest, IsStopped) {
  const ReferenceTrace a = Ops("f32");
  const auto pair = Compared(a, a, [] { return true; });
  ASSERT_THAT(pair, IsOk());
  EXPECT_EQ(pair->stopped_in, "the alignment");
  EXPECT_EQ(OutcomeOf(*pair), PairOutcome::kStopped);
}

TracedTensor Tensor(size_t rows, size_t cols, size_t first_position) {
  TracedTensor tensor;
  tensor.first_position = first_position;
  tensor.rows = Rows::Allocate(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) tensor.rows.view().Row(r)[c] = 1;
  }
  return tensor;
}

TEST(TracePairTest, SaysWhereAPointDiffers) {
  TracedTensor a = Tensor(4, 6, 0), b = Tensor(3, 6, 1);
  b.rows.view().Row(1)[4] = 3;  // position 2, head 2 of 2 channels
  b.rows.view().Row(2)[4] = 1.5;
  const PairDifference d = DescribeDifference(a, b, Op::kQProj, 2);
  EXPECT_THAT(d.positions.first, ElementsAre(2, 3));
  EXPECT_EQ(d.positions.all, 3u);
  EXPECT_THAT(d.heads.first, ElementsAre(2));
  EXPECT_EQ(d.heads.all, 3u);
  EXPECT_THAT(d.channels.first, ElementsAre(4));
  EXPECT_EQ(d.position, 2u);
  EXPECT_EQ(d.head, 2u);
  EXPECT_EQ(d.channel, 4u);
  EXPECT_EQ(d.value_a, 1);
  EXPECT_EQ(d.value_b, 3);
  EXPECT_DOUBLE_EQ(*d.factor, (18 + 2.5) / 18);
  // No heads in the stream.
  const PairDifference stream = DescribeDifference(a, b, Op::kMlpResidual, 2);
  EXPECT_EQ(stream.heads.all, 0u);
  EXPECT_FALSE(stream.head.has_value());

  // Scores: two heads of three positions; before the softmax the future has no
  // meaning.
  TracedTensor scores_a = Tensor(6, 3, 0), scores_b = Tensor(6, 3, 0);
  scores_b.rows.view().Row(3 + 1)[2] = 9;
  EXPECT_EQ(DescribeDifference(scores_a, scores_b, Op::kQk, 2).heads.differing,
            0u);
  const PairDifference weights =
      DescribeDifference(scores_a, scores_b, Op::kSoftmax, 2);
  EXPECT_THAT(weights.positions.first, ElementsAre(1));
  EXPECT_THAT(weights.heads.first, ElementsAre(1));
  EXPECT_THAT(weights.channels.first, ElementsAre(2));
}

}  // namespace
}  // namespace ulpscope
