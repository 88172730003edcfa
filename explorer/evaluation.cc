#include "explorer/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/metrics.h"
#include "kernels/parallel.h"
#include "model/decoder.h"
#include "model/plan.h"
#include "model/trace.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

// Linear interpolation between the order statistics around share * (n - 1).
double Quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] +
         (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

absl::StatusOr<Evaluation> Evaluation::Create(const Weights& weights,
                                              std::vector<int32_t> tokens,
                                              Parallel& parallel) {
  Evaluation evaluation(weights, std::move(tokens), parallel);
  const auto plan = Plan::Parse("oracle", weights.layers.size());
  if (!plan.ok()) return plan.status();
  const absl::Status status = evaluation.Run(*plan, evaluation.oracle_);
  if (!status.ok()) return status;
  return evaluation;
}

absl::StatusOr<TraceMetrics> Evaluation::Measure(const Plan& plan) const {
  Trace trace(weights_->config);
  const absl::Status status = Run(plan, trace);
  if (!status.ok()) return status;
  return CompareTraces(trace, oracle_);
}

absl::Status Evaluation::Run(const Plan& plan, Trace& trace) const {
  Decoder decoder(*weights_, plan, tokens_.size(), *parallel_);
  return decoder.Forward(tokens_, Logits::kAll, &trace);
}

absl::Status TimePlan(const Weights& weights, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      Parallel& parallel, PlanTiming& timing) {
  Decoder decoder(weights, plan, prompt.size() + decode_steps, parallel);
  const Parallel::Awake awake(parallel);
  absl::Time start = absl::Now();
  absl::Status status = decoder.Forward(prompt, Logits::kLast);
  if (!status.ok()) return status;
  timing.prefill.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  for (size_t i = 0; i < decode_steps; ++i) {
    start = absl::Now();
    status = decoder.Forward({prompt[i % prompt.size()]}, Logits::kLast);
    if (!status.ok()) return status;
    timing.decode.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  }
  return absl::OkStatus();
}

Spread RateOf(const std::vector<double>& seconds, double count) {
  if (seconds.empty()) return {};
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(count / s);
  std::sort(rates.begin(), rates.end());
  return {Quantile(rates, 0.5),
          (Quantile(rates, 0.75) - Quantile(rates, 0.25)) / 2};
}

}  // namespace ulpscope
