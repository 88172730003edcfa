#include "tests/explorer/report/made_sweep.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>

#include "explorer/error/metrics.h"
#include "explorer/report/sweep_results.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

constexpr size_t kLayers = 5;

ErrorMetrics RandomErrors(Random& random) {
  const auto figure = [&random] { return std::exp2(random.Uniform(-40, 8)); };
  ErrorMetrics e;
  e.mean_abs = figure();
  e.rmse = figure();
  e.max_abs = figure();
  e.max_row = random.Below(100);
  e.max_col = random.Below(100);
  e.mean_signed = -figure();
  e.rel_l2 = figure();
  e.cosine = figure();
  e.ulps = {figure(), figure(), figure()};
  return e;
}

TraceMetrics RandomTrace(Random& random) {
  TraceMetrics m;
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    LayerMetrics row;
    row.layer = layer;
    row.error = RandomErrors(random);
    row.std = random.Uniform();
    row.max_activation = 2000 * random.Uniform(-1, 1);
    row.max_channel = random.Below(900);
    m.AddLayer(row);
  }
  m.final_norm = RandomErrors(random);
  m.logits.emplace();
  m.logits->max_abs = random.Uniform();
  m.logits->kl = random.Uniform();
  m.logits->kl_max = random.Uniform();
  m.logits->top1_agreement = random.Uniform();
  m.logits->top10_overlap = random.Uniform();
  return m;
}

}  // namespace

RunInfo MadeRunInfo() {
  RunInfo info;
  info.model = "synthetic:tiny";
  info.synthetic = true;
  info.config.num_hidden_layers = kLayers;
  info.config.hidden_size = 64;
  info.decode_bytes = 123456789;
  info.cpu = "A \"CPU\", with a comma";
  info.target = "AVX2";
  info.threads = 3;
  info.seed = 18446744073709551615u;
  info.axes = "matmul=f32,bf16;softmax=f32,bf16";
  return info;
}

MadeSweep::MadeSweep() : info(MadeRunInfo()) {
  options.axes = {{"matmul", {"f32", "bf16"}}, {"softmax", {"f32", "bf16"}}};
  options.metric = &RankMetrics()[0];
  options.token = 97;
  options.prompt = {97, 5, 6};
  Random random(6);
  const char* plans[] = {"f32", "softmax=bf16", "matmul=bf16",
                         "matmul=bf16,softmax=bf16"};
  for (size_t i = 0; i < 4; ++i) {
    PlanResult plan;
    plan.plan = plans[i];
    plan.levels = {i / 2, i % 2};
    plan.token = RandomTrace(random);
    plan.prompt = RandomTrace(random);
    plan.timing.decode = {random.Uniform(), random.Uniform()};
    plan.timing.prefill = {random.Uniform()};
    plan.decode_rate = Spread{1000 * random.Uniform(), random.Uniform()};
    plan.prefill_rate = Spread{1000 * random.Uniform(), random.Uniform()};
    plan.score = plan.prompt.final_hidden().rmse;
    result.plans.push_back(plan);
  }
  Rank();
}

Results MadeSweep::Made() const { return SweepResults(info, options, result); }

void MadeSweep::Rank() {
  result.effects = MainEffects(options.axes, result.plans);
  RankPlans(result.plans);
}

void MadeSweep::Stop(size_t layers) {
  info.stopped_by = "SIGTERM";
  result.stopped_in = "while measuring errors";
  result.effects.clear();
  for (PlanResult& plan : result.plans) {
    for (TraceMetrics* trace : {&plan.token, &plan.prompt}) {
      trace->layers.resize(layers);
      trace->final_norm.reset();
      trace->logits.reset();
    }
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = std::nullopt;
    plan.score.reset();
  }
  RankPlans(result.plans);
}

}  // namespace ulpscope
