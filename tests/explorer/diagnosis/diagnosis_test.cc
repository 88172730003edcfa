// The diagnosis of our own traces with changes.

#include "explorer/diagnosis/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// The 2-norm of a - b.
double Distance(const TracedTensor& a, const TracedTensor& b) {
  double squares = 0;
  for (size_t r = 0; r < a.rows.rows(); ++r) {
    for (size_t c = 0; c < a.rows.view().cols; ++c) {
      const double d = a.rows.view().Row(r)[c] - b.rows.view().Row(r)[c];
      squares += d * d;
    }
  }
  return std::sqrt(squares);
}

TEST(DiagnosisTest, DistancesAreThoseOfFreeRuns) {
  const auto dumped = [](const char* plan) {
    return TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kStatesFile,
                   false);
  };
  const ReferenceTrace oracle = dumped("oracle");
  const ReferenceTrace ours = dumped("f32");
  const ReferenceTrace theirs = dumped("torch-bf16");
  const Diagnosis d = DiagnosisOf("synthetic:tiny", theirs);
  ASSERT_EQ(d.states.size(), kLayers + 1);
  for (size_t n = 0; n <= kLayers; ++n) {
    SCOPED_TRACE(n);
    const StateDistance& state = d.states[n];
    EXPECT_EQ(state.layer, n);
    EXPECT_FALSE(state.normed);
    TracedTensor zero;
    const Matrix<double> theirs_rows = theirs.states.at(n).rows.view();
    zero.rows = Rows::Allocate(theirs_rows.rows, theirs_rows.cols);
    ForEachValue(zero, [](double& x) { x = 0; });
    const double norm = Distance(theirs.states.at(n), zero);
    const auto expect = [&](double got, const ReferenceTrace& a,
                            const ReferenceTrace& b) {
      const double expected = Distance(a.states.at(n), b.states.at(n)) / norm;
      EXPECT_NEAR(got, expected, SumTolerance(expected));
    };
    expect(state.trace_to_oracle, theirs, oracle);
    expect(state.trace_to_ours, theirs, ours);
    expect(state.ours_to_oracle, ours, oracle);
  }
}

// Of the embedding all have the same bits.
TEST(DiagnosisTest, SaysWhoIsNearerToTheOracle) {
  for (const char* model : kModels) {
    const auto nearer = [&](const char* theirs, const char* ours) {
      const ReferenceTrace trace =
          TraceOf(model, theirs, kTokens, TraceKind::kFolder, true);
      return DiagnosisOf(model, trace, {}, ours).nearer_to_oracle;
    };
    EXPECT_EQ(nearer("torch-bf16", "f32"), -1);
    EXPECT_EQ(nearer("f32", "torch-bf16"), 1);
    EXPECT_EQ(nearer("f32", "f32"), 0);
    EXPECT_EQ(nearer("torch-bf16", "torch-bf16"), 0);
  }
}

TEST(DiagnosisTest, OtherTokensAreNamed) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
  trace.tokens[2] = 131;
  trace.tokens[4] = 7;
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_THAT(FoundIn(d), ElementsAre("other_tokens"));
  const auto& other = d.alignment.other_tokens;
  ASSERT_EQ(other.size(), 2u);
  EXPECT_EQ(other[0].position, 2u);
  EXPECT_EQ(other[0].token, 131);
  EXPECT_EQ(other[0].found, 130);
  EXPECT_EQ(other[1].position, 4u);
  EXPECT_EQ(other[1].token, 7);
  EXPECT_EQ(other[1].found, 0);
  EXPECT_EQ(d.causes[0].points, 2u);
  EXPECT_EQ(d.causes[0].kind, CauseKind::kComparison);
  EXPECT_FALSE(d.differs());
}

TEST(DiagnosisTest, AShiftedListIsNamed) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    for (const int shift : {-2, -1, 1, 2}) {
      SCOPED_TRACE(absl::StrCat(plan, " ", shift));
      const Diagnosis d =
          DiagnosisOf("synthetic:tiny", Shifted(plan, shift, false));
      EXPECT_EQ(d.alignment.state_shift, shift);
      ASSERT_THAT(FoundIn(d), ElementsAre("index_off_by_one"));
      EXPECT_EQ(d.arithmetic.name, plan);
      EXPECT_TRUE(d.explained());
      const DiagnosedCause& cause = d.causes.front();
      EXPECT_EQ(cause.kind, CauseKind::kComparison);
      EXPECT_LT(cause.replay_with.value(), cause.replay_without.value() / 2);
      EXPECT_GT(cause.removed.value(), 0.9);
    }
  }
}

TEST(DiagnosisTest, AShiftAndANormAreBothNamed) {
  const Diagnosis d =
      DiagnosisOf("synthetic:tiny", Shifted("torch-bf16", 1, true));
  EXPECT_EQ(d.alignment.state_shift, 1);
  EXPECT_THAT(FoundIn(d),
              UnorderedElementsAre("index_off_by_one", "last_state_normed"));
  EXPECT_TRUE(d.explained());
}

// One element that nothing explains, by as little as can be seen: rounding of a
// row of n elements of f32 is sqrt(n) u, of which allowed is some factor. What
// comes behind it is right.
TEST(DiagnosisTest, AChangedElementIsSeen) {
  for (const double factor : {1 + 0x1p-12, 1.5, -1e6}) {
    SCOPED_TRACE(factor);
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
    const Matrix<double> rows = trace.outputs.at({3, Op::kKProj}).rows.view();
    // Of some size against its row.
    double* const largest = std::max_element(
        rows.Row(2), rows.Row(2) + rows.cols,
        [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    *largest *= factor;
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_TRUE(d.explained());
    ASSERT_TRUE(d.first_without_effect.has_value());
    EXPECT_EQ(d.points[*d.first_without_effect].op, Op::kKProj);
    EXPECT_EQ(d.points[*d.first_without_effect].layer, 3u);
    EXPECT_EQ(d.first_difference, d.first_without_effect);
    EXPECT_EQ(d.arithmetic.name, "f32");
    // RoPE is a replay of what was changed: it differs too, and nothing else.
    for (const PointResult& point : d.points) {
      const bool here =
          point.layer == 3 && (point.op == Op::kKProj || point.op == Op::kRope);
      EXPECT_EQ(point.still_differs, here) << point.name;
    }
  }
}

TEST(DiagnosisTest, AChangedStateIsUnexplained) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, false);
    ForEachValue(trace.states.at(4), [](double& x) { x *= 1.25; });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "mlp_residual@4");
    EXPECT_FALSE(d.rounding.has_value());
  }
}

// A trace in which some ops ran in another format.
TEST(DiagnosisTest, OpsInAnotherFormatAreNamed) {
  const struct {
    const char* plan;
    std::vector<std::string> causes;
    const char* name;
  } rows[] = {
      {"q_proj@3=bf16", {"q_proj@3_bf16"}, "f32"},
      {"down_proj@2-4=bf16", {"down_proj@2-4_bf16"}, "f32"},
      {"residual=bf16", {"residual_bf16"}, "f32"},
      {"softmax=bf16", {"softmax_bf16"}, "f32"},
      // Autocast's, but for how its matrices are summed.
      {"matmul=bf16_acc", {"matmul_bf16_acc"}, "autocast-bf16"},
      // All matrices would explain more of them than they would spoil.
      {"q_proj=bf16,o_proj=bf16,gate_proj=bf16,up_proj=bf16",
       {"q_proj_bf16", "o_proj_bf16", "gate_proj_bf16", "up_proj_bf16"},
       "f32"},
      {"torch-bf16,o_proj@5=f32", {}, "torch-bf16"},
      {"torch-bf16,residual=f32", {}, "torch-bf16"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.plan);
    const ReferenceTrace trace = TraceOf("synthetic:tiny-qwen3", row.plan,
                                         kTokens, TraceKind::kOps, false);
    const Diagnosis d = DiagnosisOf("synthetic:tiny-qwen3", trace);
    EXPECT_EQ(FoundIn(d), row.causes);
    EXPECT_EQ(d.arithmetic.name, row.name);
    EXPECT_TRUE(d.explained()) << FirstUnexplained(d);
    for (const DiagnosedCause& cause : d.causes) {
      if (cause.kind == CauseKind::kRounding) continue;
      EXPECT_EQ(cause.kind, CauseKind::kArithmetic);
      EXPECT_LE(cause.replay_with.value(), 1);
      EXPECT_GT(cause.replay_without.value(), cause.replay_with.value());
    }
  }
}

TEST(DiagnosisTest, AnOpInAnotherFormatIsNamedFromStatesAlone) {
  for (const char* model : kModels) {
    const ReferenceTrace trace =
        TraceOf(model, "q_proj@3=bf16", kTokens, TraceKind::kStatesFile, false);
    const Diagnosis d = DiagnosisOf(model, trace);
    ASSERT_THAT(FoundIn(d), ElementsAre("q_proj@3_bf16"));
    EXPECT_TRUE(d.explained());
    EXPECT_EQ(d.causes.front().first_layer, 3u);
  }
}

// With one position, at 0, nothing is rotated and nothing to be masked.
TEST(DiagnosisTest, ABugThatCannotBeSeenIsNotNamed) {
  Variant other_theta;
  other_theta.rope_theta = 1e4;
  Variant no_mask;
  no_mask.causal = false;
  Variant other_scale;
  other_scale.attention_scale = 1;
  for (const Variant& variant : {other_theta, no_mask, other_scale}) {
    for (const char* plan : {"f32", "torch-bf16"}) {
      const ReferenceTrace trace =
          TraceOfVariant("synthetic:tiny", plan, {97}, variant);
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      ExpectCorrect(d);
      EXPECT_EQ(d.arithmetic.name, plan);
    }
  }
}

// The same with enough positions.
TEST(DiagnosisTest, ABugThatCanBeSeenIsNamed) {
  Variant other_theta;
  other_theta.rope_theta = 1e4;
  Variant no_mask;
  no_mask.causal = false;
  Variant other_scale;
  other_scale.attention_scale = 1;
  const struct {
    const char* id;
    const Variant& variant;
  } rows[] = {{"rope_theta_10000", other_theta},
              {"no_causal_mask", no_mask},
              {"attention_scale_missing", other_scale}};
  for (const auto& row : rows) {
    for (const char* plan : {"f32", "torch-bf16"}) {
      SCOPED_TRACE(absl::StrCat(row.id, " ", plan));
      const ReferenceTrace trace =
          TraceOfVariant("synthetic:tiny", plan, kTokens, row.variant);
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      EXPECT_THAT(FoundIn(d), ElementsAre(row.id));
      EXPECT_TRUE(d.explained());
      EXPECT_TRUE(d.differs());
      EXPECT_TRUE(d.first_difference.has_value());
      EXPECT_FALSE(d.rounding.has_value());
    }
  }
}

// A rounding that is elsewhere is within rounding at its own op; that it gives
// the trace's bits tells it, of a single row too.
TEST(DiagnosisTest, ARoundingPointElsewhereIsNamedByItsBits) {
  Variant before_cast;
  before_cast.norm_weight_before_cast = true;
  const auto found = [&](const std::vector<int32_t>& tokens) {
    // As far as the attention of layer 1, which says what the arithmetic is:
    // there is one norm.
    ReferenceTrace part =
        TraceOfVariant("synthetic:tiny", "torch-bf16", tokens, before_cast);
    for (auto it = part.outputs.begin(); it != part.outputs.end();) {
      const auto [layer, op] = it->first;
      const bool kept =
          op == Op::kEmbed || (layer == 1 && op <= Op::kAttnResidual);
      it = kept ? std::next(it) : part.outputs.erase(it);
    }
    const Diagnosis d = DiagnosisOf("synthetic:tiny", part);
    EXPECT_FALSE(d.first_difference.has_value());
    EXPECT_EQ(d.arithmetic.name, "torch-bf16");
    EXPECT_FALSE(d.arithmetic.stored_rounded);
    EXPECT_LT(d.points[1].identical, 1);
    EXPECT_THAT(d.tried,
                Contains(Field(&Tried::id, "norm_weight_before_cast")));
    for (const Tried& tried : d.tried) {
      if (tried.id != "norm_weight_before_cast") continue;
      EXPECT_GT(tried.rows_moved, 0u);
      EXPECT_EQ(tried.rows_hit, tried.rows_moved);
      EXPECT_EQ(tried.rows_moved, tokens.size());
    }
    return FoundIn(d);
  };
  EXPECT_THAT(found({1}), ElementsAre("norm_weight_before_cast"));
  EXPECT_THAT(found({97, 1, 130, 299, 0, 78, 5, 3}),
              ElementsAre("norm_weight_before_cast"));
}

// The two confirmations of a normed last state.
TEST(DiagnosisTest, ConfirmsTheLastStateTwice) {
  // In f32 the angles make the run another one, in bf16 they are lost.
  for (const char* plan : {"torch-bf16", "f32"}) {
    SCOPED_TRACE(plan);
    const ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, true);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    const auto found = std::find_if(
        d.causes.begin(), d.causes.end(),
        [](const auto& cause) { return cause.id == "last_state_normed"; });
    ASSERT_NE(found, d.causes.end());
    EXPECT_EQ(&*found, &d.causes.back());
    ASSERT_TRUE(d.alignment.last_state.has_value());
    EXPECT_EQ(d.alignment.last_state->index, kLayers);
    EXPECT_EQ(found->replay_without, d.alignment.last_state->raw);
    EXPECT_EQ(found->replay_with, d.alignment.last_state->normed);
    EXPECT_LT(found->replay_with.value(), 0x1p-6);
    EXPECT_GT(found->replay_without.value(), 0.1);
    EXPECT_LT(found->run_with.value(), found->run_without.value() / 4);
    EXPECT_GT(found->removed.value(), 0.9);
    EXPECT_EQ(found->run_with.value() > 0, std::string(plan) == "f32");
    EXPECT_NEAR(
        found->removed.value(),
        1 - std::pow(found->run_with.value() / found->run_without.value(), 2),
        0x1p-50);
  }
}

TEST(DiagnosisTest, RefusesWhatItCannotCompare) {
  const OpenedModel& model = Opened("synthetic:tiny");
  Parallel parallel;
  const auto diagnosed = [&](const ReferenceTrace& trace, size_t layers) {
    return Diagnose(RunOf(model.weights, parallel), model.checkpoint,
                    Plan(layers), trace)
        .status();
  };
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kFolder, true);
  EXPECT_THAT(diagnosed(trace, kLayers - 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ReferenceTrace without_tokens = trace;
  without_tokens.tokens.clear();
  EXPECT_THAT(diagnosed(without_tokens, kLayers),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ReferenceTrace empty;
  empty.tokens = kTokens;
  EXPECT_THAT(diagnosed(empty, kLayers),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ulpscope
