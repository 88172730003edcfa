#include "explorer/error/error_meter.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "explorer/error/metrics.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Two layers of two channels, and three tokens.
class ErrorMeterTest : public testing::Test {
 protected:
  static ModelConfig Config() {
    ModelConfig config;
    config.hidden_size = 2;
    config.vocab_size = 3;
    config.num_hidden_layers = 2;
    return config;
  }

  static void Show(ErrorMeter& meter, const std::vector<size_t>& streams,
                   size_t layer, Op op, const std::vector<double>& values,
                   size_t cols = 2) {
    meter.OnOutput(streams, layer, op, 0,
                   {values.data(), values.size() / cols, cols});
  }

  // Each stream from the second on against the first.
  static std::vector<Measurement> AgainstFirst(
      size_t streams, const std::vector<int32_t>& tokens) {
    std::vector<Measurement> measurements;
    for (size_t s = 1; s < streams; ++s) measurements.push_back({s, 0, tokens});
    return measurements;
  }

  TestMonitor monitor_;
  Parallel parallel_;
  const std::vector<int32_t> one_ = {1}, two_ = {1, 2};
};

TEST_F(ErrorMeterTest, MeasuresEachStreamAgainstItsSequencesOracle) {
  std::vector<size_t> told;
  ErrorMeter meter(
      Config(), {{2, 0, one_}, {3, 1, two_}, {4, 0, one_}, {5, 1, two_}},
      monitor_, parallel_, [&told](size_t run, const TraceMetrics& m) {
        EXPECT_TRUE(m.complete());
        told.push_back(run);
      });
  for (size_t i = 0; i < kNumOps; ++i) {
    EXPECT_EQ(meter.Wants(OpAt(i)), KeptStates::Keeps(OpAt(i)))
        << OpName(OpAt(i));
  }
  // Sequence 0 has one position and sequence 1 two.
  Show(meter, {0, 2, 4}, 0, Op::kEmbed, {3, 4});
  Show(meter, {1, 3, 5}, 0, Op::kEmbed, {1, 1, 1, 1});
  Show(meter, {0, 2, 4}, 1, Op::kOProj, {0, -4});
  Show(meter, {0, 2, 4}, 1, Op::kAttnResidual, {3, 0});
  Show(meter, {0}, 1, Op::kMlpResidual, {1, 1});
  Show(meter, {1}, 1, Op::kMlpResidual, {2, -6, 1, 1});
  Show(meter, {2, 4}, 1, Op::kMlpResidual, {2, 1});  // both plans
  Show(meter, {3}, 1, Op::kMlpResidual, {2, -2, 1, 1});
  Show(meter, {5}, 1, Op::kMlpResidual, {2, -6, 1, 1});
  // The second plan's bits have become the oracle's.
  Show(meter, {0, 4}, 2, Op::kMlpResidual, {5, 6});
  Show(meter, {1, 5}, 2, Op::kMlpResidual, {0, 0, 0, 4});
  Show(meter, {2}, 2, Op::kMlpResidual, {5, 10});
  Show(meter, {3}, 2, Op::kMlpResidual, {0, 0, 0, 8});
  Show(meter, {0, 4}, 0, Op::kFinalNorm, {1, 1});
  Show(meter, {1, 5}, 0, Op::kFinalNorm, {1, 1, 1, 1});
  Show(meter, {2}, 0, Op::kFinalNorm, {1, 2});
  Show(meter, {3}, 0, Op::kFinalNorm, {1, 1, 1, 3});
  Show(meter, {0, 4}, 0, Op::kLmHead, {0, 1, 0}, 3);
  Show(meter, {1, 5}, 0, Op::kLmHead, {0, 1, 0, 0, 1, 0}, 3);
  Show(meter, {2}, 0, Op::kLmHead, {0, 4, 0}, 3);
  Show(meter, {3}, 0, Op::kLmHead, {0, 1, 0, 0, 1, 9}, 3);

  const auto metrics = meter.TakeMetrics();
  EXPECT_EQ(told, (std::vector<size_t>{2, 3, 0, 1}));
  ASSERT_EQ(metrics.size(), 4u);
  for (const TraceMetrics& m : metrics) {
    ASSERT_TRUE(m.complete());
    ASSERT_EQ(m.layers.size(), 2u);
    EXPECT_EQ(m.layers[1].layer, 2u);
  }
  const TraceMetrics& token = metrics[0];
  EXPECT_EQ(token.layers[0].error.mean_abs, 0.5);
  EXPECT_EQ(token.layers[1].error.mean_abs, 2);
  EXPECT_EQ(token.layers[1].growth, 4);
  EXPECT_EQ(token.mean_growth, 4);
  EXPECT_EQ(token.layers[0].cancellation.attn, 3);  // (5 + 4) / 3
  EXPECT_EQ(token.final_norm->max_abs, 1);
  EXPECT_EQ(token.logits->max_abs, 3);
  const TraceMetrics& prompt = metrics[1];
  EXPECT_EQ(prompt.layers[0].error.max_abs, 4);
  EXPECT_EQ(prompt.layers[0].max_activation, -6);
  EXPECT_EQ(prompt.layers[0].max_channel, 1u);
  EXPECT_EQ(prompt.final_hidden().max_row, 1u);
  EXPECT_EQ(prompt.final_hidden().max_abs, 4);
  EXPECT_EQ(prompt.logits->top1_agreement, 0.5);
  const TraceMetrics& other = metrics[2];
  EXPECT_EQ(other.layers[0].error.mean_abs, 0.5);
  EXPECT_EQ(other.layers[1].growth, 0);
  EXPECT_EQ(other.logits->max_abs, 0);
  EXPECT_EQ(metrics[3].final_hidden().max_abs, 0);
}

// In a second pass, after the oracle is done.
TEST_F(ErrorMeterTest, PlansMayComeLater) {
  ErrorMeter meter(Config(), AgainstFirst(3, one_), monitor_, parallel_);
  for (const size_t stream : {0, 1, 2}) {
    Show(meter, {stream}, 0, Op::kEmbed, {1, 1});
    Show(meter, {stream}, 1, Op::kMlpResidual,
         {1, 1 + static_cast<double>(stream)});
    Show(meter, {stream}, 2, Op::kMlpResidual, {1, 1});
    Show(meter, {stream}, 0, Op::kFinalNorm, {1, 1});
    Show(meter, {stream}, 0, Op::kLmHead, {0, 1, 0}, 3);
  }
  const auto metrics = meter.TakeMetrics();
  EXPECT_EQ(metrics[0].layers[0].error.max_abs, 1);
  EXPECT_EQ(metrics[1].layers[0].error.max_abs, 2);
  EXPECT_TRUE(metrics[1].complete());
}

// A value's outputs are shown before its reference's, in one pass or in all.
TEST_F(ErrorMeterTest, ValuesWaitForTheirReferences) {
  for (const bool op_by_op : {true, false}) {
    ErrorMeter meter(Config(), {{0, 1, one_}}, monitor_, parallel_);
    struct Shown {
      size_t layer;
      Op op;
      std::vector<double> value, reference;
    };
    const Shown shown[] = {{0, Op::kEmbed, {1, 1}, {1, 1}},
                           {1, Op::kMlpResidual, {1, 3}, {1, 2}},
                           {2, Op::kMlpResidual, {1, 7}, {1, 2}},
                           {0, Op::kFinalNorm, {1, 4}, {1, 2}},
                           {0, Op::kLmHead, {0, 1, 3}, {0, 1, 0}}};
    for (const Shown& s : shown) {
      Show(meter, {0}, s.layer, s.op, s.value, s.value.size());
      if (op_by_op)
        Show(meter, {1}, s.layer, s.op, s.reference, s.reference.size());
    }
    for (const Shown& s : shown) {
      if (!op_by_op)
        Show(meter, {1}, s.layer, s.op, s.reference, s.reference.size());
    }
    const auto metrics = meter.TakeMetrics();
    ASSERT_TRUE(metrics[0].complete());
    ASSERT_EQ(metrics[0].layers.size(), 2u);
    EXPECT_EQ(metrics[0].layers[0].error.max_abs, 1);
    EXPECT_EQ(metrics[0].layers[1].error.max_abs, 5);
    EXPECT_EQ(metrics[0].final_norm->max_abs, 2);
    EXPECT_EQ(metrics[0].logits->max_abs, 3);
    EXPECT_EQ(metrics[0].tokens->error_l2, (std::vector<double>{5}));
  }
}

TEST_F(ErrorMeterTest, WhatIsNotShownIsMissing) {
  ErrorMeter meter(Config(), AgainstFirst(3, one_), monitor_, parallel_);
  Show(meter, {0, 1, 2}, 0, Op::kEmbed, {1, 1});
  Show(meter, {0}, 1, Op::kMlpResidual, {1, 1});
  Show(meter, {1}, 1, Op::kMlpResidual, {1, 2});
  const auto metrics = meter.TakeMetrics();
  EXPECT_EQ(metrics[0].layers.size(), 1u);
  EXPECT_FALSE(metrics[0].final_norm.has_value());
  EXPECT_FALSE(metrics[0].complete());
  EXPECT_TRUE(metrics[1].layers.empty());
}

TEST_F(ErrorMeterTest, WhatIsShownAfterTheStopIsMissing) {
  bool stop = false;
  TestMonitor monitor([&stop] { return stop; });
  ErrorMeter meter(Config(), AgainstFirst(3, one_), monitor, parallel_);
  Show(meter, {0, 1, 2}, 0, Op::kEmbed, {1, 1});
  Show(meter, {0, 1, 2}, 1, Op::kMlpResidual, {1, 1});
  Show(meter, {0}, 0, Op::kLmHead, {0, 1, 0}, 3);
  Show(meter, {1}, 0, Op::kLmHead, {0, 1, 1}, 3);
  stop = true;
  Show(meter, {2}, 0, Op::kLmHead, {0, 1, 1}, 3);
  stop = false;  // it stays so
  Show(meter, {2}, 2, Op::kMlpResidual, {1, 1});
  const auto metrics = meter.TakeMetrics();
  EXPECT_TRUE(metrics[0].complete());
  EXPECT_FALSE(metrics[1].complete());
  EXPECT_EQ(metrics[1].layers.size(), 1u);
}

TEST_F(ErrorMeterTest, BrokenStreamShows) {
  ErrorMeter meter(Config(), AgainstFirst(2, one_), monitor_, parallel_);
  Show(meter, {0, 1}, 0, Op::kEmbed, {0, 0});
  Show(meter, {0}, 1, Op::kMlpResidual, {1, 2});
  Show(meter, {1}, 1, Op::kMlpResidual, {1, kNaN});
  const auto metrics = meter.TakeMetrics();
  EXPECT_TRUE(std::isnan(metrics[0].layers[0].error.mean_abs));
  EXPECT_EQ(metrics[0].layers[0].max_activation, 2);  // the oracle's
}

}  // namespace
}  // namespace ulpscope
