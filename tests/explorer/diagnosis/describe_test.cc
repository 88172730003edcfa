// Which points are described, and what is said of planted faults.

#include "explorer/diagnosis/describe.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/origin.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

PointResult PointOf(size_t layer, Op op, bool differs, bool still,
                    bool not_reproduced = false) {
  PointResult point;
  point.layer = layer;
  point.op = op;
  point.differs = differs;
  point.still_differs = still;
  point.not_reproduced = not_reproduced;
  return point;
}

TEST(PointsToDescribeTest, TheFirstOfEveryOp) {
  const std::vector<PointResult> points = {
      PointOf(0, Op::kEmbed, false, false),
      PointOf(1, Op::kInputNorm, false, false, true),
      PointOf(1, Op::kRope, true, false),
      PointOf(2, Op::kRope, true, true),
      PointOf(3, Op::kRope, true, true),
      PointOf(3, Op::kSwiGlu, true, true),
      PointOf(4, Op::kRope, true, true),
      PointOf(4, Op::kInputNorm, false, false, true)};
  const std::vector<PointDescription> all = PointsToDescribe(points);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].point, 1u);
  EXPECT_EQ(all[0].status, DescribedAs::kNotReproduced);
  ASSERT_EQ(all[0].layers.size(), 2u);
  EXPECT_EQ(all[0].layers[1].first, 4u);
  EXPECT_EQ(all[1].point, 2u);
  EXPECT_EQ(all[1].status, DescribedAs::kExplained);
  EXPECT_EQ(all[2].point, 3u);
  EXPECT_EQ(all[2].status, DescribedAs::kUnexplained);
  ASSERT_EQ(all[2].layers.size(), 1u);
  EXPECT_EQ(all[2].layers[0].first, 2u);
  EXPECT_EQ(all[2].layers[0].last, 4u);
  EXPECT_EQ(all[3].point, 5u);
  EXPECT_TRUE(PointsToDescribe({points[0]}).empty());
}

TEST(OriginTest, IsWhatIsNotTraced) {
  const ModelConfig& config = Opened("synthetic:tiny").weights.config;
  const ReferenceTrace ops =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
  const AlignedTrace all = Aligned(ops, kLayers, 0, false);
  Origin origin = OriginOf({3, Op::kRope}, all, config);
  EXPECT_TRUE(origin.unseen.empty());
  EXPECT_EQ(origin.first_layer, 3u);
  ReferenceTrace some = ops;
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    some.outputs.erase({layer, Op::kQProj});
    some.outputs.erase({layer, Op::kInputNorm});
  }
  origin = OriginOf({3, Op::kRope}, Aligned(some, kLayers, 0, false), config);
  EXPECT_EQ(origin.unseen, (std::vector<Op>{Op::kInputNorm, Op::kQProj}));
  EXPECT_FALSE(origin.whole_layers);
  const ReferenceTrace list =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kStatesFile, false);
  const AlignedTrace states = Aligned(list, kLayers, 0, false);
  origin = OriginOf({3, Op::kMlpResidual}, states, config);
  EXPECT_TRUE(origin.whole_layers);
  EXPECT_FALSE(origin.whole_model);
  EXPECT_EQ(origin.first_layer, 3u);
  EXPECT_EQ(origin.last_layer, 3u);
  EXPECT_TRUE(IsWithin({3, Op::kQk}, origin));
  EXPECT_FALSE(IsWithin({2, Op::kQk}, origin));
  ReferenceTrace logits = ops;
  logits.scores.clear();
  logits.states.clear();
  for (auto at = logits.outputs.begin(); at != logits.outputs.end();) {
    at = at->first.second == Op::kLmHead ? std::next(at)
                                         : logits.outputs.erase(at);
  }
  origin =
      OriginOf({0, Op::kLmHead}, Aligned(logits, kLayers, 0, false), config);
  EXPECT_TRUE(origin.whole_model);
}

const PointDescription* Find(const Diagnosis& d, size_t layer, Op op) {
  const auto found =
      std::find_if(d.descriptions.begin(), d.descriptions.end(),
                   [&](const PointDescription& description) {
                     const PointResult& point = d.points[description.point];
                     return point.layer == layer && point.op == op;
                   });
  return found == d.descriptions.end() ? nullptr : &*found;
}

TEST(DescribeTest, AFaultThatIsInOneTensorAlone) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kOps, false);
    const auto up = trace.outputs.at({2, Op::kUpProj}).rows.view();
    for (size_t r = 2; r < up.rows; ++r) {
      for (size_t c = 0; c < up.cols; ++c) up.Row(r)[c] *= 4;
    }
    // What comes of it is as it was: nothing but this point differs.
    for (size_t r = 2; r < up.rows; ++r) {
      const auto down = trace.outputs.at({2, Op::kSwiGlu}).rows.view();
      for (size_t c = 0; c < down.cols; ++c) down.Row(r)[c] *= 4;
    }
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    const PointDescription* point = Find(d, 2, Op::kUpProj);
    ASSERT_NE(point, nullptr) << plan;
    EXPECT_EQ(point->status, DescribedAs::kWithoutEffect);
    ASSERT_TRUE(point->constant_factor.has_value());
    EXPECT_EQ(*point->constant_factor, 4);
    ASSERT_EQ(point->positions_that_differ.size(), 1u);
    EXPECT_EQ(point->positions_that_differ[0].first, 2u);
    EXPECT_EQ(point->positions_that_differ[0].last, kTokens.size() - 1);
    EXPECT_EQ(point->positions_that_agree[0].last, 1u);
    EXPECT_TRUE(point->origin.unseen.empty());
  }
}

TEST(DescribeTest, WhatCausesExplainIsDescribedWithoutThem) {
  Variant variant;
  variant.without_bias = {Op::kQProj, Op::kKProj, Op::kVProj};
  const ReferenceTrace trace =
      TraceOfVariant("synthetic:tiny", "f32", kTokens, variant);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  const PointDescription* point = Find(d, 1, Op::kKProj);
  ASSERT_NE(point, nullptr);
  EXPECT_EQ(point->status, DescribedAs::kExplained);
  ASSERT_TRUE(point->constant_vector.has_value());
  EXPECT_EQ(point->constant_vector->tensor,
            "model.layers.0.self_attn.k_proj.bias");
  EXPECT_EQ(point->constant_vector->sign, -1);
}

TEST(DescribeTest, NothingIsSaidOfCorrectTraces) {
  for (const char* model : kModels) {
    for (const char* plan : {"f32", "torch-bf16", "torch-f16"}) {
      const Diagnosis d = DiagnosisOf(
          model, TraceOf(model, plan, kTokens, TraceKind::kOps, false));
      EXPECT_TRUE(d.descriptions.empty()) << model << " " << plan;
      EXPECT_FALSE(d.trace_first_nonfinite.has_value());
      EXPECT_EQ(d.finite_values.finite, d.finite_values.values);
    }
  }
}

}  // namespace
}  // namespace ulpscope
