#include "tests/explorer/report/made_sweep.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "explorer/report/sweep_results.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "gtest/gtest.h"
#include "kernels/measure/error.h"
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
  e.ulps = Quantiles{figure(), figure(), figure()};
  e.count = 3 * 64;
  e.value_l2 = figure();
  e.reference_l2 = figure();
  return e;
}

TokenErrors RandomTokens(size_t positions, Random& random) {
  TokenErrors t;
  for (std::vector<double>* figures :
       {&t.kl, &t.max_abs, &t.top10, &t.margin, &t.flip_margin, &t.reference_l2,
        &t.error_l2}) {
    for (size_t p = 0; p < positions; ++p) figures->push_back(random.Uniform());
  }
  for (size_t p = 0; p < positions; ++p) {
    t.reference_top.push_back(static_cast<double>(random.Below(3)));
    t.top.push_back(static_cast<double>(random.Below(3)));
    t.rank.push_back(static_cast<double>(1 + random.Below(3)));
    t.massive.push_back(p == 0 ? 1 : 0);
    if (p == 0) continue;
    t.reference_logp.push_back(-random.Uniform());
    t.logp.push_back(-random.Uniform());
  }
  return t;
}

TraceMetrics RandomTrace(size_t positions, Random& random) {
  TraceMetrics m;
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    LayerMetrics row;
    row.layer = layer;
    row.error = RandomErrors(random);
    if (positions > 1) row.ordinary = PartErrors{0.5, 0.75, 1e-3, 128, 8};
    row.std = random.Uniform();
    row.max_activation = 2000 * random.Uniform(-1, 1);
    row.max_channel = random.Below(900);
    m.AddLayer(row);
  }
  m.final_norm = RandomErrors(random);
  m.tokens = RandomTokens(positions, random);
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
    plan.token = RandomTrace(1, random);
    plan.prompt = RandomTrace(options.prompt.size(), random);
    plan.windows = {plan.prompt};
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
      trace->tokens.reset();
      trace->logits.reset();
    }
    plan.windows = {plan.prompt};
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = std::nullopt;
    plan.score.reset();
  }
  RankPlans(result.plans);
}

}  // namespace ulpscope
