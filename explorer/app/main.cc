// The program: reads flags, and what a mode needs, and runs it.

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "explorer/app/app_monitor.h"
#include "explorer/app/build_commit.h"
#include "explorer/app/compare.h"
#include "explorer/app/console.h"
#include "explorer/app/flags.h"
#include "explorer/app/help.h"
#include "explorer/app/interrupt.h"
#include "explorer/app/merge.h"
#include "explorer/app/model_settings.h"
#include "explorer/app/modes.h"
#include "explorer/app/open_store.h"
#include "explorer/app/opened_model.h"
#include "explorer/app/settings.h"
#include "explorer/report/run_info.h"
#include "explorer/store/store.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/cpu.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/files/output_file.h"
#include "model/tokenizer/token_text.h"
#include "model/tokenizer/tokenizer.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

void WarnOfHead(const Checkpoint& checkpoint) {
  if (!checkpoint.untied_by_file) return;
  Warn(absl::StrCat(
      checkpoint.name,
      ": config.json ties lm_head to the embedding, but "
      "lm_head.weight is no copy of it: lm_head.weight is used, as "
      "by transformers"));
}

// What the file has and the hyperparameters do not ask for: biases that a
// config denies, or another model's weights.
void WarnOfUnused(const Checkpoint& checkpoint) {
  constexpr size_t kMost = 5;
  std::vector<std::string> names = checkpoint.tensors->Unused();
  if (names.empty()) return;
  const size_t count = names.size();
  if (count > kMost) names.resize(kMost);
  Warn(absl::StrCat(
      checkpoint.name, ": ", count, count == 1 ? " tensor is" : " tensors are",
      " not used: ", absl::StrJoin(names, ", "), count > kMost ? ", ..." : ""));
}

// Generating ends at those of the tokenizer's files too.
void AddEndTokens(const Tokenizer& tokenizer, ModelConfig& config) {
  for (const int32_t id : tokenizer.eos_ids()) {
    if (!absl::c_linear_search(config.eos_token_ids, id)) {
      config.eos_token_ids.push_back(id);
    }
  }
}

// What all models of a run have in common.
struct Machine {
  WisdomFile& wisdom;
  Parallel& parallel;
  AppMonitor& monitor;
  Store* store;  // or null
};

// Loads the weights, and runs the mode.
int RunModel(OpenedModel& opened, const ReferenceTrace& trace,
             const ReferenceTrace& against_trace, const Machine& machine) {
  const Settings& settings = opened.settings;
  const Checkpoint& checkpoint = opened.checkpoint;
  const auto& tokenizer = opened.tokenizer;
  const absl::Time start = absl::Now();
  auto weights =
      LoadWeights(checkpoint, machine.parallel, [&](size_t done, size_t total) {
        machine.monitor.OnBytes(absl::StrCat("loading ", settings.model), done,
                                total);
      });
  machine.monitor.Clear();
  if (!weights.ok()) return Fail(weights.status(), kFailed);
  if (tokenizer.ok()) AddEndTokens(*tokenizer, weights->config);
  WarnOfHead(checkpoint);
  WarnOfUnused(checkpoint);
  RunInfo info;
  info.model = settings.model;
  info.synthetic = checkpoint.synthetic;
  info.config = checkpoint.config;
  info.model_fingerprint = weights->fingerprint;
  info.decode_bytes = weights->DecodeBytes();
  info.load_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  info.build_commit = kBuildCommit;
  info.cpu = CpuName();
  info.target = KernelTarget();
  info.threads = settings.threads;
  info.seed = settings.seed;
  info.axes = opened.model.axes;
  info.layers = opened.model.layers;
  info.against = opened.model.against.Text();
  info.text = opened.model.text;
  if (tokenizer.ok()) {
    info.text_of = [&](absl::Span<const int32_t> tokens) {
      const auto text = tokenizer->Decode(tokens);
      if (!text.ok()) return std::string();
      const std::string quoted = QuotedBytes(*text);
      return quoted.substr(1, quoted.size() - 2);
    };
  }
  if (machine.store != nullptr) machine.store->BeginModel(settings.model);
  return RunMode({settings, checkpoint, opened.model, trace, against_trace,
                  machine.wisdom, *weights, machine.parallel, machine.monitor,
                  machine.store, tokenizer.ok() ? &*tokenizer : nullptr,
                  opened.part.has_value() ? &*opened.part : nullptr,
                  std::move(info)});
}

int RunProgram(absl::Span<const char* const> arguments, AppMonitor& monitor) {
  EndOnInterrupt(" before there were any results");
  const auto settings = ReadFlags(arguments);
  if (!settings.ok()) return Fail(settings.status(), kBadUsage);
  if (settings->mode == Mode::kCompare) return RunCompare(*settings);
  if (settings->mode == Mode::kMerge) return RunMerge(*settings, monitor);
  const absl::Status cpu = CheckCpu();
  if (!cpu.ok()) return Fail(cpu, kFailed);
  std::vector<OpenedModel> models;
  const int opened = OpenModels(*settings, models);
  if (opened != kDone) return opened;
  for (const OpenedModel& model : models) {
    if (settings->out.empty()) break;
    const absl::Status status = MakeFolder(model.settings.out);
    if (!status.ok()) return Fail(status, kFailed);
  }
  ReferenceTrace trace, against_trace;
  if (settings->mode == Mode::kDiagnose) {
    const OpenedModel& model = models[0];
    const ModelConfig& config = model.checkpoint.config;
    auto loaded =
        LoadReferenceTrace(settings->reference, settings->mapping, config,
                           model.model.sweep.prompt, settings->row);
    if (!loaded.ok()) return Fail(loaded.status(), kFailed);
    trace = *std::move(loaded);
    if (!settings->against_trace.empty()) {
      auto other = LoadReferenceTrace(
          settings->against_trace, settings->against_mapping, config,
          trace.tokens, settings->against_row, "--reference");
      if (!other.ok()) return Fail(other.status(), kFailed);
      against_trace = *std::move(other);
    }
    if (model.model.sweep.prompt.empty()) {
      const auto remark = RemarkOnWindow(config, trace.tokens.size());
      if (!remark.ok()) return Fail(remark.status(), kFailed);
      if (!remark->empty()) Warn(*remark);
    }
  }
  WisdomFile wisdom(settings->wisdom, settings->threads);
  if (settings->mode == Mode::kTune) {
    const absl::Status keeps = wisdom.CheckKeeps();
    if (!keeps.ok()) return Fail(keeps, kFailed);
  }
  if (wisdom.ignored()) {
    Warn(absl::StrCat("wisdom is ignored: ", wisdom.reason()));
  }
  const auto store = OpenStore(*settings, wisdom);
  if (!store.ok()) return Fail(store.status(), kFailed);
  Parallel parallel(settings->threads);
  parallel.set_tunings(wisdom.tunings());
  // A model that fails takes no other's results away.
  int code = kDone;
  for (OpenedModel& model : models) {
    if (&model != models.data()) {
      EndOnInterrupt(" while a model was loaded; those before it are done");
    }
    const int of_model = RunModel(model, trace, against_trace,
                                  {wisdom, parallel, monitor, store->get()});
    if (code == kDone) code = of_model;
    if (!Interrupted()) continue;
    // One that was done before it noticed has left out those behind it.
    return of_model == kDone && &model != &models.back() ? InterruptExitCode()
                                                         : code;
  }
  return code;
}

int Main(int argc, char** argv) {
  // A file that grows past the shell's limit is an error with a message.
  std::signal(SIGXFSZ, SIG_IGN);
  const auto arguments = absl::MakeConstSpan(argv, argv + argc).subspan(1);
  if (AsksForHelp(arguments)) return Print(HelpText(arguments));
  AppMonitor monitor;
  int code = kDone;
  const absl::Status status = WithinMemory(monitor, [&] {
    code = RunProgram(arguments, monitor);
    return absl::OkStatus();
  });
  return status.ok() ? code : Fail(status, kFailed);
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) { return ulpscope::Main(argc, argv); }
