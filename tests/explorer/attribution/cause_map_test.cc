#include "explorer/attribution/cause_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/attribution/verdict_figures.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::SizeIs;

constexpr double kUnitRoundoff = 0x1p-53;

// A run by a decoder.
KeptStates Traced(const Weights& weights, const Plan& plan,
                  const AttributedWith& options) {
  Parallel parallel;
  Decoder decoder(weights, plan, options.tokens.size(), parallel);
  KeptStates trace(weights.config);
  EXPECT_THAT(decoder.Forward(options.tokens, Logits::kAll, &trace), IsOk());
  return trace;
}

// |a - b|
double Distance(Matrix<const double> a, Matrix<const double> b) {
  std::vector<double> difference;
  for (size_t r = 0; r < a.rows; ++r) {
    for (size_t c = 0; c < a.cols; ++c) {
      difference.push_back(a.Row(r)[c] - b.Row(r)[c]);
    }
  }
  return Norm2(difference);
}

double Norm(Matrix<const double> m) {
  return Norm2(std::vector<double>(m.data, m.data + m.rows * m.cols));
}

// What the maps say of a plan is what running it says: n values' squares are
// summed in another order here.
void ExpectMeasured(const Effect& effect, const KeptStates& run,
                    const KeptStates& oracle) {
  Parallel parallel;
  TestMonitor monitor;
  const LogitMetrics logits =
      *CompareLogits(run.Logits(), oracle.Logits(), monitor, parallel);
  const double n = static_cast<double>(run.State(0).rows * run.State(0).cols);
  const auto near = [n](double value, double expected) {
    EXPECT_NEAR(value, expected, 2 * n * kUnitRoundoff * expected);
  };
  const size_t num_layers = run.num_layers();
  EXPECT_TRUE(effect.complete());
  EXPECT_EQ(effect.kl, logits.kl);
  const double num_logits =
      static_cast<double>(run.Logits().rows * run.Logits().cols);
  const double logits_rel_l2 =
      Distance(run.Logits(), oracle.Logits()) / Norm(oracle.Logits());
  EXPECT_NEAR(effect.logits_rel_l2.value(), logits_rel_l2,
              2 * num_logits * kUnitRoundoff * logits_rel_l2);
  ASSERT_THAT(effect.layers, SizeIs(num_layers + 1));
  for (size_t layer = 0; layer <= num_layers; ++layer) {
    near(effect.layers[layer],
         Compare(run.State(layer), oracle.State(layer)).rel_l2);
  }
  EXPECT_EQ(effect.rel_l2, effect.layers[num_layers]);
}

void CompareMaps(const std::string& text) {
  for (const std::string name : kTinyModels) {
    const Weights& weights = Tiny(name);
    const Plan plan = Parsed(text, weights);
    const Plan oracle = Parsed("oracle", weights);
    const AttributedWith options = TinyPrompt();
    const Attribution result = Attributed(weights, text, options);
    const KeptStates reference = Traced(weights, oracle, options);
    const auto expect_measured = [&](const Effect& effect, const Plan& of) {
      ExpectMeasured(effect, Traced(weights, of, options), reference);
    };
    expect_measured(result.plan, plan);
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
      cause.TakeCell(plan, layer, op);
      repair.Set(layer, op, oracle.Get(layer, op));
      expect_measured(result.causes[i].effect, cause);
      EXPECT_EQ(result.causes[i].changes_bits,
                result.causes[i].effect.rel_l2 > 0 ||
                    result.causes[i].effect.logits_rel_l2 > 0);
      expect_measured(result.repairs[i].effect, repair);
      // Two quotients, and errors that are rounded as above.
      const auto expect_gain = [&gain](double value, double error,
                                       double plan_error) {
        EXPECT_NEAR(value, gain(error, plan_error),
                    4 * kUnitRoundoff * std::fmax(1, error / plan_error));
      };
      expect_gain(*result.repairs[i].gain,
                  result.repairs[i].effect.rel_l2.value(),
                  result.plan.rel_l2.value());
      expect_gain(*result.repairs[i].logits_gain,
                  result.repairs[i].effect.logits_rel_l2.value(),
                  result.plan.logits_rel_l2.value());
      if (op == Op::kVProj) {
        EXPECT_FALSE(result.causes[i].changes_bits);
        EXPECT_EQ(*result.repairs[i].gain, 0);
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
      expect_measured(repair.effect, repaired);
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
      expect_measured(repair.effect, repaired);
    }
    ASSERT_THAT(result.group_repairs, SizeIs(kNumKernels));
    for (size_t i = 0; i < kNumKernels; ++i) {
      const Repair& repair = result.group_repairs[i];
      const auto kernel = static_cast<Kernel>(i);
      EXPECT_EQ(OpKernel(repair.cell.op), kernel);
      const Plan repaired = Parsed(
          absl::StrCat(text, ",", KernelName(kernel), "=oracle"), weights);
      SCOPED_TRACE(repaired.Text());
      expect_measured(repair.effect, repaired);
    }
  }
}

TEST(CauseMapTest, MapsAreWhatRunningTheirPlansSays) {
  CompareMaps("torch-bf16,v_proj=oracle,lm_head=f32");
}

// Attention's cells have their effect in the plan's form, which repairs keep.
TEST(CauseMapTest, MapsOfFusedAttentionAreSo) {
  CompareMaps("torch-bf16-sdpa,v_proj=oracle,lm_head=f32,attention@1=fa2(2)");
}

TEST(CauseMapTest, ARepairMovesTheResultsFromThePlans) {
  const AttributedWith options = TinyPrompt();
  const Plan plan = Parsed("torch-bf16", Tiny());
  const Plan oracle = Parsed("oracle", Tiny());
  const Attribution result = Attributed(Tiny(), "torch-bf16", options);
  const KeptStates reference = Traced(Tiny(), oracle, options);
  const KeptStates run = Traced(Tiny(), plan, options);
  // Of n values: sums of n squares, and five quotients and roots each.
  const auto expect_moved = [](double value, Matrix<const double> repaired,
                               Matrix<const double> from,
                               Matrix<const double> right) {
    const double n = static_cast<double>(right.rows * right.cols);
    const double moved = Distance(repaired, from) / Distance(from, right);
    EXPECT_NEAR(value, moved, 2 * (n + 10) * kUnitRoundoff * moved);
  };
  const size_t last = run.num_layers();
  bool moves_more_than_it_gains = false;
  for (const Repair& repair : result.repairs) {
    Plan repaired = plan;
    repaired.Set(repair.cell.layer, repair.cell.op,
                 oracle.Get(repair.cell.layer, repair.cell.op));
    const KeptStates trace = Traced(Tiny(), repaired, options);
    expect_moved(repair.moved.value(), trace.State(last), run.State(last),
                 reference.State(last));
    expect_moved(repair.logits_moved.value(), trace.Logits(), run.Logits(),
                 reference.Logits());
    // The triangle of the oracle, the plan and the repaired plan.
    const double n = static_cast<double>(run.Logits().rows * run.Logits().cols);
    EXPECT_GE(repair.moved.value(),
              repair.gain.value() - 4 * n * kUnitRoundoff);
    EXPECT_GE(repair.logits_moved.value(),
              repair.logits_gain.value() - 4 * n * kUnitRoundoff);
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

std::vector<double> FinalHidden(const Plan& plan,
                                const AttributedWith& options) {
  const KeptStates trace = Traced(Tiny(), plan, options);
  const Matrix<const double> m = trace.State(trace.num_layers());
  return {m.data, m.data + m.rows * m.cols};
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(CauseMapTest, CausesAddUpAsTheirVectorsDo) {
  for (const std::string text : {"f32", "torch-bf16"}) {
    const AttributedWith options = TinyPrompt();
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
      EXPECT_NEAR(cause.share.value(), Dot(c, e) / Dot(e, e),
                  4 * n * kUnitRoundoff * size);
      if (size > 0) {
        EXPECT_NEAR(cause.cosine.value(), cause.share.value() / size,
                    4 * n * kUnitRoundoff);
      } else {
        EXPECT_EQ(cause.cosine, 0);
      }
    }
    std::vector<double> rest;
    for (size_t i = 0; i < e.size(); ++i) rest.push_back(e[i] - sum[i]);
    const double rounding =
        SumRounding(result) +
        4 * n * kUnitRoundoff * (1 + result.cause_sum->norm);
    EXPECT_NEAR(result.cause_sum->norm, Norm2(sum) / Norm2(e), rounding);
    EXPECT_NEAR(result.cause_sum->rest, Norm2(rest) / Norm2(e), rounding);
    EXPECT_NEAR(result.cause_sum->cosine, Dot(sum, e) / (Norm2(sum) * Norm2(e)),
                2 * rounding / result.cause_sum->norm);
    EXPECT_GT(result.cause_sum->norm, 0);
  }
}

// Nothing is added to the stream between two residual adds, and both round it
// to bf16: either makes the whole error, and neither's repair removes any of
// it.
TEST(CauseMapTest, OneRoundingInTwoCellsIsCountedTwice) {
  Parallel parallel;
  Weights weights = LoadedWeights("synthetic:tiny", parallel);
  const auto clear = [](std::vector<double>& values) {
    std::fill(values.begin(), values.end(), 0);
  };
  clear(weights.layers[2].post_norm);
  clear(weights.layers[3].input_norm);
  clear(weights.layers[3].v_bias);
  const Attribution result = Attributed(
      weights, "oracle,mlp_residual@3=bf16,attn_residual@4=bf16", TinyPrompt());
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
  EXPECT_NEAR(result.cause_sum->cosine, 1, 4 * kUnitRoundoff);
  EXPECT_EQ(result.cause_sum->norm, 2);
  EXPECT_EQ(result.cause_sum->rest, 1);
  for (const Repair& repair : result.group_repairs) {
    const bool is_residual = OpKernel(repair.cell.op) == Kernel::kResidual;
    EXPECT_EQ(repair.gain, is_residual ? 1 : 0);
    EXPECT_EQ(repair.logits_moved, is_residual ? 1 : 0);
  }
}

// A verdict says the same with the logits of all cells and with few.
TEST(CauseMapTest, AVerdictNeedsFewLogits) {
  const Weights& weights = Tiny();
  const struct {
    std::string plan;
    bool has_head;
  } kCases[] = {
      {"torch-bf16", false},
      {"oracle,lm_head=bf16,down_proj=f32", true},
      {"oracle,final_norm=bf16,down_proj@3=f32,o_proj=f32", true},
      {"oracle,lm_head=f32,down_proj=bf16", false},
      {"oracle,lm_head=bf16,q_proj@8=bf16,k_proj@8=bf16", true},
      {"f32", false},
      {"oracle,residual=f32", false},
  };
  for (const auto& [text, has_head] : kCases) {
    SCOPED_TRACE(text);
    const Plan plan = Parsed(text, weights);
    const Plan oracle = Parsed("oracle", weights);
    AttributedWith options = TinyPrompt();
    options.parts.layers = options.parts.repairs = false;
    const Attribution all = Attributed(weights, text, options);
    options.parts.logits_of_causes = false;
    const Attribution few = Attributed(weights, text, options);
    const Verdict verdict = Judge(plan, oracle, all, nullptr);
    EXPECT_EQ(verdict.head.has_value(), has_head);
    EXPECT_EQ(FiguresOf(Judge(plan, oracle, few, nullptr)), FiguresOf(verdict));
    ASSERT_EQ(few.causes.size(), all.causes.size());
    size_t with_logits = 0, changing = 0;
    for (size_t i = 0; i < few.causes.size(); ++i) {
      const Cause& cause = few.causes[i];
      EXPECT_EQ(cause.changes_bits, all.causes[i].changes_bits);
      EXPECT_EQ(cause.effect.layers, all.causes[i].effect.layers);
      EXPECT_EQ(cause.squares, all.causes[i].squares);
      if (!cause.changes_bits) continue;
      ++changing;
      if (!cause.effect.complete()) continue;
      ++with_logits;
      EXPECT_EQ(cause.effect.logits_rel_l2, all.causes[i].effect.logits_rel_l2);
      EXPECT_EQ(cause.effect.kl, all.causes[i].effect.kl);
    }
    // A head is known by all others, and of what has none a few say so.
    if (has_head) {
      EXPECT_EQ(with_logits, changing);
    } else if (text == "torch-bf16") {
      EXPECT_LE(with_logits, 5u);  // three in no layer, and the largest
    }
  }
}

// Of many cells and positions the largest errors have the logits that a run of
// each alone has, and what is said of the others is as it would be with all.
TEST(CauseMapTest, OfManyPositionsTheLargestHaveLogits) {
  const Weights& weights = Tiny();
  const Plan plan = Parsed("torch-bf16", weights);
  const Plan oracle = Parsed("oracle", weights);
  AttributedWith options = TinyPrompt();
  for (size_t i = 0; i < 12; ++i) {
    options.tokens.push_back(static_cast<int32_t>(11 * i));
  }
  options.parts.layers = options.parts.repairs = false;
  const Attribution some = Attributed(weights, "torch-bf16", options);
  options.parts.logits_of_causes = false;
  const Attribution few = Attributed(weights, "torch-bf16", options);
  const KeptStates reference = Traced(weights, oracle, options);
  double least_with = 1, most_without = 0;
  size_t with_logits = 0;
  for (size_t i = 0; i < some.causes.size(); ++i) {
    const Cause& cause = some.causes[i];
    EXPECT_EQ(cause.effect.layers, few.causes[i].effect.layers);
    EXPECT_EQ(cause.changes_bits, few.causes[i].changes_bits);
    EXPECT_EQ(cause.share, few.causes[i].share);
    if (!cause.effect.complete()) {
      EXPECT_FALSE(cause.effect.logits_rel_l2.has_value());
      most_without = std::max(most_without, *cause.effect.rel_l2);
      continue;
    }
    if (!cause.changes_bits || !IsPerLayer(cause.cell.op)) continue;
    ++with_logits;
    least_with = std::min(least_with, *cause.effect.rel_l2);
    if (with_logits % 8 != 1) continue;
    Plan alone = oracle;
    alone.TakeCell(plan, cause.cell.layer, cause.cell.op);
    ExpectMeasured(cause.effect, Traced(weights, alone, options), reference);
  }
  EXPECT_GE(with_logits, 16u);
  EXPECT_LE(with_logits, 32u);
  EXPECT_GT(most_without, 0);
  // Where no position is massive the two figures have one order.
  if (!some.causes[0].effect.ordinary_rel_l2.has_value() ||
      some.plan.rel_l2 == some.plan.ordinary_rel_l2) {
    EXPECT_GE(least_with, most_without);
  }
  EXPECT_EQ(FiguresOf(Judge(plan, oracle, some, nullptr)),
            FiguresOf(Judge(plan, oracle, few, nullptr)));
}

// The final norm multiplies by 0: all logits are 0.
TEST(CauseMapTest, WhatNoLogitSeesHasChangedBitsToo) {
  Parallel parallel;
  Weights weights = LoadedWeights("synthetic:tiny", parallel);
  std::fill(weights.final_norm.begin(), weights.final_norm.end(), 0);
  const Attribution result =
      Attributed(weights, "oracle,o_proj@3=bf16", TinyPrompt());
  for (const Cause& cause : result.causes) {
    const bool is_planted =
        cause.cell.layer == 3 && cause.cell.op == Op::kOProj;
    EXPECT_EQ(cause.changes_bits, is_planted);
    EXPECT_EQ(cause.effect.rel_l2 > 0, is_planted);
    EXPECT_EQ(cause.effect.logits_rel_l2, 0);
    EXPECT_EQ(cause.effect.kl, 0);
  }
}

}  // namespace
}  // namespace ulpscope
