#include "explorer/attribution.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "explorer/evaluation.h"
#include "explorer/metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/checkpoint.h"
#include "model/decoder.h"
#include "model/lockstep.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/trace.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr double kUnitRoundoff = 0x1p-53;

Weights Load(const std::string& name) {
  Parallel parallel;
  const auto checkpoint = OpenCheckpoint(name);
  EXPECT_THAT(checkpoint, IsOk());
  auto weights = LoadWeights(*checkpoint, parallel, [](size_t, size_t) {});
  EXPECT_THAT(weights, IsOk());
  return *std::move(weights);
}

const Weights& Tiny(const std::string& name = "synthetic:tiny") {
  static auto* const all = new std::map<std::string, Weights>();
  const auto found = all->find(name);
  if (found != all->end()) return found->second;
  return all->emplace(name, Load(name)).first->second;
}

Plan Parsed(const std::string& text, const Weights& weights) {
  const auto plan = Plan::Parse(text, weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  return *plan;
}

AttributionOptions Tokens(std::vector<int32_t> tokens) {
  AttributionOptions options;
  options.tokens = std::move(tokens);
  return options;
}

// With the token of the massive activation, not first.
AttributionOptions Prompt() { return Tokens({17, 97, 5, 250, 3, 97}); }

Attribution Attributed(const Weights& weights, const std::string& plan,
                       const AttributionOptions& options, size_t threads = 2) {
  Parallel parallel(threads);
  auto result = Attribute(weights, Parsed(plan, weights), options, parallel);
  EXPECT_THAT(result, IsOk());
  return result.ok() ? *std::move(result) : Attribution();
}

// Every figure, to compare bit for bit.
void AddFigures(const Effect& effect, std::vector<double>& all) {
  all.insert(all.end(), {effect.rel_l2, effect.logits_rel_l2, effect.kl,
                         static_cast<double>(effect.complete)});
  all.insert(all.end(), effect.layers.begin(), effect.layers.end());
}

std::vector<double> Figures(const Cause& cause) {
  std::vector<double> all = {
      static_cast<double>(cause.cell.layer), static_cast<double>(cause.cell.op),
      static_cast<double>(cause.changes_bits), cause.share, cause.cosine};
  AddFigures(cause.effect, all);
  return all;
}

std::vector<double> Figures(const Repair& repair) {
  std::vector<double> all = {static_cast<double>(repair.cell.layer),
                             static_cast<double>(repair.cell.op),
                             repair.gain,
                             repair.logits_gain,
                             repair.moved,
                             repair.logits_moved};
  AddFigures(repair.effect, all);
  return all;
}

std::vector<double> Figures(const LayerSplit& split) {
  std::vector<double> all = {static_cast<double>(split.layer),
                             split.amplification, split.relative_amplification,
                             split.identity_ulps, split.interaction_share};
  for (const ErrorSize& size : {split.total, split.inherited, split.local}) {
    all.insert(all.end(), {size.l2, size.rel_l2, size.mean_abs, size.max_abs,
                           static_cast<double>(size.max_position),
                           static_cast<double>(size.max_channel)});
  }
  for (const OpError& op : split.ops) {
    all.insert(all.end(), {static_cast<double>(op.op), op.rel_l2, op.share});
  }
  return all;
}

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

template <typename T>
void ExpectSameFigures(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(SameBits(Figures(a[i]), Figures(b[i]))) << i;
  }
}

TEST(CellsOfTest, AreTheOpsOfTheModelInOrder) {
  const std::vector<Cell> tiny = CellsOf(Tiny().config);
  ASSERT_THAT(tiny, SizeIs(1 + 8 * 16 + 2));
  const std::vector<Cell> qwen3 = CellsOf(Tiny("synthetic:tiny-qwen3").config);
  ASSERT_THAT(qwen3, SizeIs(1 + 8 * 18 + 2));
  for (const std::vector<Cell>& cells : {tiny, qwen3}) {
    EXPECT_EQ(cells.front().op, Op::kEmbed);
    EXPECT_EQ(cells[cells.size() - 2].op, Op::kFinalNorm);
    EXPECT_EQ(cells.back().op, Op::kLmHead);
    for (size_t i = 1; i + 2 < cells.size(); ++i) {
      EXPECT_TRUE(IsPerLayer(cells[i].op));
      const bool same_layer = cells[i].layer == cells[i - 1].layer;
      EXPECT_TRUE(same_layer ? cells[i].op > cells[i - 1].op
                             : cells[i].layer == cells[i - 1].layer + 1)
          << i;
    }
  }
}

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

double Norm2(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

constexpr const char* kModels[] = {"synthetic:tiny", "synthetic:tiny-qwen3"};

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
  const AttributionOptions options = Prompt();
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
    if (layer > 0) {
      StreamState start = {runs.At(1, layer - 1).stream, {}};
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
    for (size_t i = 0; i < o.size(); ++i) {
      total.push_back(p[i] - o[i]);
      inherited.push_back(after[i] - o[i]);
      local.push_back(p[i] - after[i]);
      const double largest = std::max(
          {std::fabs(total[i]), std::fabs(inherited[i]), std::fabs(local[i])});
      ASSERT_LE(std::fabs(total[i] - (inherited[i] + local[i])),
                4 * kUnitRoundoff * (1 + 0x1p-50) * largest);
    }
    const LayerSplit& split = result.layers[layer];
    EXPECT_EQ(split.layer, layer);
    EXPECT_LE(split.identity_ulps, 4 * (1 + 0x1p-50));
    EXPECT_EQ(split.total.l2, Norm2(total));
    EXPECT_EQ(split.inherited.l2, Norm2(inherited));
    EXPECT_EQ(split.local.l2, Norm2(local));
    // A sum of n squares, a root and a quotient.
    const double rounding = (static_cast<double>(o.size()) + 4) * kUnitRoundoff;
    EXPECT_NEAR(split.total.rel_l2 * Norm2(o), Norm2(total),
                rounding * Norm2(total));
    if (entering > 0) {
      EXPECT_NEAR(split.amplification * entering, Norm2(inherited),
                  rounding * Norm2(inherited));
      const double growth = Norm2(o) / Norm2(runs.At(0, layer - 1).stream);
      EXPECT_NEAR(split.relative_amplification * growth, split.amplification,
                  3 * rounding * split.amplification);
    }
    inherits = inherits || split.inherited.l2 > 0;
    const size_t at =
        split.total.max_position * (o.size() / 6) + split.total.max_channel;
    EXPECT_EQ(split.total.max_abs, std::fabs(total[at]));
    for (const double error : total) {
      EXPECT_LE(std::fabs(error), split.total.max_abs);
    }
  }
  EXPECT_TRUE(inherits);
}

// Each share is a dot product of n terms over another, within (2 n + 3) u of
// |the op's error| / |the local error|; the rest of the local error is no
// larger than it and all of theirs.
TEST_P(LayerSplitTest, OpsAndInteractionShareTheLocalError) {
  const Attribution result = Attributed(weights(), plan(), Prompt());
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
                         testing::Combine(testing::ValuesIn(kModels),
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
      Attributed(Tiny(), "oracle,o_proj@3=bf16", Prompt());
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

// What the maps say of a plan is what running it says: n values' squares are
// summed in another order here.
void ExpectMeasured(const Effect& effect, const TraceMetrics& metrics,
                    double n) {
  const auto near = [n](double value, double expected) {
    EXPECT_NEAR(value, expected, 2 * n * kUnitRoundoff * expected);
  };
  EXPECT_TRUE(effect.complete);
  near(effect.rel_l2, metrics.final_hidden().rel_l2);
  EXPECT_EQ(effect.kl, metrics.logits.kl);
  EXPECT_EQ(effect.logits_rel_l2 > 0, metrics.logits.max_abs > 0);
  ASSERT_THAT(effect.layers, SizeIs(metrics.layers.size() + 1));
  for (const LayerMetrics& layer : metrics.layers) {
    near(effect.layers[layer.layer], layer.error.rel_l2);
  }
}

TEST(AttributeTest, MapsAreWhatRunningTheirPlansSays) {
  for (const std::string name : kModels) {
    const Weights& weights = Tiny(name);
    const std::string text = "torch-bf16,v_proj=oracle,lm_head=f32";
    const Plan plan = Parsed(text, weights);
    const Plan oracle = Parsed("oracle", weights);
    const AttributionOptions options = Prompt();
    const Attribution result = Attributed(weights, text, options);
    Parallel parallel;
    const auto evaluation =
        Evaluation::Create(weights, options.tokens, parallel);
    ASSERT_THAT(evaluation, IsOk());
    const double n = static_cast<double>(options.tokens.size()) *
                     static_cast<double>(weights.config.hidden_size);
    const auto measured = [&](const Plan& changed) {
      return *evaluation->Measure(changed);
    };
    const TraceMetrics all = measured(plan);
    ExpectMeasured(result.plan, all, n);
    EXPECT_TRUE(result.stopped_in.empty());

    const std::vector<Cell> cells = CellsOf(weights.config);
    ASSERT_THAT(result.causes, SizeIs(cells.size()));
    ASSERT_THAT(result.repairs, SizeIs(cells.size()));
    const auto gain = [](double error, double plan_error) {
      return 1 - error / plan_error;
    };
    for (size_t i = 0; i < cells.size(); ++i) {
      const auto& [layer, op] = cells[i];
      SCOPED_TRACE(absl::StrCat(name, " ", OpName(op), "@", layer));
      EXPECT_EQ(result.causes[i].cell.layer, layer);
      EXPECT_EQ(result.causes[i].cell.op, op);
      EXPECT_EQ(result.repairs[i].cell.layer, layer);
      EXPECT_EQ(result.repairs[i].cell.op, op);
      Plan cause = oracle, repair = plan;
      cause.Set(layer, op, plan.Get(layer, op));
      repair.Set(layer, op, oracle.Get(layer, op));
      const TraceMetrics caused = measured(cause);
      ExpectMeasured(result.causes[i].effect, caused, n);
      EXPECT_EQ(result.causes[i].changes_bits,
                caused.final_hidden().max_abs > 0 || caused.logits.max_abs > 0);
      ExpectMeasured(result.repairs[i].effect, measured(repair), n);
      // Two quotients near 1, and errors that are rounded as above.
      EXPECT_NEAR(result.repairs[i].gain,
                  gain(result.repairs[i].effect.rel_l2, result.plan.rel_l2),
                  4 * kUnitRoundoff);
      EXPECT_NEAR(result.repairs[i].logits_gain,
                  gain(result.repairs[i].effect.logits_rel_l2,
                       result.plan.logits_rel_l2),
                  4 * kUnitRoundoff);
      if (op == Op::kVProj) {
        EXPECT_FALSE(result.causes[i].changes_bits);
        EXPECT_EQ(result.repairs[i].gain, 0);
      }
    }
    const size_t ops = cells.size() / 8;
    ASSERT_THAT(result.op_repairs, SizeIs(ops));
    for (const Repair& repair : result.op_repairs) {
      Plan repaired = plan;
      EXPECT_EQ(repair.cell.layer, 0u);
      for (size_t layer = 1; layer <= weights.layers.size(); ++layer) {
        repaired.Set(layer, repair.cell.op, oracle.Get(1, repair.cell.op));
      }
      SCOPED_TRACE(repaired.Text());
      ExpectMeasured(repair.effect, measured(repaired), n);
    }
    ASSERT_THAT(result.layer_repairs, SizeIs(weights.layers.size()));
    for (size_t l = 1; l <= weights.layers.size(); ++l) {
      const Repair& repair = result.layer_repairs[l - 1];
      EXPECT_EQ(repair.cell.layer, l);
      Plan repaired = plan;
      for (const auto& [layer, op] : cells) {
        if (layer == l) repaired.Set(layer, op, oracle.Get(layer, op));
      }
      SCOPED_TRACE(repaired.Text());
      ExpectMeasured(repair.effect, measured(repaired), n);
    }
    ASSERT_THAT(result.group_repairs, SizeIs(kNumKernels));
    for (size_t i = 0; i < kNumKernels; ++i) {
      const Repair& repair = result.group_repairs[i];
      const auto kernel = static_cast<Kernel>(i);
      EXPECT_EQ(OpKernel(repair.cell.op), kernel);
      const Plan repaired = Parsed(
          absl::StrCat(text, ",", KernelName(kernel), "=oracle"), weights);
      SCOPED_TRACE(repaired.Text());
      ExpectMeasured(repair.effect, measured(repaired), n);
    }
  }
}

// The final hidden state of a plan, by a decoder.
std::vector<double> FinalHidden(const Plan& plan,
                                const AttributionOptions& options) {
  Parallel parallel;
  Decoder decoder(Tiny(), plan, options.tokens.size(), parallel);
  Trace trace(Tiny().config);
  EXPECT_THAT(decoder.Forward(options.tokens, Logits::kNone, &trace), IsOk());
  const Matrix<const double> m = trace.State(trace.num_layers());
  return {m.data, m.data + m.rows * m.cols};
}

TEST(AttributeTest, ARepairMovesTheResultsFromThePlans) {
  const AttributionOptions options = Prompt();
  const Plan plan = Parsed("torch-bf16", Tiny());
  const Plan oracle = Parsed("oracle", Tiny());
  const Attribution result = Attributed(Tiny(), "torch-bf16", options);
  const auto distance = [](const std::vector<double>& a,
                           const std::vector<double>& b) {
    std::vector<double> difference;
    for (size_t i = 0; i < a.size(); ++i) difference.push_back(a[i] - b[i]);
    return Norm2(difference);
  };
  const std::vector<double> p = FinalHidden(plan, options);
  const double error = distance(p, FinalHidden(oracle, options));
  bool moves_more_than_it_gains = false;
  for (const Repair& repair : result.repairs) {
    Plan repaired = plan;
    repaired.Set(repair.cell.layer, repair.cell.op,
                 oracle.Get(repair.cell.layer, repair.cell.op));
    const double moved = distance(FinalHidden(repaired, options), p) / error;
    // Sums of n squares, and five quotients and roots each.
    const double n = static_cast<double>(p.size());
    EXPECT_NEAR(repair.moved, moved, 2 * (n + 10) * kUnitRoundoff * moved);
    // The triangle of the oracle, the plan and the repaired plan.
    EXPECT_GE(repair.moved, repair.gain - 4 * n * kUnitRoundoff);
    EXPECT_GE(repair.logits_moved, repair.logits_gain - 4 * n * kUnitRoundoff);
    moves_more_than_it_gains =
        moves_more_than_it_gains || (repair.gain < 0 && repair.moved > 0.01);
    const bool is_head =
        repair.cell.op == Op::kFinalNorm || repair.cell.op == Op::kLmHead;
    if (is_head) {
      EXPECT_EQ(repair.moved, 0);
      EXPECT_GT(repair.logits_moved, 0);
    }
  }
  EXPECT_TRUE(moves_more_than_it_gains);
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Largest change of a sum of the causes' error vectors by adding them in
// another order, in units of the plan's error: Higham, section 4.2.
double SumRounding(const Attribution& result) {
  double sizes = 1;
  for (const Cause& cause : result.causes) {
    sizes += cause.effect.rel_l2 / result.plan.rel_l2;
  }
  return 2 * static_cast<double>(result.causes.size()) * kUnitRoundoff * sizes;
}

TEST(AttributeTest, CausesAddUpAsTheirVectorsDo) {
  for (const std::string text : {"f32", "torch-bf16"}) {
    const AttributionOptions options = Prompt();
    const Plan plan = Parsed(text, Tiny());
    const Plan oracle = Parsed("oracle", Tiny());
    const Attribution result = Attributed(Tiny(), text, options);
    const std::vector<double> o = FinalHidden(oracle, options);
    const auto error_of = [&](const Plan& changed) {
      std::vector<double> error = FinalHidden(changed, options);
      for (size_t i = 0; i < error.size(); ++i) error[i] -= o[i];
      return error;
    };
    const std::vector<double> e = error_of(plan);
    std::vector<double> sum(e.size(), 0);
    const double n = static_cast<double>(e.size());
    for (const Cause& cause : result.causes) {
      Plan changed = oracle;
      changed.Set(cause.cell.layer, cause.cell.op,
                  plan.Get(cause.cell.layer, cause.cell.op));
      const std::vector<double> c = error_of(changed);
      for (size_t i = 0; i < c.size(); ++i) sum[i] += c[i];
      const double size = Norm2(c) / Norm2(e);
      EXPECT_NEAR(cause.share, Dot(c, e) / Dot(e, e),
                  4 * n * kUnitRoundoff * size);
      if (size > 0) {
        EXPECT_NEAR(cause.cosine, cause.share / size, 4 * n * kUnitRoundoff);
      } else {
        EXPECT_EQ(cause.cosine, 0);
      }
    }
    std::vector<double> rest;
    for (size_t i = 0; i < e.size(); ++i) rest.push_back(e[i] - sum[i]);
    const double rounding =
        SumRounding(result) + 4 * n * kUnitRoundoff * (1 + result.sum_norm);
    EXPECT_NEAR(result.sum_norm, Norm2(sum) / Norm2(e), rounding);
    EXPECT_NEAR(result.sum_rest, Norm2(rest) / Norm2(e), rounding);
    EXPECT_NEAR(result.sum_cosine, Dot(sum, e) / (Norm2(sum) * Norm2(e)),
                2 * rounding / result.sum_norm);
    EXPECT_GT(result.sum_norm, 0);
  }
}

// Nothing is added to the stream between two residual adds, and both round it
// to bf16: either makes the whole error, and neither's repair removes any of
// it.
TEST(AttributeTest, OneRoundingInTwoCellsIsCountedTwice) {
  Weights weights = Load("synthetic:tiny");
  const auto clear = [](std::vector<double>& values) {
    std::fill(values.begin(), values.end(), 0);
  };
  clear(weights.layers[2].post_norm);
  clear(weights.layers[3].input_norm);
  clear(weights.layers[3].v_bias);
  const Attribution result = Attributed(
      weights, "oracle,mlp_residual@3=bf16,attn_residual@4=bf16", Prompt());
  EXPECT_GT(result.plan.rel_l2, 0);
  for (size_t i = 0; i < result.causes.size(); ++i) {
    const Cause& cause = result.causes[i];
    const Repair& repair = result.repairs[i];
    const bool is_rounded =
        (cause.cell.layer == 3 && cause.cell.op == Op::kMlpResidual) ||
        (cause.cell.layer == 4 && cause.cell.op == Op::kAttnResidual);
    SCOPED_TRACE(absl::StrCat(OpName(cause.cell.op), "@", cause.cell.layer));
    EXPECT_EQ(cause.changes_bits, is_rounded);
    EXPECT_EQ(cause.share, is_rounded ? 1 : 0);
    EXPECT_EQ(cause.effect.rel_l2, is_rounded ? result.plan.rel_l2 : 0);
    EXPECT_EQ(repair.gain, 0);
    EXPECT_EQ(repair.moved, 0);
  }
  // A norm over itself, by its root and its square.
  EXPECT_NEAR(result.sum_cosine, 1, 4 * kUnitRoundoff);
  EXPECT_EQ(result.sum_norm, 2);
  EXPECT_EQ(result.sum_rest, 1);
  for (const Repair& repair : result.group_repairs) {
    const bool is_residual = OpKernel(repair.cell.op) == Kernel::kResidual;
    EXPECT_EQ(repair.gain, is_residual ? 1 : 0);
    EXPECT_EQ(repair.logits_moved, is_residual ? 1 : 0);
  }
}

TEST(AttributeTest, TheOracleHasNoError) {
  for (const std::string name : kModels) {
    const Attribution result = Attributed(Tiny(name), "oracle", Prompt());
    const auto expect_none = [](const Effect& effect) {
      EXPECT_TRUE(effect.complete);
      EXPECT_EQ(effect.rel_l2, 0);
      EXPECT_EQ(effect.logits_rel_l2, 0);
      EXPECT_EQ(effect.kl, 0);
      EXPECT_EQ(effect.layers, std::vector<double>(9, 0));
    };
    expect_none(result.plan);
    EXPECT_EQ(result.stopped_in, "");
    ASSERT_THAT(result.layers, SizeIs(9));
    for (const LayerSplit& split : result.layers) {
      std::vector<double> figures = Figures(split);
      figures[0] = 0;  // the layer
      for (size_t i = 0; i < split.ops.size(); ++i) {
        figures[figures.size() - 3 * (i + 1)] = 0;  // the op
      }
      EXPECT_EQ(figures, std::vector<double>(figures.size(), 0));
    }
    EXPECT_THAT(result.causes, SizeIs(CellsOf(Tiny(name).config).size()));
    for (const Cause& cause : result.causes) {
      expect_none(cause.effect);
      EXPECT_FALSE(cause.changes_bits);
      EXPECT_EQ(cause.share, 0);
      EXPECT_EQ(cause.cosine, 0);
    }
    EXPECT_EQ(result.sum_cosine, 0);
    EXPECT_EQ(result.sum_norm, 0);
    EXPECT_EQ(result.sum_rest, 0);
    for (const auto& repairs : {result.repairs, result.op_repairs,
                                result.layer_repairs, result.group_repairs}) {
      EXPECT_THAT(repairs, SizeIs(Gt(4u)));
      for (const Repair& repair : repairs) {
        expect_none(repair.effect);
        EXPECT_EQ(repair.gain, 0);
        EXPECT_EQ(repair.logits_gain, 0);
      }
    }
  }
}

// Sums of the causes' vectors are the only figures that may depend on the order
// in which runs come.
TEST(AttributeTest, NeitherMemoryNorThreadsChangeTheFigures) {
  AttributionOptions options = Prompt();
  const std::string plan = "torch-bf16,residual=kahan";
  const Attribution expected = Attributed(Tiny(), plan, options, 1);
  for (const size_t threads : {1, 3}) {
    for (const size_t memory : {size_t{1}, size_t{300000}, SIZE_MAX}) {
      SCOPED_TRACE(absl::StrCat(threads, " threads, ", memory, " bytes"));
      options.memory = memory;
      const Attribution result = Attributed(Tiny(), plan, options, threads);
      std::vector<double> effect, expected_effect;
      AddFigures(result.plan, effect);
      AddFigures(expected.plan, expected_effect);
      EXPECT_TRUE(SameBits(effect, expected_effect));
      ExpectSameFigures(result.layers, expected.layers);
      ExpectSameFigures(result.causes, expected.causes);
      ExpectSameFigures(result.repairs, expected.repairs);
      ExpectSameFigures(result.op_repairs, expected.op_repairs);
      ExpectSameFigures(result.layer_repairs, expected.layer_repairs);
      ExpectSameFigures(result.group_repairs, expected.group_repairs);
      const double rounding = SumRounding(expected);
      EXPECT_NEAR(result.sum_norm, expected.sum_norm, 2 * rounding);
      EXPECT_NEAR(result.sum_rest, expected.sum_rest, 2 * rounding);
      EXPECT_NEAR(result.sum_cosine, expected.sum_cosine,
                  4 * rounding / expected.sum_norm);
    }
  }
}

TEST(AttributeTest, PartsCanBeLeftOut) {
  AttributionOptions options = Prompt();
  const Attribution all = Attributed(Tiny(), "torch-bf16", options);
  for (int left = 0; left < 8; ++left) {
    options.layers = (left & 1) != 0;
    options.causes = (left & 2) != 0;
    options.repairs = (left & 4) != 0;
    const Attribution result = Attributed(Tiny(), "torch-bf16", options);
    EXPECT_EQ(result.stopped_in, "");
    EXPECT_EQ(result.plan.layers, all.plan.layers);
    const auto expect = [](const auto& part, const auto& full, bool is_made) {
      if (is_made) {
        ExpectSameFigures(part, full);
      } else {
        EXPECT_TRUE(part.empty());
      }
    };
    expect(result.layers, all.layers, options.layers);
    expect(result.causes, all.causes, options.causes);
    expect(result.repairs, all.repairs, options.repairs);
    expect(result.op_repairs, all.op_repairs, options.repairs);
    expect(result.layer_repairs, all.layer_repairs, options.repairs);
    expect(result.group_repairs, all.group_repairs, options.repairs);
    EXPECT_EQ(result.sum_norm, options.causes ? all.sum_norm : 0);
  }
}

// What there is of a stopped run's effect is the full run's.
void ExpectPart(const Effect& part, const Effect& full) {
  ASSERT_LE(part.layers.size(), full.layers.size());
  EXPECT_TRUE(
      std::equal(part.layers.begin(), part.layers.end(), full.layers.begin()));
  if (part.layers.size() == full.layers.size()) {
    EXPECT_EQ(part.rel_l2, full.rel_l2);
  } else {
    EXPECT_TRUE(std::isnan(part.rel_l2));
    EXPECT_FALSE(part.complete);
  }
  if (part.complete) {
    EXPECT_EQ(part.logits_rel_l2, full.logits_rel_l2);
    EXPECT_EQ(part.kl, full.kl);
  } else {
    EXPECT_TRUE(std::isnan(part.logits_rel_l2));
    EXPECT_TRUE(std::isnan(part.kl));
  }
}

template <typename T>
void ExpectPart(const std::vector<T>& part, const std::vector<T>& full) {
  if (part.empty()) return;
  ASSERT_EQ(part.size(), full.size());
  for (size_t i = 0; i < part.size(); ++i) {
    ExpectPart(part[i].effect, full[i].effect);
  }
}

TEST(AttributeTest, AStoppedRunKeepsWhatItHas) {
  std::atomic<size_t> asked{0};
  size_t last = SIZE_MAX;
  AttributionOptions options = Prompt();
  options.stop = [&] { return asked++ >= last; };
  const Attribution full = Attributed(Tiny(), "torch-bf16", options);
  EXPECT_EQ(full.stopped_in, "");
  const size_t count = asked;
  ASSERT_GT(count, 40u);
  std::map<std::string, size_t> parts;  // and how often a run ended there
  for (size_t i = 0; i < 40; ++i) {
    asked = 0;
    last = i * count / 40;
    const Attribution part = Attributed(Tiny(), "torch-bf16", options);
    SCOPED_TRACE(absl::StrCat(last, " of ", count, ": ", part.stopped_in));
    EXPECT_THAT(part.stopped_in, testing::StartsWith("the "));
    ++parts[part.stopped_in.substr(0, part.stopped_in.find(','))];
    if (absl::StartsWith(part.stopped_in, "the layers, after layer ")) {
      EXPECT_TRUE(absl::EndsWith(part.stopped_in,
                                 absl::StrCat(" ", part.layers.size() - 1)));
    }
    ASSERT_LE(part.layers.size(), full.layers.size());
    for (size_t l = 0; l < part.layers.size(); ++l) {
      EXPECT_TRUE(SameBits(Figures(part.layers[l]), Figures(full.layers[l])));
    }
    if (part.layers.size() < full.layers.size()) {
      EXPECT_TRUE(part.causes.empty());
    }
    ExpectPart(part.causes, full.causes);
    if (part.repairs.empty()) {
      if (!part.causes.empty()) {
        EXPECT_TRUE(std::isnan(part.sum_cosine));
        EXPECT_TRUE(std::isnan(part.sum_norm));
        EXPECT_TRUE(std::isnan(part.sum_rest));
      }
    } else {
      EXPECT_EQ(part.sum_rest, full.sum_rest);
    }
    ExpectPart(part.repairs, full.repairs);
    ExpectPart(part.op_repairs, full.op_repairs);
    ExpectPart(part.layer_repairs, full.layer_repairs);
    ExpectPart(part.group_repairs, full.group_repairs);
  }
  EXPECT_GT(parts["the oracle and the plan"], 0u);
  EXPECT_GT(parts["the layers"], 0u);
  EXPECT_GT(parts["the cause map"], 0u);
  EXPECT_GT(parts["the repair map"], 0u);
}

// In f64 the MLP of layer 3 gives some 1e100; in f32 its norm's weights are
// infinite.
TEST(AttributeTest, AnOverflowShowsAndBreaksNothing) {
  Weights weights = Load("synthetic:tiny");
  for (double& w : weights.layers[2].post_norm) w *= 1e50;
  const Attribution result = Attributed(weights, "f32", Prompt());
  EXPECT_EQ(result.stopped_in, "");
  EXPECT_TRUE(result.plan.complete);
  EXPECT_FALSE(std::isfinite(result.plan.rel_l2));
  EXPECT_FALSE(std::isfinite(result.plan.kl));
  ASSERT_THAT(result.layers, SizeIs(9));
  for (const LayerSplit& split : result.layers) {
    EXPECT_EQ(std::isfinite(split.total.rel_l2), split.layer < 3);
    EXPECT_EQ(std::isfinite(split.total.max_abs), split.layer < 3);
    EXPECT_EQ(std::isfinite(split.identity_ulps), split.layer < 3);
    EXPECT_EQ(std::isfinite(split.interaction_share), split.layer < 3);
  }
  for (const Cause& cause : result.causes) {
    if (cause.cell.layer == 3 && cause.cell.op == Op::kPostNorm) {
      EXPECT_TRUE(cause.changes_bits);
      EXPECT_FALSE(std::isfinite(cause.effect.rel_l2));
      EXPECT_FALSE(std::isfinite(cause.share));
    }
    if (cause.cell.layer == 2) {
      EXPECT_TRUE(std::isfinite(cause.effect.rel_l2));
    }
  }
  EXPECT_FALSE(std::isfinite(result.sum_rest));
}

TEST(AttributeTest, WhatCannotBeRunIsAnError) {
  Parallel parallel;
  const Plan plan = Parsed("f32", Tiny());
  EXPECT_THAT(Attribute(Tiny(), plan, Tokens({}), parallel),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Attribute(Tiny(), plan, Tokens({5, 300}), parallel),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("not in the vocabulary")));
  EXPECT_THAT(Attribute(Tiny(), Plan(3), Tokens({5}), parallel),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("3 layers for a model of 8")));
}

}  // namespace
}  // namespace ulpscope
