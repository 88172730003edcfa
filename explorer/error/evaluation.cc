#include "explorer/error/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/error_meter.h"
#include "explorer/error/kept.h"
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

// A plan's errors on a sequence that are to be measured.
struct MissingRun {
  size_t plan, sequence;
  Subject subject;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<TraceMetrics>>> MeasureErrors(
    const Run& run, absl::Span<const Plan> plans,
    absl::Span<const std::vector<int32_t>> sequences) {
  const ModelConfig& config = run.weights.config;
  std::vector<std::vector<TraceMetrics>> metrics(
      plans.size(), std::vector<TraceMetrics>(sequences.size()));
  std::vector<MissingRun> missing;
  for (size_t p = 0; p < plans.size(); ++p) {
    for (size_t s = 0; s < sequences.size(); ++s) {
      Subject subject =
          SubjectOf("error", run, sequences[s], {{"plan", &plans[p]}});
      subject.version = kTraceMetricsVersion;
      const auto fits = [&](const TraceMetrics& kept) {
        return IsWhole(kept, plans[p].num_layers());
      };
      if (!Recall(run.kept, subject, metrics[p][s], fits)) {
        missing.push_back({p, s, std::move(subject)});
      }
    }
  }
  if (missing.empty()) return metrics;

  // In the meter's order, of the sequences that something is missing of.
  std::vector<std::vector<int32_t>> needed;
  std::vector<size_t> place(sequences.size(), sequences.size());
  std::vector<size_t> sequence_of_run;
  std::vector<Stream> streams;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto of_sequence = [s](const MissingRun& m) {
      return m.sequence == s;
    };
    if (std::none_of(missing.begin(), missing.end(), of_sequence)) continue;
    place[s] = needed.size();
    needed.push_back(sequences[s]);
    streams.push_back({Plan::Oracle(run.weights.layers.size()), sequences[s]});
  }
  size_t num_plans = 0;
  for (size_t i = 0; i < missing.size(); ++i) {
    const auto& [plan, sequence, subject] = missing[i];
    if (i == 0 || plan != missing[i - 1].plan) ++num_plans;
    sequence_of_run.push_back(place[sequence]);
    streams.push_back({plans[plan], sequences[sequence]});
  }
  ErrorMeter meter(config, needed.size(), std::move(sequence_of_run),
                   run.monitor, run.parallel,
                   [&](size_t i, const TraceMetrics& measured) {
                     Retain(run.kept, missing[i].subject, measured);
                   });
  constexpr absl::string_view kTask = "errors";
  const std::string what = absl::StrCat(num_plans, " plans");
  LockstepOptions options =
      LockstepOptionsOf(run.Without(BytesOfTraces(config, needed)), kTask,
                        [&what] { return what; });
  options.logits = Logits::kAll;
  const absl::Status status =
      RunLockstep(run.weights, streams, options, meter, run.parallel);
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  if (status.ok()) run.monitor.OnProgress(kTask, 1, 1, "");
  std::vector<TraceMetrics> measured = meter.TakeMetrics();
  for (size_t i = 0; i < missing.size(); ++i) {
    metrics[missing[i].plan][missing[i].sequence] = std::move(measured[i]);
  }
  return metrics;
}

void Visit(Archive& archive, TimedRun& timed) {
  archive.Figure("prefill_seconds", timed.timing.prefill);
  archive.Figure("decode_seconds", timed.timing.decode);
  archive.Figure("spent_seconds", timed.seconds);
}

bool IsWhole(const TimedRun& timed, size_t decode_steps) {
  return timed.timing.prefill.size() == 1 &&
         timed.timing.decode.size() == decode_steps;
}

void PlanTiming::Append(const PlanTiming& other) {
  prefill.insert(prefill.end(), other.prefill.begin(), other.prefill.end());
  decode.insert(decode.end(), other.decode.begin(), other.decode.end());
}

absl::Status TimePlan(const Run& run, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      TimedRun& timed) {
  const double begin = SteadySeconds();
  Decoder decoder(run.weights, plan, prompt.size() + decode_steps,
                  run.parallel);
  decoder.set_stop(StopOf(run.monitor));
  const Parallel::Awake awake(run.parallel);
  double start = SteadySeconds();
  absl::Status status = decoder.Forward(prompt, Logits::kLast);
  if (!status.ok()) return status;
  timed.timing.prefill.push_back(SteadySeconds() - start);
  for (size_t i = 0; i < decode_steps; ++i) {
    start = SteadySeconds();
    status = decoder.Forward({prompt[i % prompt.size()]}, Logits::kLast);
    if (!status.ok()) return status;
    timed.timing.decode.push_back(SteadySeconds() - start);
  }
  timed.seconds = SteadySeconds() - begin;
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
