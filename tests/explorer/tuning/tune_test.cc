#include "explorer/tuning/tune.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/tune/autotuner.h"
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
    return {view.dtype, view.n, view.k};
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

}  // namespace
}  // namespace ulpscope
