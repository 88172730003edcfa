#include "tests/explorer/attribution/made_attribution.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/cell.h"

namespace ulpscope {

using ::absl_testing::IsOk;

Plan PlanOf(const std::string& text) {
  auto plan = Plan::Parse(text, kLayers);
  EXPECT_THAT(plan, IsOk());
  return *std::move(plan);
}

ModelConfig Config() {
  ModelConfig config;
  config.num_hidden_layers = kLayers;
  return config;
}

Attribution Uniform(double error) {
  Attribution a;
  a.plan = {0.1, 0.2, 0.3, std::vector<double>(kLayers + 1, 0.01)};
  for (const Cell& cell : CellsOf(Config())) {
    Cause cause;
    cause.cell = cell;
    cause.changes_bits = true;
    cause.effect = {error, error, error, {}};
    cause.share = 0.001;
    a.causes.push_back(cause);
  }
  for (size_t layer = 0; layer <= kLayers; ++layer) {
    LayerSplit split;
    split.layer = layer;
    split.amplification = 1;
    split.inherited.rel_l2 = 0.01;
    a.layers.push_back(split);
  }
  a.cause_sum = {0.99, 1, 0.1};
  return a;
}

Cause& At(Attribution& a, size_t layer, Op op) {
  for (Cause& cause : a.causes) {
    if (cause.cell.layer == layer && cause.cell.op == op) return cause;
  }
  ADD_FAILURE() << OpName(op) << "@" << layer;
  return a.causes[0];
}

Verdict Judged(const Plan& plan, const Attribution& attribution,
               const Phenomena* phenomena) {
  return Judge(plan, Plan::Oracle(plan.num_layers()), attribution, phenomena);
}

Phenomena Plain() {
  Phenomena p;
  p.positions = 5;
  for (size_t layer = 0; layer <= kLayers; ++layer) {
    p.concentrations.push_back({layer, 896, layer, 0.02, 0.1});
    if (layer == 0) continue;
    p.cancellations.push_back({layer, Op::kAttnResidual, 1.1, 1, 1});
    p.cancellations.push_back({layer, Op::kMlpResidual, 1.2, 1, 1});
  }
  return p;
}

SeedCase::SeedCase() : plan(PlanOf("torch-bf16")), attribution(Uniform(1e-4)) {
  for (size_t layer = 3; layer <= 21; ++layer) {
    for (const Op op : {Op::kAttnResidual, Op::kMlpResidual}) {
      At(attribution, layer, op).effect.rel_l2 = 0.05;
      At(attribution, layer, op).share = 0.02;
    }
  }
  At(attribution, 3, Op::kSwiGlu).effect.rel_l2 = 0.1;
  At(attribution, 22, Op::kPostNorm).effect.rel_l2 = 0.09;
  At(attribution, 22, Op::kDownProj).effect.rel_l2 = 0.04;
  At(attribution, 22, Op::kAttnResidual).effect.rel_l2 = 0.05;
  for (Cause& cause : attribution.causes) {
    if (cause.cell.op == Op::kSoftmax) {
      cause.changes_bits = false;
      cause.effect = {0, 0, 0, {}};
      cause.share = 0;
    }
  }
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    attribution.plan.layers[layer] = layer < 22 ? 0.003 : 0.13;
  }
  attribution.layers[23].amplification = 1.31;
  attribution.layers[22].inherited.rel_l2 = 0.12;
  phenomena = Plain();
  phenomena.positions = 1;
  MassiveChannel massive;
  massive.channel = 62;
  massive.born = 3;
  massive.born_op = massive.removed_op = Op::kMlpResidual;
  massive.removed = 22;
  massive.value = 1667;
  massive.value_layer = 21;
  massive.ratio_to_median = 1396;
  phenomena.massive = {massive};
  for (size_t layer = 3; layer <= kLayers; ++layer) {
    Concentration& c = phenomena.concentrations[layer];
    c.channel = 62;
    c.top1 = layer <= 22 ? 0.97 : layer == 23 ? 0.62 : 0.39;
  }
  for (CancellingAdd& add : phenomena.cancellations) {
    if (add.layer == 22 && add.op == Op::kMlpResidual) {
      add = {22, Op::kMlpResidual, 59.6, 55.7, 1.86};
    }
  }
}

}  // namespace ulpscope
