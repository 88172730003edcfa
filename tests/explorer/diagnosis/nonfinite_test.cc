// Why values are not finite.

#include "explorer/diagnosis/nonfinite.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "explorer/diagnosis/describe.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/results.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Two rows of two.
NonFiniteEvidence Evidence(Op op, std::vector<double> theirs,
                           std::vector<double> exact) {
  NonFiniteEvidence e;
  e.op = op;
  e.format = Format::kF16;
  e.head_dim = 16;
  e.values.rows = e.values.cols = 2;
  e.values.theirs = std::move(theirs);
  e.values.exact = std::move(exact);
  return e;
}

TEST(CauseOfTest, Overflow) {
  const auto of = [](Op op, double exact) {
    return CauseOf(Evidence(op, {1, 2, kInfinity, 3}, {9e4, 2, exact, 3}));
  };
  EXPECT_EQ(of(Op::kDownProj, 7.1e4).reason, NonFiniteReason::kOverflow);
  EXPECT_EQ(of(Op::kDownProj, -7.1e4).magnitude, 7.1e4);
  // That of an element that is finite says nothing.
  EXPECT_EQ(of(Op::kDownProj, 6e4).reason, NonFiniteReason::kUnknown);
  // Scores are products, scaled by 1 / 4.
  EXPECT_EQ(of(Op::kQk, 2e4).reason, NonFiniteReason::kIntermediate);
  EXPECT_EQ(of(Op::kQk, 2e4).magnitude, 8e4);
  EXPECT_EQ(of(Op::kQk, 1e4).reason, NonFiniteReason::kUnknown);
}

TEST(CauseOfTest, Softmax) {
  NonFiniteEvidence e =
      Evidence(Op::kSoftmax, {kNaN, kNaN, 0.5, 0.5}, {1, 0, 0.5, 0.5});
  e.scores = {1, 2, 3, 4};
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kSeesNothing);
  e.scores[1] = kInfinity;
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kInfMinusInf);
  // One of another row is not the reason.
  e.scores = {1, 2, 3, kInfinity};
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kSeesNothing);
  e.scores = {1, 2, 3, 4};
  e.values.theirs[1] = 0;
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kUnknown);
}

TEST(CauseOfTest, Norm) {
  NonFiniteEvidence e =
      Evidence(Op::kPostNorm, {1, 1, kNaN, kNaN}, {1, 1, kNaN, kNaN});
  e.input = {300, 0, 0, 0};
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kZeroByZero);
  e.eps = 1e-6;
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kUnknown);
  e.input = {0, 0, 300, 1};
  EXPECT_EQ(CauseOf(e).reason, NonFiniteReason::kIntermediate);
  EXPECT_EQ(CauseOf(e).magnitude, 90001);
}

// Outputs of the norm in layer 3 that f16 does not hold, of one channel.
OpenedModel WithAnOverflow() {
  OpenedModel model = Open("synthetic:tiny");
  model.weights.layers[2].post_norm[7] *= 1e7;
  return model;
}

TEST(FirstNonFiniteTest, NamesOpAndChannel) {
  const OpenedModel model = WithAnOverflow();
  const ReferenceTrace trace = TraceOfVariant(model, "torch-f16", kTokens, {});
  const Diagnosis d = DiagnosisOf(model, trace);
  ASSERT_TRUE(d.trace_first_nonfinite.has_value());
  const FirstNonFinite& first = *d.trace_first_nonfinite;
  EXPECT_EQ(first.origin.op, Op::kPostNorm);
  EXPECT_EQ(first.origin.layer, 3u);
  EXPECT_TRUE(first.origin.unseen.empty());
  ASSERT_EQ(first.channels.size(), 1u);
  EXPECT_EQ(first.channels[0].first, 7u);
  EXPECT_EQ(first.channels[0].last, 7u);
  EXPECT_EQ(first.reason, NonFiniteReason::kOverflow);
  EXPECT_EQ(first.format, Format::kF16);
  EXPECT_GT(*first.magnitude, 65504);
  EXPECT_TRUE(first.emulated);
  EXPECT_EQ(first.emulated_op, Op::kPostNorm);
  EXPECT_LT(d.finite_values.finite, d.finite_values.values);
  EXPECT_LE(d.finite_values.judged, d.finite_values.finite);
  EXPECT_GT(d.finite_values.judged, 0u);
}

TEST(FirstNonFiniteTest, OfOursIsNamedWhateverIsTraced) {
  const OpenedModel model = WithAnOverflow();
  ReferenceTrace trace = TraceOfVariant(model, "f32", kTokens, {});
  for (auto at = trace.outputs.begin(); at != trace.outputs.end();) {
    at = at->first.second == Op::kLmHead ? std::next(at)
                                         : trace.outputs.erase(at);
  }
  const Diagnosis d = DiagnosisOf(model, trace, {}, "torch-f16");
  EXPECT_FALSE(d.trace_first_nonfinite.has_value());
  ASSERT_TRUE(d.ours_first_nonfinite.has_value());
  EXPECT_EQ(d.ours_first_nonfinite->origin.op, Op::kPostNorm);
  EXPECT_EQ(d.ours_first_nonfinite->origin.layer, 3u);
  EXPECT_EQ(d.ours_first_nonfinite->reason, NonFiniteReason::kOverflow);
  EXPECT_EQ(d.finite_values.finite, d.finite_values.values);
}

TEST(FirstNonFiniteTest, OfNoArithmeticIsNotEmulated) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
  trace.outputs.at({4, Op::kUpProj}).rows.view().Row(1)[3] = kInfinity;
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_TRUE(d.trace_first_nonfinite.has_value());
  EXPECT_FALSE(d.trace_first_nonfinite->emulated);
  EXPECT_EQ(d.trace_first_nonfinite->reason, NonFiniteReason::kUnknown);
  EXPECT_EQ(d.trace_first_nonfinite->positions[0].first, 1u);
  EXPECT_EQ(d.trace_first_nonfinite->channels[0].first, 3u);
  EXPECT_EQ(d.trace_first_nonfinite->elements, 1u);
}

}  // namespace
}  // namespace ulpscope
