// The program: reads flags, runs one mode, prints and writes its report.

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/parse.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/app/app_monitor.h"
#include "explorer/app/command_line.h"
#include "explorer/app/console.h"
#include "explorer/app/interrupt.h"
#include "explorer/app/progress.h"
#include "explorer/app/settings.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/error/run.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/attribution_results.h"
#include "explorer/report/diagnosis_report.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/run_info.h"
#include "explorer/report/schema.h"
#include "explorer/report/sweep_report.h"
#include "explorer/report/sweep_results.h"
#include "explorer/report/tune_results.h"
#include "explorer/sweep/sweep.h"
#include "explorer/tuning/tune.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/cpu.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/generate.h"
#include "model/files/output_file.h"
#include "model/trace/reference_trace.h"
#include "model/trace/trace_dump.h"

namespace ulpscope {
namespace {

absl::StatusOr<Weights> Load(const Checkpoint& checkpoint,
                             absl::string_view model, Parallel& parallel,
                             const LoadOptions& options) {
  Progress progress(absl::StrCat("loading ", model), 1);
  auto weights = LoadWeights(
      checkpoint, parallel,
      [&progress](size_t done, size_t total) {
        progress.SetTotal(total);
        progress.Update(done, "tensors");
      },
      options);
  if (weights.ok()) progress.Finish();
  return weights;
}

int Generate(const Settings& settings, const ModelSettings& model,
             const Weights& weights, Parallel& parallel) {
  CatchInterrupts();
  const Parallel::Awake awake(parallel);
  const auto generated =
      GenerateGreedily(weights, model.plan, model.sweep.prompt,
                       settings.generate_count, parallel, &Interrupted);
  if (!generated.ok()) return Fail(generated.status(), kFailed);
  const std::vector<int32_t>& tokens = generated->tokens;
  const int printed =
      tokens.empty() ? kDone : Print(absl::StrJoin(tokens, ",") + "\n");
  if (printed != kDone || generated->end == Generated::End::kCount) {
    return printed;
  }
  const bool is_eos = generated->end == Generated::End::kEosToken;
  absl::FPrintF(
      stderr, "explorer: %s after %d of %d tokens\n",
      is_eos ? absl::StrCat("the model's end token ", tokens.back(), " came")
             : absl::StrCat("stopped by ", InterruptName()),
      tokens.size(), settings.generate_count);
  return is_eos ? kDone : InterruptExitCode();
}

int Tune(const Settings& settings, const RunInfo& info,
         std::vector<TunableMatMul> matmuls, WisdomFile& file,
         Parallel& parallel) {
  if (!settings.retune && file.tunings() != nullptr) {
    const size_t before = matmuls.size();
    EraseKnown(*file.tunings(), matmuls);
    absl::FPrintF(stderr,
                  "%d of %d kinds of MatMul are already tuned in %s (--retune "
                  "would tune them again)\n",
                  before - matmuls.size(), before, file.path());
  }
  if (matmuls.empty()) return kDone;
  // Each is saved as soon as it is tuned.
  const std::string note =
      file.path().empty()
          ? std::string(" while tuning")
          : absl::StrCat(" while tuning: ", file.path(),
                         " keeps the kinds of MatMul that were done");
  EndOnInterrupt(note.c_str());
  absl::FPrintF(stderr,
                "tuning %d kinds of MatMul for about %.0f s on %d threads; "
                "%s\n",
                matmuls.size(), settings.timing_seconds, settings.threads,
                file.path().empty()
                    ? absl::StrCat("the result is not kept: ", file.reason())
                    : absl::StrCat("kept in ", file.path()));
  if (file.damaged()) {
    absl::FPrintF(stderr, "what is in %s so far is kept in %s.bad\n",
                  file.path(), file.path());
  }
  TuneOptions options;
  options.seconds = settings.timing_seconds;
  options.model_bytes = info.decode_bytes;
  options.wisdom_path = file.path();
  AppMonitor monitor;
  const auto tuned =
      RunTune(matmuls, options, file.wisdom(), monitor, parallel);
  monitor.Clear();
  EndOnInterrupt("");
  if (!tuned.ok()) return Fail(tuned.status(), kFailed);
  return Print(TuneReport(info, TuneResults(info, *tuned)));
}

int ReportSweep(const Settings& settings, const RunInfo& info,
                const SweepOptions& options, const SweepResult& result) {
  const Results results = SweepResults(info, options, result);
  return WriteReport(settings.out, SweepReport(info, options, result, results),
                     results);
}

int Sweep(const Settings& settings, RunInfo info, const SweepOptions& options,
          const Weights& weights, Parallel& parallel) {
  CatchInterrupts();
  AppMonitor monitor;
  const auto result =
      RunSweep({weights, settings.memory, monitor, parallel}, options);
  monitor.Clear();
  if (!result.ok()) return Fail(result.status(), kFailed);
  if (result->stopped_in.empty()) {
    const int reported = ReportSweep(settings, info, options, *result);
    return result->failed.ok() ? reported : Fail(result->failed, kFailed);
  }
  info.stopped_by = InterruptName();
  absl::FPrintF(stderr,
                "explorer: stopped by %s %s; the report has what was measured "
                "until then\n",
                info.stopped_by, result->stopped_in);
  const int reported = ReportSweep(settings, info, options, *result);
  return reported == kDone ? InterruptExitCode() : reported;
}

int ReportExplanation(const Settings& settings, const RunInfo& info,
                      const Explanation& explanation) {
  const Results results = AttributionTables(info, explanation);
  return WriteReport(settings.out,
                     AttributionReport(info, explanation, results), results);
}

int Attribute(const Settings& settings, const ModelSettings& model,
              RunInfo info, const Weights& weights, Parallel& parallel) {
  CatchInterrupts();
  AppMonitor monitor;
  const Run run = {weights, settings.memory, monitor, parallel};
  Plan plan = model.plan;
  if (settings.of_axes) {
    const auto worst = WorstPlan(run, model.sweep);
    monitor.Clear();
    if (absl::IsCancelled(worst.status())) {
      absl::FPrintF(stderr, "explorer: stopped by %s %s: no results yet\n",
                    InterruptName(), worst.status().message());
      return InterruptExitCode();
    }
    if (!worst.ok()) return Fail(worst.status(), kFailed);
    plan = *worst;
    absl::FPrintF(stderr, "the worst plan by %s: %s\n", settings.metric->name,
                  plan.Text());
  }
  ExplainOptions options;
  options.tokens = settings.on_prompt ? model.sweep.prompt
                                      : std::vector<int32_t>{model.sweep.token};
  options.budget = settings.budget;
  options.strategies = StrategiesOf(model.axes_of_repairs);
  options.timing_prompt = model.sweep.prompt;
  if (settings.timing_seconds == 0) options.timing_rounds = 0;
  const auto explanation = Explain(run, plan, options);
  monitor.Clear();
  if (!explanation.ok()) return Fail(explanation.status(), kFailed);
  if (explanation->stopped_in.empty()) {
    return ReportExplanation(settings, info, *explanation);
  }
  info.stopped_by = InterruptName();
  absl::FPrintF(stderr,
                "explorer: stopped by %s in %s; the report has what was "
                "computed until then\n",
                info.stopped_by, explanation->stopped_in);
  const int reported = ReportExplanation(settings, info, *explanation);
  return reported == kDone ? InterruptExitCode() : reported;
}

int ReportDiagnosis(const Settings& settings, const RunInfo& info,
                    const Diagnosis& diagnosis) {
  const Results results = DiagnosisResults(info, settings.reference, diagnosis);
  return WriteReport(
      settings.out,
      DiagnosisReport(info, settings.reference, diagnosis, results), results);
}

int Diagnose(const Settings& settings, const ModelSettings& model, RunInfo info,
             const Checkpoint& checkpoint, const Weights& weights,
             const ReferenceTrace& trace, Parallel& parallel) {
  CatchInterrupts();
  AppMonitor monitor;
  const auto diagnosis = Diagnose({weights, settings.memory, monitor, parallel},
                                  checkpoint, model.plan, trace);
  monitor.Clear();
  if (absl::IsCancelled(diagnosis.status())) {
    absl::FPrintF(stderr, "explorer: stopped by %s %s: no results yet\n",
                  InterruptName(), diagnosis.status().message());
    return InterruptExitCode();
  }
  if (!diagnosis.ok()) return Fail(diagnosis.status(), kFailed);
  if (diagnosis->stopped_in.empty()) {
    return ReportDiagnosis(settings, info, *diagnosis);
  }
  info.stopped_by = InterruptName();
  absl::FPrintF(stderr,
                "explorer: stopped by %s in %s; the report has what was "
                "computed until then\n",
                info.stopped_by, diagnosis->stopped_in);
  const int reported = ReportDiagnosis(settings, info, *diagnosis);
  return reported == kDone ? InterruptExitCode() : reported;
}

int DumpTrace(const Settings& settings, const ModelSettings& model,
              const Weights& weights, Parallel& parallel) {
  CatchInterrupts();
  const Parallel::Awake awake(parallel);
  Progress progress("tracing", 1);
  TraceDumpOptions options;
  options.model = settings.model;
  options.last_state_is_normed = settings.last_state_is_normed;
  options.stop = &Interrupted;
  options.progress = [&progress](size_t done, size_t total) {
    progress.SetTotal(total);
    progress.Update(done, "");
  };
  const absl::Status dumped = DumpTrace(weights, model.plan, model.sweep.prompt,
                                        settings.dump_trace, options, parallel);
  if (absl::IsCancelled(dumped)) {
    absl::FPrintF(stderr, "explorer: stopped by %s: no trace was written\n",
                  InterruptName());
    return InterruptExitCode();
  }
  if (!dumped.ok()) return Fail(dumped, kFailed);
  progress.Finish();
  absl::FPrintF(stderr, "wrote %s\n", settings.dump_trace);
  return kDone;
}

int RunMode(const std::set<std::string>& given) {
  EndOnInterrupt(" before there were any results");
  const auto settings = ParseSettings(given);
  if (!settings.ok()) return Fail(settings.status(), kBadUsage);
  const absl::Status cpu = CheckCpu();
  if (!cpu.ok()) return Fail(cpu, kFailed);
  const auto checkpoint = OpenCheckpoint(settings->model);
  if (!checkpoint.ok()) return Fail(checkpoint.status(), kFailed);
  // All that can be wrong with a flag is found before the weights are loaded.
  const auto model = ParseModelSettings(*settings, *checkpoint);
  if (!model.ok()) return Fail(model.status(), kBadUsage);
  if (!model->warning.empty()) Warn(model->warning);
  if (!settings->out.empty()) {
    const absl::Status status = MakeFolder(settings->out);
    if (!status.ok()) return Fail(status, kFailed);
  }

  ReferenceTrace trace;
  if (settings->mode == Mode::kDiagnose) {
    auto loaded = LoadReferenceTrace(settings->reference, settings->mapping,
                                     checkpoint->config, model->sweep.prompt);
    if (!loaded.ok()) return Fail(loaded.status(), kFailed);
    trace = *std::move(loaded);
  }

  WisdomFile wisdom(settings->wisdom, settings->threads);
  if (wisdom.ignored()) {
    Warn(absl::StrCat("wisdom is ignored: ", wisdom.reason()));
  }
  Parallel parallel(settings->threads);
  parallel.set_tunings(wisdom.tunings());
  const absl::Time start = absl::Now();
  LoadOptions load;
  load.keep_untied_head = settings->mode == Mode::kDiagnose;
  auto weights = Load(*checkpoint, settings->model, parallel, load);
  if (!weights.ok()) return Fail(weights.status(), kFailed);
  if (settings->mode == Mode::kGenerate) {
    return Generate(*settings, *model, *weights, parallel);
  }
  if (settings->mode == Mode::kDumpTrace) {
    return DumpTrace(*settings, *model, *weights, parallel);
  }

  RunInfo info;
  info.model = settings->model;
  info.synthetic = checkpoint->synthetic;
  info.config = checkpoint->config;
  info.decode_bytes = weights->DecodeBytes();
  info.load_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  info.cpu = CpuName();
  info.target = KernelTarget();
  info.threads = settings->threads;
  info.seed = settings->seed;
  info.axes = model->axes;
  info.layers = model->layers;
  if (settings->mode == Mode::kAttribute) {
    return Attribute(*settings, *model, info, *weights, parallel);
  }
  if (settings->mode == Mode::kDiagnose) {
    return Diagnose(*settings, *model, info, *checkpoint, *weights, trace,
                    parallel);
  }
  const auto plans = PlansOf(model->sweep, weights->layers.size());
  if (!plans.ok()) return Fail(plans.status(), kFailed);
  std::vector<TunableMatMul> matmuls =
      MatMulsOf(*weights, *plans, model->sweep.prompt.size());
  if (settings->mode == Mode::kTune) {
    *weights = Weights();  // only their shapes are needed
    return Tune(*settings, info, std::move(matmuls), wisdom, parallel);
  }
  info.wisdom = wisdom.UseFor(matmuls);
  return Sweep(*settings, info, model->sweep, *weights, parallel);
}

int Main(int argc, char** argv) {
  // A file that grows past the shell's limit is an error with a message.
  std::signal(SIGXFSZ, SIG_IGN);
  std::set_new_handler([] {
    std::fputs("explorer: out of memory\n", stderr);
    std::_Exit(kFailed);
  });
  for (int i = 1; i < argc; ++i) {
    const absl::string_view arg = argv[i];
    if (arg == "--help" || arg == "-h" || arg == "-help") {
      return Print(HelpText());
    }
  }
  const auto given = CheckArguments(argc, argv);
  if (!given.ok()) return Fail(given.status(), kBadUsage);
  std::vector<char*> positional;
  std::vector<absl::UnrecognizedFlag> unrecognized;
  absl::ParseAbseilFlagsOnly(argc, argv, positional, unrecognized);
  return RunMode(*given);
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) { return ulpscope::Main(argc, argv); }
