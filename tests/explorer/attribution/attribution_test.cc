#include "explorer/attribution/attribution.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Every figure, to compare bit for bit.
void AddFigures(const Effect& effect, std::vector<double>& all) {
  for (const auto& x : {effect.rel_l2, effect.logits_rel_l2, effect.kl}) {
    all.push_back(x.value());
  }
  all.insert(all.end(), effect.layers.begin(), effect.layers.end());
}

std::vector<double> Figures(const Cause& cause) {
  std::vector<double> all = {static_cast<double>(cause.cell.layer),
                             static_cast<double>(cause.cell.op),
                             static_cast<double>(cause.changes_bits),
                             cause.share.value(), cause.cosine.value()};
  AddFigures(cause.effect, all);
  return all;
}

std::vector<double> Figures(const Repair& repair) {
  std::vector<double> all = {static_cast<double>(repair.cell.layer),
                             static_cast<double>(repair.cell.op),
                             repair.gain.value(),
                             repair.logits_gain.value(),
                             repair.moved.value(),
                             repair.logits_moved.value()};
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

TEST(AttributeTest, TheOracleHasNoError) {
  for (const std::string name : kTinyModels) {
    const Attribution result = Attributed(Tiny(name), "oracle", TinyPrompt());
    const auto expect_none = [](const Effect& effect) {
      EXPECT_TRUE(effect.complete());
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
    EXPECT_EQ(result.cause_sum->cosine, 0);
    EXPECT_EQ(result.cause_sum->norm, 0);
    EXPECT_EQ(result.cause_sum->rest, 0);
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
  AttributedWith options = TinyPrompt();
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
      EXPECT_NEAR(result.cause_sum->norm, expected.cause_sum->norm,
                  2 * rounding);
      EXPECT_NEAR(result.cause_sum->rest, expected.cause_sum->rest,
                  2 * rounding);
      EXPECT_NEAR(result.cause_sum->cosine, expected.cause_sum->cosine,
                  4 * rounding / expected.cause_sum->norm);
    }
  }
}

TEST(AttributeTest, TakesNoMoreMemoryThanItMay) {
  AttributedWith options;
  for (int32_t i = 0; i < 24; ++i) options.tokens.push_back(3 * i);
  // Half of which its two runs take that are kept.
  const ModelConfig& config = Tiny().config;
  options.memory = 4 * 24 * sizeof(double) *
                   static_cast<size_t>(2 * (config.num_hidden_layers + 1) *
                                           config.hidden_size +
                                       config.vocab_size);
  const auto in_use = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  size_t most = 0;
  options.stop = [&] {
    most = std::max(most, in_use());
    return false;
  };
  const size_t before = in_use();
  const Attribution result = Attributed(Tiny(), "torch-bf16", options);
  // What is handed over, and what is allocated once, is not limited.
  const size_t kept = in_use() - before;
  EXPECT_LE(most - before, options.memory + kept);
  EXPECT_FALSE(result.layers.empty());
}

TEST(AttributeTest, PartsCanBeLeftOut) {
  AttributedWith options = TinyPrompt();
  const Attribution all = Attributed(Tiny(), "torch-bf16", options);
  for (int left = 0; left < 8; ++left) {
    options.parts.layers = (left & 1) != 0;
    options.parts.causes = (left & 2) != 0;
    options.parts.repairs = (left & 4) != 0;
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
    expect(result.layers, all.layers, options.parts.layers);
    expect(result.causes, all.causes, options.parts.causes);
    expect(result.repairs, all.repairs, options.parts.repairs);
    expect(result.op_repairs, all.op_repairs, options.parts.repairs);
    expect(result.layer_repairs, all.layer_repairs, options.parts.repairs);
    expect(result.group_repairs, all.group_repairs, options.parts.repairs);
    ASSERT_EQ(result.cause_sum.has_value(), options.parts.causes);
    if (options.parts.causes) {
      EXPECT_EQ(result.cause_sum->norm, all.cause_sum->norm);
    }
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
    EXPECT_EQ(part.rel_l2, std::nullopt);
    EXPECT_FALSE(part.complete());
  }
  if (part.complete()) {
    EXPECT_EQ(part.logits_rel_l2, full.logits_rel_l2);
    EXPECT_EQ(part.kl, full.kl);
  } else {
    EXPECT_EQ(part.logits_rel_l2, std::nullopt);
    EXPECT_EQ(part.kl, std::nullopt);
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
  AttributedWith options = TinyPrompt();
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
    for (size_t c = 0; c < part.causes.size(); ++c) {
      const Cause& cause = part.causes[c];
      if (!cause.effect.rel_l2.has_value()) {
        EXPECT_EQ(cause.share, std::nullopt);
        EXPECT_EQ(cause.cosine, std::nullopt);
      } else {
        EXPECT_EQ(cause.share, full.causes[c].share);
        EXPECT_EQ(cause.cosine, full.causes[c].cosine);
      }
    }
    if (part.repairs.empty()) {
      EXPECT_FALSE(part.cause_sum.has_value());
    } else {
      EXPECT_EQ(part.cause_sum->rest, full.cause_sum->rest);
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

// Cells that are run: what the KV cache stores as it was computed is not.
size_t RunsOf(const Attribution& attribution) {
  return static_cast<size_t>(
      std::count_if(attribution.causes.begin(), attribution.causes.end(),
                    [](const Cause& cause) {
                      return OpKernel(cause.cell.op) != Kernel::kKvCache;
                    }));
}

TEST(AttributeTest, AStopBetweenPassesSaysHowManyRunsAreFinished) {
  size_t asked = 0, last = SIZE_MAX;
  AttributedWith options = TinyPrompt();
  options.memory = 1;  // one run after the other
  options.parts.layers = options.parts.repairs = false;
  options.stop = [&] { return asked++ >= last; };
  Attributed(Tiny(), "torch-bf16", options);
  last = asked / 2;
  asked = 0;
  const Attribution part = Attributed(Tiny(), "torch-bf16", options);
  size_t finished = 0;
  for (const Cause& cause : part.causes) {
    const bool is_run = OpKernel(cause.cell.op) != Kernel::kKvCache;
    if (is_run && cause.effect.complete()) ++finished;
  }
  EXPECT_GT(finished, RunsOf(part) / 4);
  EXPECT_LT(finished, RunsOf(part));
  EXPECT_THAT(part.stopped_in,
              testing::EndsWith(absl::StrCat(", ", finished, " of ",
                                             RunsOf(part), " runs finished")));
}

// Causes whose runs reached their logits, of a long prompt the largest alone.
size_t CompleteIn(const Attribution& attribution) {
  return static_cast<size_t>(
      std::count_if(attribution.causes.begin(), attribution.causes.end(),
                    [](const Cause& cause) {
                      return OpKernel(cause.cell.op) != Kernel::kKvCache &&
                             cause.effect.complete();
                    }));
}

// Measuring the logits of a long prompt asks too: every 64 positions of each of
// the three figures.
TEST(AttributeTest, LongPromptsCanBeStoppedWithinOneRunsLogits) {
  size_t asked = 0, last = SIZE_MAX;
  AttributedWith options;
  options.parts.layers = options.parts.repairs = false;
  options.memory = 1;  // one run after the other, of one piece per op
  options.stop = [&] { return asked++ >= last; };
  const auto attributed = [&](size_t positions) {
    asked = 0;
    options.tokens.assign(positions, 3);
    return Attributed(Tiny(), "torch-bf16", options);
  };
  const size_t complete = CompleteIn(attributed(64));
  const size_t short_asked = asked;
  const Attribution full = attributed(130);
  const size_t long_asked = asked;
  ASSERT_EQ(CompleteIn(full), complete);
  EXPECT_LT(complete, RunsOf(full));
  EXPECT_EQ(long_asked - short_asked, complete * 3 * 2);
  // The last question comes after all logits, that before within the last ones.
  for (const size_t before_end : {1, 2, 4, 8}) {
    last = long_asked - before_end;
    const Attribution part = attributed(130);
    EXPECT_NE(part.stopped_in, "");
    EXPECT_EQ(CompleteIn(part), before_end == 1 ? complete : complete - 1);
    ExpectPart(part.causes, full.causes);
  }
}

// In f64 the MLP of layer 3 gives some 1e100; in f32 its norm's weights are
// infinite.
TEST(AttributeTest, AnOverflowShowsAndBreaksNothing) {
  Parallel parallel;
  Weights weights = LoadedWeights("synthetic:tiny", parallel);
  for (double& w : weights.layers[2].post_norm) w *= 1e50;
  const Attribution result = Attributed(weights, "f32", TinyPrompt());
  EXPECT_EQ(result.stopped_in, "");
  EXPECT_TRUE(result.plan.complete());
  EXPECT_FALSE(std::isfinite(result.plan.rel_l2.value()));
  EXPECT_FALSE(std::isfinite(result.plan.kl.value()));
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
      EXPECT_FALSE(std::isfinite(cause.effect.rel_l2.value()));
      EXPECT_FALSE(std::isfinite(cause.share.value()));
    }
    if (cause.cell.layer == 2) {
      EXPECT_TRUE(std::isfinite(cause.effect.rel_l2.value()));
    }
  }
  EXPECT_FALSE(std::isfinite(result.cause_sum->rest));
}

TEST(AttributeTest, WhatCannotBeRunIsAnError) {
  const Plan plan = Parsed("f32", Tiny());
  const auto attributed = [](const Plan& of,
                             const std::vector<int32_t>& tokens) {
    Parallel parallel;
    return MakeBaseline(RunOf(Tiny(), parallel), of, of, tokens).status();
  };
  EXPECT_THAT(attributed(plan, {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(attributed(plan, {5, 300}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("not in the vocabulary")));
  EXPECT_THAT(attributed(Plan(3), {5}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("3 layers for a model of 8")));
}

}  // namespace
}  // namespace ulpscope
