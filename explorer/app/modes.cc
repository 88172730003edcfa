#include "explorer/app/modes.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/app/console.h"
#include "explorer/app/interrupt.h"
#include "explorer/app/settings.h"
#include "explorer/app/text_stream.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/trace_pair.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/error/windows.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/attribution_results.h"
#include "explorer/report/diagnosis_report.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/report_files.h"
#include "explorer/report/sweep_report.h"
#include "explorer/report/sweep_results.h"
#include "explorer/report/trace_pair_results.h"
#include "explorer/report/tune_results.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"
#include "explorer/sweep/sweep_errors.h"
#include "explorer/tuning/proof.h"
#include "explorer/tuning/tune.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/tuning.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/generate.h"
#include "model/trace/trace_dump.h"

namespace ulpscope {
namespace {

Run RunOf(const Session& s) {
  return {s.weights, s.settings.memory, s.monitor, s.parallel, s.store};
}

// "explorer: stopped by Ctrl-C WHERE"; returns the exit code.
int Stopped(absl::string_view where) {
  absl::FPrintF(stderr, "explorer: stopped by %s%s\n", InterruptName(), where);
  return InterruptExitCode();
}

// What came of the store, to stderr; returns the exit code.
int SayKept(const Session& s) {
  absl::FPrintF(stderr, "store %s: %d measurements were there, %d are new\n",
                s.settings.store, s.store->num_found(), s.store->num_kept());
  return s.store->status().ok() ? kDone : kFailed;
}

// Runs `compute`, which gives what it has after each of its parts to the
// function that it gets, and returns the whole in the end. Reports the last of
// these, however it ends, as `report_of` has it; `in` stands before the stage
// that was stopped. Those of an earlier part are written too,
// as nothing may come after it.
template <typename Result>
int RunReported(Session& s, absl::string_view in,
                absl::FunctionRef<absl::StatusOr<Result>(
                    const std::function<void(const Result&)>&)>
                    compute,
                absl::FunctionRef<Report(const Result&)> report_of) {
  CatchInterrupts();
  std::optional<Result> result;
  const auto on_stage = [&](const Result& part) {
    result = part;
    if (s.settings.out.empty()) return;
    s.info.stopped_by = "a sudden end";
    const absl::Status written = WriteReportFiles(
        s.settings.out, ReportFiles(report_of(part), s.settings.format));
    if (!written.ok()) Warn(written.message());
  };
  const absl::Status status = WithinMemory(s.monitor, [&]() -> absl::Status {
    auto whole = compute(on_stage);
    if (whole.ok()) result = *std::move(whole);
    return whole.status();
  });
  s.monitor.Clear();
  s.info.stopped_by = "";
  int code = kDone;
  if (absl::IsCancelled(status)) {
    code = Stopped(absl::StrCat(" ", status.message(), ": no results yet"));
  } else if (!status.ok()) {
    code = Fail(status, kFailed);
    s.info.stopped_by = "an error";
  } else if (!result->stopped_in.empty()) {
    code =
        Stopped(absl::StrCat(in, result->stopped_in,
                             "; the report has what was measured until then"));
    s.info.stopped_by = InterruptName();
  }
  const int kept = s.store == nullptr ? kDone : SayKept(s);
  if (!result.has_value()) return code == kDone ? kept : code;
  const int reported =
      WriteReport(s.settings.out, report_of(*result), s.settings.format);
  return reported != kDone ? reported : code != kDone ? code : kept;
}

// --shard: what it measures goes into the store alone.
int Measure(Session& s) {
  CatchInterrupts();
  const absl::Status status = WithinMemory(s.monitor, [&] {
    return MeasureRange(RunOf(s), s.part->errors, s.part->units);
  });
  s.monitor.Clear();
  const int kept = SayKept(s);
  if (absl::IsCancelled(status)) {
    return Stopped(absl::StrCat(" ", status.message(),
                                "; the store has what was measured until "
                                "then"));
  }
  return status.ok() ? kept : Fail(status, kFailed);
}

int Sweep(Session& s) {
  if (s.part != nullptr) return Measure(s);
  const auto plans = PlansOf(s.model.sweep, s.weights.layers.size());
  if (!plans.ok()) return Fail(plans.status(), kFailed);
  s.info.wisdom = UseOf(
      s.wisdom, MatMulsOf(s.weights, *plans, s.model.sweep.prompt.size()));
  const SweepOptions& options = s.model.sweep;
  return RunReported<SweepResult>(
      s, " ",
      [&](const auto& on_stage) -> absl::StatusOr<SweepResult> {
        auto result = RunSweep(RunOf(s), options, on_stage);
        if (!result.ok() || result->failed.ok()) return result;
        result->stopped_in = "while plans were timed";
        on_stage(*result);
        return result->failed;
      },
      [&](const SweepResult& result) -> Report {
        Results results = SweepResults(s.info, options, result);
        std::string text = SweepReport(s.info, options, result, results);
        return {std::move(text), std::move(results)};
      });
}

int Attribute(Session& s) {
  ExplainOptions options;
  options.tokens = s.model.on_prompt
                       ? s.model.sweep.prompt
                       : std::vector<int32_t>{s.model.sweep.token};
  // The others show what is luck.
  constexpr size_t kMostOthers = 4;
  const std::vector<Window>& windows = s.model.sweep.windows;
  for (size_t i = 1; s.model.on_prompt && i < windows.size(); ++i) {
    if (options.windows.size() == kMostOthers) break;
    options.windows.push_back(windows[i].tokens);
  }
  options.against = s.model.against;
  options.budget = s.settings.budget;
  options.strategies = StrategiesOf(s.model.axes_of_repairs);
  options.timing.prompt = s.model.sweep.prompt;
  options.timing.seconds = s.settings.timing_seconds;
  return RunReported<Explanation>(
      s, " in ",
      [&](const auto& on_stage) -> absl::StatusOr<Explanation> {
        if (!s.settings.of_axes()) {
          return Explain(RunOf(s), s.model.plan, options, on_stage);
        }
        const auto worst = WorstPlan(RunOf(s), s.model.sweep);
        if (!worst.ok()) return worst.status();
        s.monitor.Clear();
        absl::FPrintF(stderr, "the worst plan by %s: %s\n",
                      s.settings.metric->name, worst->Text());
        return Explain(RunOf(s), *worst, options, on_stage);
      },
      [&](const Explanation& explanation) -> Report {
        Results results = AttributionTables(s.info, explanation);
        std::string text = AttributionReport(s.info, explanation, results);
        return {std::move(text), std::move(results)};
      });
}

// --diagnose of two traces.
int CompareTraces(Session& s) {
  bool differs = false, measured = false;
  const int code = RunReported<TracePair>(
      s, " in ",
      [&](const auto& on_stage) {
        return ComparePair(RunOf(s), s.checkpoint, s.trace, s.against_trace,
                           on_stage);
      },
      [&](const TracePair& pair) -> Report {
        differs = pair.differs();
        measured = !pair.points.empty();
        const Results results = TracePairResults(s.info, pair);
        return {TracePairReport(s.info, pair, results), results};
      });
  if (code != kDone || s.settings.fail_on == FailOn::kNothing) return code;
  if (!measured) return kNothingComparable;
  return differs ? kGateFailed : kDone;
}

int Diagnose(Session& s) {
  if (!s.settings.against_trace.empty()) return CompareTraces(s);
  const std::string& reference = s.settings.reference;
  bool differs = false, explained = true, measured = false;
  const int code = RunReported<Diagnosis>(
      s, " in ",
      [&](const auto& on_stage) {
        return Diagnose(RunOf(s), s.checkpoint, s.model.plan, s.trace,
                        /*explain_rounding=*/true, on_stage);
      },
      [&](const Diagnosis& diagnosis) -> Report {
        differs = diagnosis.differs();
        explained = diagnosis.explained();
        measured = !diagnosis.points.empty();
        const Results results = DiagnosisResults(s.info, reference, diagnosis);
        return {DiagnosisReport(s.info, reference, diagnosis, results),
                results};
      });
  if (code != kDone || s.settings.fail_on == FailOn::kNothing) return code;
  if (!measured) return kNothingComparable;
  const bool fails =
      differs || (s.settings.fail_on == FailOn::kUnexplained && !explained);
  return fails ? kGateFailed : kDone;
}

int Generate(Session& s) {
  CatchInterrupts();
  const Parallel::Awake awake(s.parallel);
  // Text comes as it is made, and ids at the end, on a line of their own.
  TextStream text;
  int streamed = kDone;
  const auto stop = [&] { return streamed != kDone || Interrupted(); };
  const auto on_token = [&](int32_t token) {
    const auto& ends = s.weights.config.eos_token_ids;
    if (s.tokenizer == nullptr || streamed != kDone ||
        absl::c_linear_search(ends, token)) {
      return;
    }
    const auto bytes = s.tokenizer->TokenBytes(token);
    if (bytes.ok()) streamed = Print(text.Add(*bytes));
  };
  const auto generated =
      GenerateGreedily(s.weights, s.model.plan, s.model.sweep.prompt,
                       s.settings.generate_count, s.parallel, stop, on_token);
  if (streamed != kDone) return streamed;
  if (s.tokenizer != nullptr) {
    const int ended = Print(text.Rest() + "\n");
    if (ended != kDone) return ended;
  }
  if (!generated.ok()) return Fail(generated.status(), kFailed);
  const std::vector<int32_t>& tokens = generated->tokens;
  const int printed =
      tokens.empty() ? kDone : Print(absl::StrJoin(tokens, ",") + "\n");
  if (printed != kDone || generated->end == Generated::End::kCount) {
    return printed;
  }
  const std::string after = absl::StrFormat(
      " after %d of %d tokens", tokens.size(), s.settings.generate_count);
  if (generated->end != Generated::End::kEosToken) return Stopped(after);
  absl::FPrintF(stderr, "explorer: the model's end token %d came%s\n",
                tokens.back(), after);
  return kDone;
}

int DumpTrace(Session& s) {
  CatchInterrupts();
  const Parallel::Awake awake(s.parallel);
  TraceDumpOptions options;
  options.model = s.settings.model;
  options.last_state_is_normed = s.settings.last_state_is_normed;
  options.stop = &Interrupted;
  options.progress = [&s](size_t done, size_t total) {
    s.monitor.OnProgress("tracing", done, total, "");
  };
  const absl::Status dumped =
      DumpTrace(s.weights, s.model.plan, s.model.sweep.prompt,
                s.settings.dump_trace, options, s.parallel);
  s.monitor.Clear();
  if (absl::IsCancelled(dumped)) return Stopped(": no trace was written");
  if (!dumped.ok()) return Fail(dumped, kFailed);
  absl::FPrintF(stderr, "wrote %s\n", s.settings.dump_trace);
  return kDone;
}

// Tunes, and proves on the model what that has found. `result` has what was
// measured, whatever ends it.
absl::Status TuneAndProve(Session& s, const std::vector<Plan>& plans,
                          const std::vector<size_t>& proven,
                          const std::vector<TunableMatMul>& matmuls,
                          TuneOutcome& result) {
  // Of the time, for the proof.
  constexpr double kProofShare = 0.25;
  const double seconds = s.settings.timing_seconds;
  result.stopped_in = "the search";
  const TuneOptions options = {(1 - kProofShare) * seconds,
                               s.info.decode_bytes};
  absl::Status status =
      RunTune(matmuls, options, s.wisdom, s.monitor, s.parallel, result.tuned);
  if (!status.ok()) return status;
  result.stopped_in = "the proof";
  const Tunings* const before = s.parallel.tunings();
  Tunings tunings = before != nullptr ? *before : Tunings();
  for (const TunedMatMul& one : result.tuned) {
    tunings.Set(one.matmul.key, one.result.best);
  }
  ProofOptions proof;
  proof.plans = plans;
  proof.prompt = s.model.sweep.prompt;
  proof.decode_steps = s.model.sweep.decode_steps;
  proof.seconds = kProofShare * seconds;
  const auto time = [&](const Plan& plan, const Tunings& with,
                        TimedRun& timed) {
    s.parallel.set_tunings(&with);
    const absl::Cleanup restore = [&] { s.parallel.set_tunings(before); };
    return TimePlan(RunOf(s), plan, proof.prompt, proof.decode_steps, timed);
  };
  status = ProveTunings(proof, proven, tunings, time, s.monitor, result.tuned,
                        result.proofs);
  if (!status.ok()) return status;
  result.stopped_in.clear();
  std::vector<Tunings::Key> dropped;
  for (const TunedMatMul& one : result.tuned) {
    if (!one.kept) dropped.push_back(one.matmul.key);
  }
  if (!dropped.empty()) {
    s.monitor.Clear();
    absl::FPrintF(stderr,
                  "%d of %d tunings serve nothing that gains and are not "
                  "kept\n",
                  dropped.size(), result.tuned.size());
  }
  return s.wisdom.Drop(dropped);
}

int Tune(Session& s) {
  const auto plans = PlansOf(s.model.sweep, s.weights.layers.size());
  if (!plans.ok()) return Fail(plans.status(), kFailed);
  const auto is_emulated = [](const Plan& plan) { return plan.emulated(); };
  const ptrdiff_t emulated = absl::c_count_if(*plans, is_emulated);
  if (emulated > 0) {
    const std::string why = absl::StrFormat(
        "%d of %d plans are emulated, such as %s: their time on this CPU says "
        "nothing of them, and they are not tuned",
        emulated, plans->size(), absl::c_find_if(*plans, is_emulated)->Text());
    if (static_cast<size_t>(emulated) == plans->size()) {
      return Fail(absl::InvalidArgumentError(why), kFailed);
    }
    absl::FPrintF(stderr, "%s\n", why);
  }
  std::vector<TunableMatMul> matmuls =
      MatMulsOf(s.weights, *plans, s.model.sweep.prompt.size());
  const std::vector<size_t> proven = DistinctPlans(matmuls, plans->size());
  const WisdomFile& file = s.wisdom;
  if (!s.settings.retune && file.tunings() != nullptr) {
    const size_t before = matmuls.size();
    EraseKnown(*file.tunings(), matmuls);
    absl::FPrintF(stderr,
                  "%d of %d kinds of MatMul are already tuned in %s (--retune "
                  "would tune them again)\n",
                  before - matmuls.size(), before, file.path());
  }
  if (matmuls.empty()) return kDone;
  CatchInterrupts();
  absl::FPrintF(stderr,
                "tuning %d kinds of MatMul for about %.0f s on %d threads; "
                "%s\n",
                matmuls.size(), s.settings.timing_seconds, s.settings.threads,
                file.path().empty()
                    ? absl::StrCat("the result is not kept: ", file.reason())
                    : absl::StrCat("each is kept in ", file.path()));
  if (file.damaged()) {
    absl::FPrintF(stderr, "what is in %s so far is kept in %s.bad\n",
                  file.path(), file.path());
  }
  TuneOutcome outcome;
  const absl::Status status = WithinMemory(s.monitor, [&] {
    return TuneAndProve(s, *plans, proven, matmuls, outcome);
  });
  s.monitor.Clear();
  s.info.stopped_by = absl::IsCancelled(status) ? InterruptName() : "an error";
  const Results results = TuneResults(s.info, outcome);
  const int printed = outcome.tuned.empty()
                          ? kDone
                          : PrintReport({TuneReport(s.info, results), results},
                                        s.settings.format);
  if (absl::IsCancelled(status)) {
    return Stopped(absl::StrFormat(
        " in %s: %d of %d kinds of MatMul were tuned%s", outcome.stopped_in,
        outcome.tuned.size(), matmuls.size(),
        file.path().empty() ? ""
                            : absl::StrCat(" and are kept in ", file.path())));
  }
  return status.ok() ? printed : Fail(status, kFailed);
}

}  // namespace

int RunMode(Session session) {
  constexpr int (*kModes[])(Session&) = {
      &Sweep, &Sweep, &Generate, &Attribute, &Diagnose, &DumpTrace, &Tune};
  // --compare runs no model.
  static_assert(std::size(kModes) == static_cast<size_t>(Mode::kCompare));
  return kModes[static_cast<size_t>(session.settings.mode)](session);
}

}  // namespace ulpscope
