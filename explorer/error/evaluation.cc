#include "explorer/error/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
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
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "kernels/measure/quantile.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

constexpr absl::string_view kErrorTask = "errors";

// Of a run that a meter keeps: the stream before and after each layer, the
// final norm, and logits.
size_t BytesOfReference(const ModelConfig& config, size_t tokens) {
  const size_t per_token = static_cast<size_t>(config.num_hidden_layers + 2) *
                               static_cast<size_t>(config.hidden_size) +
                           static_cast<size_t>(config.vocab_size);
  return tokens * per_token * sizeof(double);
}

// Errors that are to be measured.
struct Missing {
  size_t query;
  Subject subject;
};

Subject SubjectOfErrors(const Run& run, absl::Span<const Plan> plans,
                        absl::Span<const Window> windows, const Plan& oracle,
                        const ErrorQuery& query) {
  const Plan& plan = plans[query.plan];
  const Plan& reference = plans[query.reference];
  const auto& tokens = windows[query.window].tokens;
  // Errors against the oracle do not name it.
  Subject subject = reference == oracle
                        ? SubjectOf("error", run, tokens, {{"plan", &plan}})
                        : SubjectOf("error", run, tokens,
                                    {{"plan", &plan}, {"against", &reference}});
  subject.version = kTraceMetricsVersion;
  return subject;
}

// The progress of one task that takes several runs.
struct Share {
  size_t done, count, total;  // of queries
};

// Measures the queries of some windows, and keeps them.
absl::Status MeasureMissing(const Run& run, absl::Span<const Plan> plans,
                            absl::Span<const Window> windows,
                            absl::Span<const ErrorQuery> queries,
                            absl::Span<const Missing> missing,
                            const Share& share,
                            std::vector<TraceMetrics>& metrics) {
  std::vector<Stream> streams;
  std::map<std::pair<size_t, size_t>, size_t> stream_of;  // [window, plan]
  size_t bytes = 0;
  const auto add = [&](size_t window, size_t plan, bool is_reference) {
    const std::vector<int32_t>& tokens = windows[window].tokens;
    const auto [at, is_new] =
        stream_of.try_emplace({window, plan}, streams.size());
    if (!is_new) return at->second;
    if (is_reference) {
      bytes += BytesOfReference(run.weights.config, tokens.size());
    }
    streams.push_back({plans[plan], tokens});
    return at->second;
  };
  std::vector<Measurement> measurements;
  // References first, and of these the ones that are not measured themselves:
  // little then waits for its reference.
  std::set<std::pair<size_t, size_t>> values;
  for (const Missing& m : missing) {
    values.emplace(queries[m.query].window, queries[m.query].plan);
  }
  for (const bool is_value : {false, true}) {
    for (const Missing& m : missing) {
      const ErrorQuery& query = queries[m.query];
      if ((values.count({query.window, query.reference}) > 0) == is_value) {
        add(query.window, query.reference, true);
      }
    }
  }
  for (const Missing& m : missing) {
    const ErrorQuery& query = queries[m.query];
    const Window& window = windows[query.window];
    const size_t value = add(query.window, query.plan, false);
    measurements.push_back({value, stream_of[{query.window, query.reference}],
                            window.tokens, window.first_scored,
                            window.end_scored});
  }
  ErrorMeter meter(run.weights.config, std::move(measurements), run.monitor,
                   run.parallel, [&](size_t i, const TraceMetrics& measured) {
                     Retain(run.kept, missing[i].subject, measured);
                   });
  LockstepOptions options = LockstepOptionsOf(run.Without(bytes));
  options.logits = Logits::kAll;
  // Enough for the weights' way from memory to be nothing beside the
  // arithmetic: with more streams at once a pass would only hold more.
  constexpr double kMostPositions = size_t{1} << 14;
  double positions = 0;
  for (const Stream& stream : streams) {
    positions += static_cast<double>(stream.tokens.size());
  }
  const double at_once = std::min(1.0, kMostPositions / positions);
  options.memory = std::min(
      options.memory,
      static_cast<size_t>(at_once * LockstepBytes(run.weights.config, streams,
                                                  options.logits)));
  const std::string what =
      share.count == share.total
          ? absl::StrCat(missing.size(), " runs")
          : absl::StrCat("window ", queries[missing[0].query].window + 1,
                         " of ", windows.size());
  options.progress = [&](size_t done, size_t total) {
    constexpr size_t kParts = 1000;  // of each query
    const size_t part = done * kParts / std::max<size_t>(total, 1);
    const size_t all = share.total * kParts;
    run.monitor.OnProgress(
        kErrorTask, std::min(share.done * kParts + share.count * part, all - 1),
        all, what);
  };
  const absl::Status status =
      RunLockstep(run.weights, streams, options, meter, run.parallel);
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  std::vector<TraceMetrics> measured = meter.TakeMetrics();
  for (size_t i = 0; i < missing.size(); ++i) {
    metrics[missing[i].query] = std::move(measured[i]);
  }
  return status;
}

}  // namespace

absl::StatusOr<std::vector<TraceMetrics>> MeasureErrors(
    const Run& run, absl::Span<const Plan> plans,
    absl::Span<const Window> windows, absl::Span<const ErrorQuery> queries) {
  std::vector<TraceMetrics> metrics(queries.size());
  std::vector<std::vector<Missing>> missing(windows.size());
  size_t total = 0;
  const Plan oracle = Plan::Oracle(run.weights.layers.size());
  for (size_t q = 0; q < queries.size(); ++q) {
    const Window& window = windows[queries[q].window];
    Subject subject = SubjectOfErrors(run, plans, windows, oracle, queries[q]);
    const auto fits = [&](const TraceMetrics& kept) {
      return IsWhole(kept, plans[queries[q].plan].num_layers()) &&
             kept.tokens->positions() == window.tokens.size();
    };
    if (Recall(run.kept, subject, metrics[q], fits)) {
      metrics[q].logits = LogitMetricsOf(
          *metrics[q].tokens, window.first_scored, window.end_scored);
    } else {
      missing[queries[q].window].push_back({q, std::move(subject)});
      ++total;
    }
  }
  if (total == 0) return metrics;
  // Windows at once: what their references leave behind takes a third of the
  // memory at most, or is one window's.
  size_t done = 0;
  for (size_t first = 0; first < windows.size();) {
    std::vector<Missing> some;
    size_t bytes = 0, end = first;
    for (; end < windows.size(); ++end) {
      std::set<size_t> references;
      for (const Missing& m : missing[end]) {
        references.insert(queries[m.query].reference);
      }
      bytes += references.size() *
               BytesOfReference(run.weights.config, windows[end].tokens.size());
      if (end > first && bytes > run.memory / 3) break;
      absl::c_move(missing[end], std::back_inserter(some));
    }
    first = end;
    if (some.empty()) continue;
    const absl::Status status =
        MeasureMissing(run, plans, windows, queries, some,
                       {done, some.size(), total}, metrics);
    if (absl::IsCancelled(status)) return metrics;
    if (!status.ok()) return status;
    done += some.size();
  }
  run.monitor.OnProgress(kErrorTask, 1, 1, "");
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
