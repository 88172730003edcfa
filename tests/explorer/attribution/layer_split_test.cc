#include "explorer/attribution/layer_split.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "explorer/attribution/attribution.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"
#include "tests/explorer/attribution/attributed.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::SizeIs;

constexpr double kUnitRoundoff = 0x1p-53;

// What a run of RunLockstep's streams leaves behind after each layer.
class States : public LockstepObserver {
 public:
  explicit States(size_t num_streams, size_t num_layers)
      : all_(num_streams, std::vector<StreamState>(num_layers + 1)) {}

  bool Wants(Op) const override { return false; }
  void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                Matrix<const double>) override {}
  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    const auto copied = [](Matrix<const double> m) {
      return std::vector<double>(m.data, m.data + m.rows * m.cols);
    };
    for (const size_t s : streams) {
      all_[s][layer] = {copied(stream), copied(carry)};
    }
  }

  const StreamState& At(size_t stream, size_t layer) const {
    return all_[stream][layer];
  }

 private:
  std::vector<std::vector<StreamState>> all_;
};

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Relative to a reference of this 2-norm. The figures are those of as many
// values in the same order, but for rel_l2: a sum of n squares, a root and a
// quotient.
void ExpectSize(const ErrorSize& size, const std::vector<double>& error,
                double reference_norm, size_t hidden) {
  const double n = static_cast<double>(error.size());
  double sum = 0;
  size_t largest = 0;
  for (size_t i = 0; i < error.size(); ++i) {
    sum += std::fabs(error[i]);
    if (std::fabs(error[i]) > std::fabs(error[largest])) largest = i;
  }
  EXPECT_EQ(size.l2, Norm2(error));
  EXPECT_NEAR(size.rel_l2 * reference_norm, Norm2(error),
              (n + 4) * kUnitRoundoff * Norm2(error));
  EXPECT_EQ(size.mean_abs, sum / n);
  EXPECT_EQ(size.max_abs, std::fabs(error[largest]));
  EXPECT_EQ(size.max_position, largest / hidden);
  EXPECT_EQ(size.max_channel, largest % hidden);
}

constexpr const char* kPlans[] = {
    "f32",
    "torch-bf16",
    "kahan,residual=kahan",
    "residual=f64,matmul=bf16_acc",
    "oracle,down_proj@4-6=bf16,softmax=bf16,embed=f32",
};

class LayerSplitTest
    : public testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  const Weights& weights() const { return Tiny(std::get<0>(GetParam())); }
  std::string plan() const { return std::get<1>(GetParam()); }
};

// The figures are those of vectors that the test computes itself, and the
// vectors add up. With u the unit roundoff and m the largest of an element's
// three computed errors: each is a rounded difference, within u m of the exact
// one, of which total = inherited + local holds; the sum is another rounding.
TEST_P(LayerSplitTest, InheritedAndLocalAreTheTotal) {
  const AttributedWith options = TinyPrompt();
  const Attribution result = Attributed(weights(), plan(), options);
  const size_t num_layers = weights().layers.size();
  const Plan oracle = Parsed("oracle", weights());
  std::vector<Stream> streams = {{oracle, options.tokens},
                                 {Parsed(plan(), weights()), options.tokens}};
  Parallel parallel;
  States runs(2, num_layers);
  ASSERT_THAT(RunLockstep(weights(), streams, {}, runs, parallel), IsOk());
  ASSERT_THAT(result.layers, SizeIs(num_layers + 1));
  bool inherits = false;
  for (size_t layer = 0; layer <= num_layers; ++layer) {
    SCOPED_TRACE(absl::StrCat("layer ", layer));
    const std::vector<double>& o = runs.At(0, layer).stream;
    const std::vector<double>& p = runs.At(1, layer).stream;
    std::vector<double> after = o;  // the oracle's layer, of the plan's input
    double entering = 0;
    StreamState start;
    if (layer > 0) {
      start.stream = runs.At(1, layer - 1).stream;
      std::vector<double> error;
      for (size_t i = 0; i < start.stream.size(); ++i) {
        start.stream[i] += runs.At(1, layer - 1).carry[i];
        error.push_back(start.stream[i] - runs.At(0, layer - 1).stream[i]);
      }
      entering = Norm2(error);
      States one(1, num_layers);
      const std::vector<Stream> alone = {
          {oracle, options.tokens, layer, &start, layer}};
      ASSERT_THAT(RunLockstep(weights(), alone, {}, one, parallel), IsOk());
      after = one.At(0, layer).stream;
    }
    std::vector<double> total, inherited, local;
    double ulps = 0;
    for (size_t i = 0; i < o.size(); ++i) {
      total.push_back(p[i] - o[i]);
      inherited.push_back(after[i] - o[i]);
      local.push_back(p[i] - after[i]);
      const double largest = std::max(
          {std::fabs(total[i]), std::fabs(inherited[i]), std::fabs(local[i])});
      const double rest = std::fabs(total[i] - (inherited[i] + local[i]));
      ASSERT_LE(rest, 4 * kUnitRoundoff * (1 + 0x1p-50) * largest);
      if (rest > 0) ulps = std::max(ulps, rest / largest / kUnitRoundoff);
    }
    const LayerSplit& split = result.layers[layer];
    EXPECT_EQ(split.layer, layer);
    EXPECT_EQ(split.identity_ulps, ulps);
    const size_t hidden = o.size() / options.tokens.size();
    ExpectSize(split.total, total, Norm2(o), hidden);
    ExpectSize(split.inherited, inherited, Norm2(o), hidden);
    ExpectSize(split.local, local, Norm2(o), hidden);
    const double rounding = (static_cast<double>(o.size()) + 4) * kUnitRoundoff;
    if (entering > 0) {
      EXPECT_NEAR(split.amplification * entering, Norm2(inherited),
                  rounding * Norm2(inherited));
      const double growth = Norm2(o) / Norm2(runs.At(0, layer - 1).stream);
      EXPECT_NEAR(split.relative_amplification * growth, split.amplification,
                  3 * rounding * split.amplification);
    }
    inherits = inherits || split.inherited.l2 > 0;
    for (const OpError& op : split.ops) {
      std::vector<double> error = p;  // of the embedding
      if (layer > 0) {
        Stream changed = {oracle, options.tokens, layer, &start, layer};
        changed.plan.Set(layer, op.op, streams[1].plan.Get(layer, op.op));
        States one(1, num_layers);
        ASSERT_THAT(RunLockstep(weights(), {changed}, {}, one, parallel),
                    IsOk());
        error = one.At(0, layer).stream;
      }
      for (size_t i = 0; i < error.size(); ++i) error[i] -= after[i];
      EXPECT_NEAR(op.rel_l2 * Norm2(o), Norm2(error), rounding * Norm2(error));
      if (Norm2(local) == 0) continue;
      EXPECT_EQ(op.share,
                Norm2(error) == 0 ? 0 : Dot(error, local) / Dot(local, local));
    }
  }
  EXPECT_TRUE(inherits);
}

// Each share is a dot product of n terms over another, within (2 n + 3) u of
// |the op's error| / |the local error|; the rest of the local error is no
// larger than it and all of theirs.
TEST_P(LayerSplitTest, OpsAndInteractionShareTheLocalError) {
  const Attribution result = Attributed(weights(), plan(), TinyPrompt());
  const double n = 6 * static_cast<double>(weights().config.hidden_size);
  size_t shared = 0;
  for (const LayerSplit& split : result.layers) {
    EXPECT_THAT(
        split.ops,
        SizeIs(split.layer == 0 ? 1u : CellsOf(weights().config).size() / 8));
    double sum = split.interaction_share;
    double sizes = 1;
    for (const OpError& op : split.ops) {
      sum += op.share;
      if (op.rel_l2 > 0) sizes += op.rel_l2 / split.local.rel_l2;
    }
    if (split.local.l2 == 0) {
      EXPECT_EQ(sum, 0);
      continue;
    }
    ++shared;
    const double terms = static_cast<double>(split.ops.size()) + 1;
    EXPECT_NEAR(sum, 1, 2 * sizes * (2 * n + 3 + 2 * terms) * kUnitRoundoff)
        << split.layer;
  }
  EXPECT_GE(shared, 3u);
}

INSTANTIATE_TEST_SUITE_P(All, LayerSplitTest,
                         testing::Combine(testing::ValuesIn(kTinyModels),
                                          testing::ValuesIn(kPlans)),
                         [](const auto& test) {
                           std::string name =
                               absl::StrCat(std::get<0>(test.param), "_",
                                            std::get<1>(test.param));
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

// One op under bf16 in one layer: what is local is all its own, and every layer
// behind it inherits and adds nothing.
TEST(LayerSplitTest, OneOpIsLocalThereAndInheritedBehind) {
  const Attribution result =
      Attributed(Tiny(), "oracle,o_proj@3=bf16", TinyPrompt());
  for (const LayerSplit& split : result.layers) {
    SCOPED_TRACE(split.layer);
    if (split.layer == 3) {
      EXPECT_EQ(split.inherited.l2, 0);
      EXPECT_GT(split.local.l2, 0);
      EXPECT_EQ(split.total.l2, split.local.l2);
      for (const OpError& op : split.ops) {
        EXPECT_EQ(op.share, op.op == Op::kOProj ? 1 : 0);
        EXPECT_EQ(op.rel_l2, op.op == Op::kOProj ? split.local.rel_l2 : 0);
      }
      EXPECT_EQ(split.interaction_share, 0);
    } else {
      EXPECT_EQ(split.local.l2, 0);
      EXPECT_EQ(split.inherited.l2, split.total.l2);
      EXPECT_EQ(split.total.l2 > 0, split.layer > 3);
    }
    if (split.layer > 3) {
      EXPECT_EQ(split.amplification,
                split.total.l2 / result.layers[split.layer - 1].total.l2);
    } else {
      EXPECT_EQ(split.amplification, 0);
    }
  }
}

}  // namespace
}  // namespace ulpscope
