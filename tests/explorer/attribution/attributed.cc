#include "tests/explorer/attribution/attributed.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {

using ::absl_testing::IsOk;

const Weights& Tiny(const std::string& checkpoint) {
  return LoadedOnce(checkpoint);
}

Plan Parsed(const std::string& plan, const Weights& weights) {
  const auto parsed = Plan::Parse(plan, weights.layers.size());
  EXPECT_THAT(parsed, IsOk());
  return *parsed;
}

Strategy Named(const std::string& name) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    if (Strategy(i).name() == name) return Strategy(i);
  }
  ADD_FAILURE() << "no strategy " << name;
  return Strategy();
}

AttributedWith TinyPrompt() {
  AttributedWith options;
  options.tokens = {17, 97, 5, 250, 3, 97};
  return options;
}

Attribution Attributed(const Weights& weights, const std::string& plan,
                       const AttributedWith& options, size_t threads) {
  Parallel parallel(threads);
  TestMonitor monitor(options.stop);
  const Run run = RunOf(weights, parallel, monitor, options.memory);
  auto result =
      Attribute(run, BaselineOf(run, Parsed(plan, weights), options.tokens),
                options.parts);
  EXPECT_THAT(result, IsOk());
  return result.ok() ? *std::move(result) : Attribution();
}

Baseline BaselineOf(const Run& run, const Plan& plan,
                    const std::vector<int32_t>& tokens) {
  return BaselineAgainst(run, plan, Plan::Oracle(plan.num_layers()), tokens);
}

Baseline BaselineAgainst(const Run& run, const Plan& plan,
                         const Plan& reference,
                         const std::vector<int32_t>& tokens) {
  auto baseline = MakeBaseline(run, plan, reference, tokens);
  EXPECT_THAT(baseline, IsOk());
  return baseline.ok() ? *std::move(baseline) : Baseline();
}

double Norm2(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

double SumRounding(const Attribution& result) {
  double sizes = 1;
  for (const Cause& cause : result.causes) {
    sizes += *cause.effect.rel_l2 / *result.plan.rel_l2;
  }
  return 2 * static_cast<double>(result.causes.size()) * 0x1p-53 * sizes;
}

}  // namespace ulpscope
