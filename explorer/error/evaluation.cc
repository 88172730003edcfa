#include "explorer/error/evaluation.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/error_meter.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "kernels/measure/quantile.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
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
    const Run& run, absl::Span<const Plan> plans,
    absl::Span<const std::vector<int32_t>> sequences) {
  const ModelConfig& config = run.weights.config;
  const Plan oracle = Plan::Oracle(run.weights.layers.size());
  ErrorMeter meter(config, sequences.size(), plans.size(), run.monitor,
                   run.parallel);
  // In the meter's order.
  std::vector<Stream> streams;
  streams.reserve((plans.size() + 1) * sequences.size());
  for (const auto& tokens : sequences) streams.push_back({oracle, tokens});
  for (const Plan& plan : plans) {
    for (const auto& tokens : sequences) streams.push_back({plan, tokens});
  }
  constexpr absl::string_view kTask = "errors";
  const std::string what = absl::StrCat(plans.size(), " plans");
  LockstepOptions options =
      LockstepOptionsOf(run.Without(BytesOfTraces(config, sequences)), kTask,
                        [&what] { return what; });
  options.logits = Logits::kAll;
  const absl::Status status =
      RunLockstep(run.weights, streams, options, meter, run.parallel);
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  if (status.ok()) run.monitor.OnProgress(kTask, 1, 1, "");
  return meter.TakeMetrics();
}

absl::Status TimePlan(const Run& run, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      PlanTiming& timing) {
  Decoder decoder(run.weights, plan, prompt.size() + decode_steps,
                  run.parallel);
  decoder.set_stop(StopOf(run.monitor));
  const Parallel::Awake awake(run.parallel);
  double start = SteadySeconds();
  absl::Status status = decoder.Forward(prompt, Logits::kLast);
  if (!status.ok()) return status;
  timing.prefill.push_back(SteadySeconds() - start);
  for (size_t i = 0; i < decode_steps; ++i) {
    start = SteadySeconds();
    status = decoder.Forward({prompt[i % prompt.size()]}, Logits::kLast);
    if (!status.ok()) return status;
    timing.decode.push_back(SteadySeconds() - start);
  }
  return absl::OkStatus();
}

std::optional<Spread> RateOf(const std::vector<double>& seconds, double count) {
  if (seconds.empty()) return std::nullopt;
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(count / s);
  return Spread{Quantile(rates, 0.5),
                (Quantile(rates, 0.75) - Quantile(rates, 0.25)) / 2};
}

}  // namespace ulpscope
