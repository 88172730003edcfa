#include "explorer/tuning/tune.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/tuning/proof.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/cold_weights.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;

class TuneTest : public testing::Test {
 protected:
  TuneTest()
      : checkpoint_(OpenCheckpoint("synthetic:tiny").value()),
        weights_(
            LoadWeights(checkpoint_, serial_, [](size_t, size_t) {}).value()) {}

  std::vector<TunableMatMul> MatMuls(absl::string_view plan) const {
    return MatMulsOf(weights_,
                     {Plan::Parse(plan, weights_.layers.size()).value()}, 5);
  }

  // Of one row, that `op` is among.
  static TunableMatMul DecodingOf(const std::vector<TunableMatMul>& all,
                                  const std::string& op) {
    for (const TunableMatMul& matmul : all) {
      if (matmul.m == 1 && std::find(matmul.ops.begin(), matmul.ops.end(),
                                     op) != matmul.ops.end()) {
        return matmul;
      }
    }
    ADD_FAILURE() << "nothing tunes " << op;
    return {};
  }

  // Sizes of the regions in which the op is tuned.
  static std::vector<size_t> RegionSizes(const TunableMatMul& matmul) {
    std::vector<size_t> sizes;
    for (const auto& region : matmul.regions) {
      sizes.push_back(region.weights.size());
    }
    return sizes;
  }

  static WeightsShape ShapeOf(const Panels& panels) {
    const PanelsView view = panels.view();
    return {view.type(), view.n, view.k};
  }

  Parallel serial_;
  Checkpoint checkpoint_;
  Weights weights_;
};

// Alone, the few panels of k_proj are shared badly among threads; beside those
// of q_proj they fill gaps. A tuning for one says little about the other.
TEST_F(TuneTest, KeysAndValuesAreTunedBesideQueries) {
  const std::vector<TunableMatMul> all = MatMuls("f32");
  const LayerWeights& layer = weights_.layers[0];
  const TunableMatMul k = DecodingOf(all, "k_proj");
  bool found = false;
  for (const TunableMatMul::Region& region : k.regions) {
    if (region.weights.size() != 3) continue;
    found = true;
    EXPECT_TRUE(region.weights[0] == ShapeOf(layer.q_proj));
    EXPECT_TRUE(region.weights[1] == ShapeOf(layer.k_proj));
    EXPECT_TRUE(region.weights[2] == ShapeOf(layer.v_proj));
    EXPECT_THAT(region.places, testing::IsSupersetOf({1u, 2u}));
  }
  EXPECT_TRUE(found);
  for (const char* op : {"gate_proj", "up_proj"}) {
    const TunableMatMul matmul = DecodingOf(all, op);
    EXPECT_THAT(RegionSizes(matmul), testing::Contains(2u)) << op;
  }
  EXPECT_THAT(RegionSizes(DecodingOf(all, "lm_head")), ElementsAre(1));
}

TEST_F(TuneTest, AnotherStrategyEndsARegion) {
  const std::vector<TunableMatMul> all =
      MatMuls("f32,k_proj=kahan,up_proj=kahan");
  for (const char* op :
       {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}) {
    EXPECT_THAT(RegionSizes(DecodingOf(all, op)), testing::Each(1u)) << op;
  }
  // Neighbours that agree stay together.
  EXPECT_THAT(RegionSizes(DecodingOf(MatMuls("f32,q_proj=kahan"), "k_proj")),
              testing::Contains(2u));
}

// Which is not timed.
TEST_F(TuneTest, OfAnEmulatedPlanNothingIsTuned) {
  EXPECT_TRUE(MatMuls("f32,k_proj@1=tc_h100").empty());
  const size_t layers = weights_.layers.size();
  const std::vector<Plan> plans = {Plan::Parse("matmul=int8", layers).value(),
                                   Plan::Parse("f32", layers).value()};
  const std::vector<TunableMatMul> all = MatMulsOf(weights_, plans, 5);
  EXPECT_EQ(all.size(), MatMuls("f32").size());
  for (const TunableMatMul& matmul : all) {
    EXPECT_FALSE(matmul.key.strategy.info().emulated());
    for (const auto& [plan, phase] : matmul.serves) EXPECT_EQ(plan, 1u);
  }
}

// Of blocks the type is part of what is tuned together, and all of a region is
// tuned as it is stored.
TEST_F(TuneTest, BlocksAreTunedByTheirType) {
  const Checkpoint checkpoint =
      OpenCheckpoint("tests/testdata/reference/qwen3_fp8").value();
  const Weights weights =
      LoadWeights(checkpoint, serial_, [](size_t, size_t) {}).value();
  const std::vector<TunableMatMul> all =
      MatMulsOf(weights, {Plan::Parse("f32", 1).value()}, 5);
  const TunableMatMul q = DecodingOf(all, "q_proj");
  ASSERT_NE(q.key.weights.blocks, nullptr);
  EXPECT_EQ(q.key.weights.name(), "F8_E4M3");
  EXPECT_THAT(RegionSizes(q), testing::Contains(3u));
  for (const TunableMatMul::Region& region : q.regions) {
    for (const size_t place : region.places) {
      EXPECT_EQ(region.weights[place].type.name(), "F8_E4M3");
    }
  }
  // Of 136 and 130 columns, which are no blocks of 128.
  EXPECT_EQ(DecodingOf(all, "o_proj").key.weights.name(), "F32");
  EXPECT_EQ(DecodingOf(all, "down_proj").key.weights.name(), "F32");
}

TEST_F(TuneTest, MatMulsSayWhichPlansTheyServeAndWhen) {
  const size_t layers = weights_.layers.size();
  const std::vector<TunableMatMul> all =
      MatMulsOf(weights_,
                {Plan::Parse("f32", layers).value(),
                 Plan::Parse("f32,softmax=f64", layers).value(),
                 Plan::Parse("kahan,lm_head=f32", layers).value()},
                5);
  using Serves = std::set<std::pair<size_t, Phase>>;
  for (const TunableMatMul& matmul : all) {
    const bool is_f32 = matmul.key.strategy == Strategy();
    const bool is_head = matmul.ops == std::vector<std::string>{"lm_head"};
    const Phase phase = matmul.m == 1 ? Phase::kDecode : Phase::kPrefill;
    Serves expected;
    if (is_f32) expected = {{0, phase}, {1, phase}};
    if (!is_f32 || is_head) expected.emplace(2, phase);
    EXPECT_EQ(matmul.serves, expected) << matmul.m << matmul.ops[0];
  }
  // The first two run the same MatMuls.
  EXPECT_THAT(DistinctPlans(all, 3), ElementsAre(0, 2));
}

}  // namespace
}  // namespace ulpscope
