// Traces and runs with infinities and NaN: found as such, and no accuracy is
// told from them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A value that is none, in one place: it is named, no cause is, and what it
// spreads to does not crash.
TEST(NotFiniteTest, OneNaNIsUnexplained) {
  for (const double value : {kNaN, kInfinity, -kInfinity}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
    trace.outputs.at({4, Op::kUpProj}).rows.view().Row(1)[3] = value;
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "up_proj@4");
    EXPECT_EQ(d.arithmetic.name, "f32");
    size_t nonfinite = 0;
    for (const PointResult& point : d.points) nonfinite += point.nonfinite;
    EXPECT_EQ(nonfinite, 1u);
    ASSERT_TRUE(d.first_unexplained.has_value());
    EXPECT_EQ(d.points[*d.first_unexplained].distance, kInfinity);
  }
}

TEST(NotFiniteTest, ALayerOfNaNIsUnexplained) {
  for (const double value : {kNaN, kInfinity}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kFolder, false);
    ForEachValue(trace.states.at(3), [value](double& x) { x = value; });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "mlp_residual@3");
    EXPECT_EQ(d.alignment.state_shift, 0);
  }
}

TEST(NotFiniteTest, NothingButNaNIsUnexplained) {
  for (const TraceKind kind : {TraceKind::kOps, TraceKind::kFolder}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, kind, false);
    ForEachTensor(trace, [](TracedTensor& tensor) {
      ForEachValue(tensor, [](double& x) { x = kNaN; });
    });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "embed@0");
    EXPECT_EQ(d.stopped_in, "");
  }
}

// No distance is told of a state of which nothing is finite.
void ExpectNoDistance(const StateDistance& state) {
  EXPECT_FALSE(state.is_finite());
  EXPECT_TRUE(std::isnan(state.trace_to_oracle));
  EXPECT_TRUE(std::isnan(state.ours_to_oracle));
  EXPECT_TRUE(std::isnan(state.trace_to_ours));
  ASSERT_TRUE(state.emulation_to_oracle.has_value());
  EXPECT_TRUE(std::isnan(*state.emulation_to_oracle));
  EXPECT_TRUE(std::isnan(*state.trace_to_emulation));
}

bool HasCause(const Diagnosis& d, const std::string& id) {
  return std::any_of(d.causes.begin(), d.causes.end(),
                     [&id](const auto& cause) { return cause.id == id; });
}

TEST(NotFiniteTest, NaNFromLayer1OnIsAFinding) {
  for (const TraceKind kind : {TraceKind::kOps, TraceKind::kFolder}) {
    for (const char* plan : {"f32", "torch-bf16"}) {
      SCOPED_TRACE(absl::StrCat(plan, " ", static_cast<int>(kind)));
      ReferenceTrace trace =
          TraceOf("synthetic:tiny", plan, kTokens, kind, false);
      const auto spoil = [](TracedTensor& tensor) {
        ForEachValue(tensor, [](double& x) { x = kNaN; });
      };
      for (auto& [place, tensor] : trace.outputs) {
        if (place.second != Op::kEmbed) spoil(tensor);
      }
      for (auto& [place, tensor] : trace.scores) spoil(tensor);
      for (auto& [index, tensor] : trace.states) {
        if (index > 0) spoil(tensor);
      }
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      ASSERT_TRUE(d.trace_nonfinite.has_value());
      const PointResult& first = d.points[d.trace_nonfinite->first];
      EXPECT_EQ(first.layer, 1u);
      EXPECT_EQ(first.op,
                kind == TraceKind::kOps ? Op::kInputNorm : Op::kMlpResidual);
      EXPECT_EQ(first.distance, kInfinity);
      EXPECT_EQ(first.nan, first.elements);
      EXPECT_EQ(d.trace_nonfinite->points, d.points.size() - 1);
      EXPECT_FALSE(d.ours_nonfinite.has_value());
      // Finite is nearer than not.
      EXPECT_EQ(d.nearer_to_oracle, -1);
      EXPECT_EQ(d.states[0].trace_to_oracle, 0);
      for (size_t i = 1; i < d.states.size(); ++i) {
        ExpectNoDistance(d.states[i]);
        EXPECT_EQ(d.states[i].trace_nonfinite, d.states[i].elements);
        EXPECT_EQ(d.states[i].ours_nonfinite, 0u);
        EXPECT_EQ(d.states[i].NearerBy(2), -1);
      }
      // Nor is anything told of its arithmetic, its tokens or its list.
      EXPECT_EQ(d.arithmetic.points_that_tell, 0u);
      EXPECT_THAT(d.alignment.other_tokens, IsEmpty());
      EXPECT_THAT(FoundIn(d), IsEmpty());
      EXPECT_FALSE(d.rounding.has_value());
      EXPECT_THAT(d.causes, IsEmpty());
      for (size_t i = 0; i < d.points.size(); ++i) {
        const PointResult& point = d.points[i];
        if (point.op == Op::kEmbed) continue;
        EXPECT_FALSE(point.held_by.has_value());
        EXPECT_EQ(point.closest, "");
        EXPECT_EQ(point.judged, i == d.trace_nonfinite->first);
        EXPECT_EQ(point.distance.has_value(), point.judged);
        EXPECT_EQ(point.allowed.has_value(), point.judged);
      }
      for (const ErrorRow& row : d.rows) {
        EXPECT_TRUE(std::isnan(row.error.mean_abs));
        EXPECT_FALSE(row.shares.has_value());
      }
    }
  }
}

TEST(NotFiniteTest, TheRestOfALayerWithAnInfinityIsJudged) {
  ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16", kTokens,
                                 TraceKind::kFolder, false);
  trace.states.at(3).rows.view().Row(1)[7] = kInfinity;
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_TRUE(d.trace_nonfinite.has_value());
  EXPECT_EQ(d.trace_nonfinite->points, 1u);
  EXPECT_EQ(d.trace_nonfinite->elements, 1u);
  EXPECT_EQ(d.points[d.trace_nonfinite->first].nan, 0u);
  EXPECT_EQ(FirstUnexplained(d), "mlp_residual@3");
  EXPECT_FALSE(d.states[3].is_finite());
  EXPECT_EQ(d.states[3].trace_nonfinite, 1u);
  EXPECT_TRUE(std::isfinite(d.states[3].trace_to_oracle));
  EXPECT_TRUE(std::isfinite(d.states[3].ours_to_oracle));
  EXPECT_LT(d.states[3].ours_to_oracle, d.states[3].trace_to_oracle);
  for (const StateDistance& state : d.states) {
    if (state.layer != 3) {
      EXPECT_TRUE(state.is_finite());
    }
  }
  EXPECT_EQ(d.nearer_to_oracle, -1);
  for (const ErrorRow& row : d.rows) {
    // Layer 4 is replayed from what layer 3 has.
    EXPECT_EQ(row.shares.has_value(), row.layer != 3 && row.layer != 4);
    EXPECT_EQ(std::isfinite(row.error.mean_abs), row.layer != 3);
  }
}

TEST(NotFiniteTest, NaNInTheLogitsSaysNothingOfTheStates) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "torch-bf16", kTokens, TraceKind::kOps, false);
  ForEachValue(trace.outputs.at({0, Op::kLmHead}), [](double& x) { x = kNaN; });
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_TRUE(d.trace_nonfinite.has_value());
  EXPECT_EQ(d.points[d.trace_nonfinite->first].op, Op::kLmHead);
  EXPECT_EQ(d.trace_nonfinite->points, 1u);
  EXPECT_EQ(FirstUnexplained(d), "lm_head@0");
  EXPECT_EQ(d.nearer_to_oracle, -1);
  for (const StateDistance& state : d.states) EXPECT_TRUE(state.is_finite());
  EXPECT_FALSE(HasCause(d, "rounding"));
}

// Outputs of the norm in layer 3 that f16 does not hold.
OpenedModel WithAnOverflow() {
  OpenedModel model = Open("synthetic:tiny");
  for (double& w : model.weights.layers[2].post_norm) w *= 1e7;
  return model;
}

TEST(NotFiniteTest, OursThatIsNotFiniteIsAFinding) {
  const OpenedModel model = WithAnOverflow();
  const ReferenceTrace trace = TraceOfVariant(model, "f32", kTokens, {});
  const Diagnosis d = DiagnosisOf(model, trace, {}, "torch-f16");
  EXPECT_TRUE(d.explained());
  EXPECT_FALSE(d.trace_nonfinite.has_value());
  ASSERT_TRUE(d.ours_nonfinite.has_value());
  EXPECT_EQ(d.points[d.ours_nonfinite->first].layer, 3u);
  EXPECT_EQ(d.points[d.ours_nonfinite->first].op, Op::kPostNorm);
  for (const StateDistance& state : d.states) {
    EXPECT_TRUE(std::isfinite(state.trace_to_oracle));
    EXPECT_EQ(state.is_finite(), state.layer < 3) << state.layer;
    // The trace is, and ours is not.
    EXPECT_EQ(state.ours_to_oracle == kInfinity, state.layer >= 3);
    EXPECT_EQ(state.trace_to_ours == kInfinity, state.layer >= 3);
  }
  for (const ErrorRow& row : d.rows) {
    EXPECT_EQ(row.shares.has_value(), row.layer < 3);
  }
}

TEST(NotFiniteTest, AnArithmeticThatOverflowsIsNoRounding) {
  const OpenedModel model = WithAnOverflow();
  const ReferenceTrace trace = TraceOfVariant(model, "torch-f16", kTokens, {});
  const Diagnosis d = DiagnosisOf(model, trace);
  EXPECT_EQ(d.arithmetic.name, "torch-f16");
  EXPECT_TRUE(d.explained()) << FirstUnexplained(d);
  ASSERT_TRUE(d.trace_nonfinite.has_value());
  EXPECT_EQ(d.points[d.trace_nonfinite->first].op, Op::kPostNorm);
  EXPECT_EQ(d.points[d.trace_nonfinite->first].layer, 3u);
  ASSERT_EQ(d.causes.size(), 1u);
  EXPECT_EQ(d.causes[0].id, "breakdown");
  EXPECT_EQ(d.causes[0].first_layer, 3u);
  EXPECT_EQ(d.causes[0].first_op, Op::kPostNorm);
  EXPECT_FALSE(d.causes[0].replay_without.has_value());
  ASSERT_TRUE(d.rounding.has_value());
  EXPECT_EQ(d.rounding->nonfinite_from, 3u);
}

// What a program leaves out is not measured, rather than right; what is not
// finite has no distance, and what only a replay makes of finite values that is
// not is infinitely far away.
TEST(NotFiniteTest, DistancesTellWhatIsNotMeasured) {
  Point point;
  point.squares = 4;
  Residual residual;
  EXPECT_EQ(RelativeDistance(point, residual), std::nullopt);
  EXPECT_EQ(RelativeOwnDistance(point, residual), std::nullopt);
  residual.elements = 2;
  EXPECT_EQ(RelativeDistance(point, residual), 0);
  residual.all.squares = residual.all.own_squares = 1;
  EXPECT_EQ(RelativeDistance(point, residual), 0.5);
  EXPECT_EQ(RelativeOwnDistance(point, residual), 0.5);
  residual.nonfinite = 1;
  EXPECT_EQ(RelativeDistance(point, residual), kInfinity);
  EXPECT_EQ(RelativeOwnDistance(point, residual), 0.5);
  residual.own_nonfinite = 1;
  EXPECT_EQ(RelativeOwnDistance(point, residual), kInfinity);
  // Of what is finite of theirs, if anything is.
  point.nonfinite = 1;
  point.any_finite = true;
  residual.theirs_nonfinite = 1;
  EXPECT_EQ(RelativeDistance(point, residual), 0.5);
  point.any_finite = false;
  EXPECT_TRUE(std::isnan(RelativeDistance(point, residual).value()));
  EXPECT_TRUE(std::isnan(RelativeOwnDistance(point, residual).value()));
}

}  // namespace
}  // namespace ulpscope
