// Where each row's error comes from, by runs of single layers.

#include "explorer/diagnosis/error_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/kept_states.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/model/decoder/kept_outputs.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

constexpr const char* kModel = "synthetic:tiny";
// The first has the massive activation that layer 6 cancels.
const std::vector<int32_t> kTokens = {97, 1, 130};

using Values = std::vector<double>;

Values ValuesOf(const ReferenceTrace& trace, size_t state) {
  const Matrix<double> rows = trace.states.at(state).rows.view();
  return {rows.data, rows.data + rows.rows * rows.cols};
}

double SquaredDistance(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double Norm(const Values& a) {
  return std::sqrt(SquaredDistance(a, Values(a.size())));
}

// The oracle's layer of a state.
Values Layer(size_t layer, const Values& state, Parallel& parallel) {
  const Weights& weights = Opened(kModel).weights;
  StreamState start;
  start.stream = state;
  Stream stream = {*Plan::Parse("oracle", weights.layers.size()), kTokens};
  stream.first_layer = stream.last_layer = layer;
  stream.start = &start;
  KeptOutputs kept(1);
  EXPECT_THAT(RunLockstep(weights, {stream}, {}, kept, parallel), IsOk());
  return kept.Get(0, layer, Op::kMlpResidual).values;
}

TEST(ErrorRowsTest, SharesAreThoseOfSingleLayers) {
  Parallel parallel(2);
  const Weights& weights = Opened(kModel).weights;
  const size_t num_layers = weights.layers.size();
  const auto dumped = [](const char* plan) {
    return TraceOf(kModel, plan, kTokens, TraceKind::kStatesFile, false);
  };
  const ReferenceTrace theirs = dumped("torch-bf16");
  // Coarse enough to have a share of its own.
  const ReferenceTrace ours = dumped("matmul=bf16");
  const ReferenceTrace oracle = dumped("oracle");
  const Diagnosis d = DiagnosisOf(kModel, theirs, {}, "matmul=bf16");
  ASSERT_EQ(d.rows.size(), num_layers);

  const auto oracle_plan = Plan::Parse("oracle", num_layers);
  ASSERT_THAT(oracle_plan, IsOk());
  Decoder decoder(weights, *oracle_plan, kTokens.size(), parallel);
  KeptStates adds(weights.config);
  ASSERT_THAT(decoder.Forward(kTokens, Logits::kNone, &adds), IsOk());

  // Sums of n < 2^9 squares, a few of them together.
  const double tolerance = 0x1p-40;
  double exposed = 0, exposures = 0;
  for (size_t n = 1; n <= num_layers; ++n) {
    SCOPED_TRACE(n);
    const ErrorRow& row = d.rows[n - 1];
    const Values t = ValuesOf(theirs, n), p = ValuesOf(ours, n);
    const Values t_before = ValuesOf(theirs, n - 1);
    const Values p_before = ValuesOf(ours, n - 1);
    const Values of_t = Layer(n, t_before, parallel);
    const Values of_p = Layer(n, p_before, parallel);
    const double traces = SquaredDistance(t, of_t);
    const double own = SquaredDistance(p, of_p);
    const double inherited = SquaredDistance(of_p, of_t);
    const double all = traces + own + inherited;
    EXPECT_NEAR(row.shares->rounding, traces / all, tolerance);
    EXPECT_EQ(row.shares->difference, 0);
    EXPECT_NEAR(row.shares->own, own / all, tolerance);
    EXPECT_GT(row.shares->own, 0);
    EXPECT_NEAR(row.shares->inherited + row.shares->cancellation,
                inherited / all, tolerance);
    // What grows where the oracle's own adds cancel at least two-fold.
    const double before = std::sqrt(SquaredDistance(t_before, p_before)) /
                          Norm(ValuesOf(oracle, n - 1));
    const double after = std::sqrt(inherited) / Norm(ValuesOf(oracle, n));
    const Cancellation& cancels = adds.CancellationAt(n);
    if (std::max(cancels.attn, cancels.mlp) >= 2 && after > before) {
      ASSERT_GT(before, 0);
      const double grown = before / after;
      exposed += (1 - exposed) * (1 - grown * grown);
      ++exposures;
    }
    EXPECT_NEAR(row.shares->cancellation, inherited / all * exposed, tolerance);
    // Of what comes to the next layer it is the share that was exposed.
    exposed *= inherited / all;
  }
  EXPECT_GE(exposures, 1);
  EXPECT_GT(d.rows[5].shares->cancellation, 0.3);
}

}  // namespace
}  // namespace ulpscope
