#include "explorer/error/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "explorer/error/error_meter.h"
#include "explorer/error/metrics.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/quantile.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

// Of the oracle's runs, which the meter keeps: the stream before and after each
// layer, the final norm, and logits.
size_t BytesOfTraces(const ModelConfig& config,
                     absl::Span<const std::vector<int32_t>> sequences) {
  const size_t per_token = static_cast<size_t>(config.num_hidden_layers + 2) *
                               static_cast<size_t>(config.hidden_size) +
                           static_cast<size_t>(config.vocab_size);
  size_t tokens = 0;
  for (const auto& sequence : sequences) tokens += sequence.size();
  return tokens * per_token * sizeof(double);
}

}  // namespace

absl::StatusOr<std::vector<std::vector<TraceMetrics>>> MeasureErrors(
    const Weights& weights, absl::Span<const Plan> plans,
    absl::Span<const std::vector<int32_t>> sequences,
    const ErrorOptions& options, Parallel& parallel) {
  const auto oracle = Plan::Parse("oracle", weights.layers.size());
  if (!oracle.ok()) return oracle.status();
  ErrorMeter meter(weights.config, sequences.size(), plans.size(), options.stop,
                   parallel);
  // In the meter's order.
  std::vector<Stream> streams;
  streams.reserve((plans.size() + 1) * sequences.size());
  for (const auto& tokens : sequences) streams.push_back({*oracle, tokens});
  for (const Plan& plan : plans) {
    for (const auto& tokens : sequences) streams.push_back({plan, tokens});
  }
  LockstepOptions lockstep;
  lockstep.logits = Logits::kAll;
  const size_t kept = BytesOfTraces(weights.config, sequences);
  lockstep.memory = options.memory - std::min(options.memory, kept);
  lockstep.stop = options.stop;
  lockstep.progress = options.progress;
  const absl::Status status =
      RunLockstep(weights, streams, lockstep, meter, parallel);
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  return meter.TakeMetrics();
}

absl::Status TimePlan(const Weights& weights, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      const std::function<bool()>& stop, Parallel& parallel,
                      PlanTiming& timing) {
  Decoder decoder(weights, plan, prompt.size() + decode_steps, parallel);
  decoder.set_stop(stop);
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
  if (seconds.empty()) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    return {kNaN, kNaN};
  }
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(count / s);
  return {Quantile(rates, 0.5),
          (Quantile(rates, 0.75) - Quantile(rates, 0.25)) / 2};
}

}  // namespace ulpscope
