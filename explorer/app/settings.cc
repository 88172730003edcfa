#include "explorer/app/settings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/app/command_line.h"
#include "explorer/app/flag_values.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "kernels/base/machine_limits.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"

// Values are strings, read here rather than by Abseil, which exits with 1 on
// one that it cannot read: bad usage is 2.
ABSL_FLAG(bool, sweep, false,
          "evaluate every combination of --axes and rank the plans by speed "
          "and error");
ABSL_FLAG(std::string, plan, "",
          "evaluate this plan alone: a preset, or entries "
          "SELECTOR[@LAYER[-LAYER]]=STRATEGY separated by commas, of which "
          "later ones win; what none selects is f32");
ABSL_FLAG(bool, attribute, false,
          "explain the error of one plan, --plan or the worst of --axes: which "
          "op in which layer it comes from, and the smallest repair");
ABSL_FLAG(std::string, on, "token",
          "what --attribute runs: token (--token alone) or prompt (--tokens)");
ABSL_FLAG(
    std::string, budget, "rel_l2<=1e-3",
    "the error that --attribute's repair has to keep: METRIC<=NUMBER with "
    "rel_l2 (of the final hidden state), logits_rel_l2 or kl");
ABSL_FLAG(bool, diagnose, false,
          "find out why somebody else's trace of the model, --reference, "
          "differs from --plan (default f32): the comparison, the arithmetic, "
          "or a mistake, and whose");
ABSL_FLAG(std::string, reference, "",
          "the trace of --diagnose: a folder of after_layer_N.bin, a .npz "
          "file or a folder of .npy, a .safetensors file or a folder of them; "
          "docs/diagnosis.md lists the names");
ABSL_FLAG(std::string, mapping, "",
          "a file that says how names of --reference's tensors are those of "
          "transformers; docs/diagnosis.md describes it");
ABSL_FLAG(std::string, dump_trace, "",
          "run --plan (default f32) over --tokens and write its trace to this "
          "path: one file if it ends in .safetensors, else a folder of "
          "after_layer_N.bin");
ABSL_FLAG(std::string, last_state, "normed",
          "the last hidden state of --dump_trace: normed (after the final "
          "norm, as transformers' output_hidden_states has it) or raw");
ABSL_FLAG(std::string, generate, "",
          "print this many greedy next token ids after --tokens, under --plan "
          "(default f32)");
ABSL_FLAG(bool, tune, false,
          "find the fastest way to divide each MatMul against weights that a "
          "--sweep, or a --plan, with the same flags times, and keep it in "
          "--wisdom; what that knows already is skipped");
ABSL_FLAG(bool, retune, false, "with --tune: skip nothing");
ABSL_FLAG(std::string, wisdom, "",
          "the file that keeps what --tune found, for all modes; none for no "
          "file (default: ulpscope/wisdom.json in $XDG_CACHE_HOME or "
          "$HOME/.cache)");
ABSL_FLAG(std::string, model, "synthetic:seed",
          "a Hugging Face folder, a .gguf file, or synthetic:NAME");
ABSL_FLAG(std::string, axes, ulpscope::kDefaultAxes,
          "factors of the sweep: SELECTOR=STRATEGY,...;...");
ABSL_FLAG(std::string, metric, "rmse", "what plans are ranked by");
ABSL_FLAG(std::string, token, "",
          "the token that is run alone at position 0, and that starts a prompt "
          "made from --seed (default 9707; a smaller vocabulary's last, or a "
          "synthetic model's planted one)");
ABSL_FLAG(std::string, tokens, "32",
          "the prompt: a number of tokens, drawn with --seed, or their ids "
          "separated by commas (a single id with a comma after it). With "
          "--diagnose, ids, and only needed if the trace has none");
ABSL_FLAG(std::string, seed, "1", "seed of the prompt's tokens");
ABSL_FLAG(std::string, layers, "",
          "layers to print, such as 1-4,22-24 (default all); the report files "
          "have all of them");
ABSL_FLAG(std::string, threads, "",
          "number of threads (default: one per CPU that this process may use)");
ABSL_FLAG(std::string, timing_seconds, "60",
          "time for rounds of timing; at least two rounds are made. With "
          "--tune, for all kernels together; each gets a few rounds");
ABSL_FLAG(std::string, memory, "50%",
          "what plans that are measured together may take beside the weights: "
          "bytes, with K, M or G for 2^10, 2^20 or 2^30 of them, or a share of "
          "the memory that this process may use. With less the weights are "
          "read more often; "
          "a plan alone is measured whatever it takes. --diagnose also holds "
          "its copies of rounded weights to it");
ABSL_FLAG(std::string, out, "",
          "folder for report.md, results.json and results.csv");

namespace ulpscope {
namespace {

// `bazel run` starts the program elsewhere; paths are the caller's.
std::string CallersPath(const std::string& path) {
  const char* folder = std::getenv("BUILD_WORKING_DIRECTORY");
  if (folder == nullptr || path.empty() ||
      absl::StartsWith(path, "synthetic:")) {
    return path;
  }
  return (std::filesystem::path(folder) / path).string();
}

absl::Status DoesNothing(absl::string_view flag, absl::string_view mode) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " does nothing with --", mode));
}

// Flags that are of one mode alone.
struct ModeFlag {
  Mode mode;
  const char* mode_flag;
  const char* flag;
};
constexpr ModeFlag kModeFlags[] = {
    {Mode::kAttribute, "attribute", "on"},
    {Mode::kAttribute, "attribute", "budget"},
    {Mode::kDiagnose, "diagnose", "reference"},
    {Mode::kDiagnose, "diagnose", "mapping"},
    {Mode::kDumpTrace, "dump_trace", "last_state"},
};

// A flag that the mode would ignore is an error.
absl::Status CheckModeTakes(const Settings& settings,
                            const std::set<std::string>& given) {
  std::vector<const char*> ignored;
  const char* mode = "";
  if (settings.mode == Mode::kGenerate) {
    mode = "generate";
    ignored = {"axes", "layers", "memory", "metric", "out", "timing_seconds"};
  } else if (settings.mode == Mode::kTune) {
    mode = "tune";
    ignored = {"layers", "memory", "metric", "out", "seed", "token"};
  } else if (settings.mode == Mode::kDiagnose) {
    mode = "diagnose";
    ignored = {"axes", "metric", "seed", "timing_seconds"};
  } else if (settings.mode == Mode::kDumpTrace) {
    mode = "dump_trace";
    ignored = {"axes", "layers", "memory", "metric", "out", "timing_seconds"};
  }
  for (const char* name : ignored) {
    if (given.count(name) > 0) return DoesNothing(name, mode);
  }
  for (const ModeFlag& of_mode : kModeFlags) {
    if (settings.mode != of_mode.mode && given.count(of_mode.flag) > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", of_mode.flag, " does nothing without --", of_mode.mode_flag));
    }
  }
  // Every mode but that of the axes, and repairs, which choose from them.
  if (!settings.of_axes && settings.mode != Mode::kAttribute &&
      given.count("axes") > 0) {
    return DoesNothing("axes", "plan");
  }
  if (settings.mode == Mode::kDiagnose && given.count("token") > 0 &&
      given.count("tokens") > 0) {
    return DoesNothing("token", "tokens");
  }
  return absl::OkStatus();
}

// The prompt, and the token that is run alone.
absl::Status ReadTokens(const Settings& settings, const Checkpoint& checkpoint,
                        ModelSettings& model) {
  const ModelConfig& config = checkpoint.config;
  const std::string token = absl::GetFlag(FLAGS_token);
  const std::string tokens = absl::GetFlag(FLAGS_tokens);
  if (settings.mode == Mode::kDiagnose) {
    if (!settings.has_tokens) return absl::OkStatus();
    auto of_trace = TokensOfTrace(tokens, token, config);
    if (!of_trace.ok()) return of_trace.status();
    model.sweep.prompt = *std::move(of_trace);
    return absl::OkStatus();
  }
  const auto first = FirstToken(token, checkpoint);
  if (!first.ok()) return first.status();
  model.sweep.token = *first;
  auto prompt = PromptTokens(tokens, config, *first, settings.seed);
  if (!prompt.ok()) return prompt.status();
  model.sweep.prompt = *std::move(prompt);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Settings> ParseSettings(const std::set<std::string>& given) {
  Settings settings;
  settings.plan = absl::GetFlag(FLAGS_plan);
  const bool plan = !settings.plan.empty();
  const std::string count = absl::GetFlag(FLAGS_generate);
  const bool generate = !count.empty();
  if (generate &&
      (!absl::SimpleAtoi(count, &settings.generate_count) ||
       settings.generate_count < 1 || settings.generate_count > (1 << 20))) {
    return BadFlag("generate", count, "a number of tokens from 1 to 2^20");
  }
  const bool sweep = absl::GetFlag(FLAGS_sweep);
  const bool tune = absl::GetFlag(FLAGS_tune);
  const bool attribute = absl::GetFlag(FLAGS_attribute);
  const bool diagnose = absl::GetFlag(FLAGS_diagnose);
  settings.dump_trace = CallersPath(absl::GetFlag(FLAGS_dump_trace));
  const bool dump = !settings.dump_trace.empty();
  // All but --sweep may have a --plan, which alone is a mode too. --tune and
  // --attribute without one are of a sweep's plans.
  const int modes = sweep + generate + tune + attribute + diagnose + dump;
  if (modes > 1 || (modes == 0 && !plan) || (sweep && plan)) {
    return absl::InvalidArgumentError(
        "expected one of --sweep, --plan and --generate, or one of "
        "--attribute, --diagnose, --dump_trace and --tune with or without a "
        "--plan (--help explains)");
  }
  settings.mode = generate    ? Mode::kGenerate
                  : tune      ? Mode::kTune
                  : attribute ? Mode::kAttribute
                  : diagnose  ? Mode::kDiagnose
                  : dump      ? Mode::kDumpTrace
                              : Mode::kSweep;
  settings.of_axes = sweep || ((tune || attribute) && !plan);
  settings.retune = absl::GetFlag(FLAGS_retune);
  if (settings.retune && !tune) {
    return absl::InvalidArgumentError("--retune does nothing without --tune");
  }
  const absl::Status taken = CheckModeTakes(settings, given);
  if (!taken.ok()) return taken;
  settings.model = CallersPath(absl::GetFlag(FLAGS_model));
  settings.wisdom = absl::GetFlag(FLAGS_wisdom);
  if (settings.wisdom != "none") {
    settings.wisdom = CallersPath(settings.wisdom);
  }
  settings.out = CallersPath(absl::GetFlag(FLAGS_out));
  settings.reference = CallersPath(absl::GetFlag(FLAGS_reference));
  settings.mapping = CallersPath(absl::GetFlag(FLAGS_mapping));
  if (diagnose && settings.reference.empty()) {
    return BadFlag("reference", "", "a trace for --diagnose");
  }
  settings.has_tokens = given.count("token") + given.count("tokens") > 0;
  if (!absl::SimpleAtoi(absl::GetFlag(FLAGS_seed), &settings.seed)) {
    return BadFlag("seed", absl::GetFlag(FLAGS_seed), "a number");
  }
  const std::string threads = absl::GetFlag(FLAGS_threads);
  settings.threads = AvailableCpus();
  if (!threads.empty() && (!absl::SimpleAtoi(threads, &settings.threads) ||
                           settings.threads < 1 || settings.threads > 1024)) {
    return BadFlag("threads", threads, "a number from 1 to 1024");
  }
  const std::string seconds = absl::GetFlag(FLAGS_timing_seconds);
  if (!absl::SimpleAtod(seconds, &settings.timing_seconds) ||
      !(settings.timing_seconds >= 0)) {
    return BadFlag("timing_seconds", seconds, "a number of seconds");
  }
  const auto budget = ParseBudget(absl::GetFlag(FLAGS_budget));
  if (!budget.ok()) return budget.status();
  settings.budget = *budget;
  const std::string on = absl::GetFlag(FLAGS_on);
  if (on != "token" && on != "prompt") {
    return BadFlag("on", on, "token or prompt");
  }
  settings.on_prompt = on == "prompt";
  const std::string last_state = absl::GetFlag(FLAGS_last_state);
  if (last_state != "normed" && last_state != "raw") {
    return BadFlag("last_state", last_state, "normed or raw");
  }
  settings.last_state_is_normed = last_state == "normed";
  const auto memory =
      ParseMemory(absl::GetFlag(FLAGS_memory), AvailableMemory());
  if (!memory.ok()) return memory.status();
  settings.memory = *memory;
  const std::string metric = absl::GetFlag(FLAGS_metric);
  std::vector<absl::string_view> names;
  for (const RankMetric& candidate : RankMetrics()) {
    names.push_back(candidate.name);
    if (metric == candidate.name) settings.metric = &candidate;
  }
  if (settings.metric == nullptr) {
    return BadFlag("metric", metric,
                   absl::StrCat("one of ", absl::StrJoin(names, ", ")));
  }
  return settings;
}

absl::StatusOr<ModelSettings> ParseModelSettings(const Settings& settings,
                                                 const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config;
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);
  ModelSettings model;
  SweepOptions& sweep = model.sweep;
  sweep.metric = settings.metric;
  sweep.timing_seconds = settings.timing_seconds;
  absl::Status read = ReadTokens(settings, checkpoint, model);
  if (!read.ok()) return read;
  auto layers = ParseLayers(absl::GetFlag(FLAGS_layers), num_layers);
  if (!layers.ok()) return layers.status();
  model.layers = *std::move(layers);
  const absl::Status memory = CheckMemory(
      config, sweep.prompt.size() + settings.generate_count,
      settings.mode != Mode::kGenerate && settings.mode != Mode::kTune,
      AvailableMemory());
  if (!memory.ok()) return memory;
  // The last token that is generated is not run.
  const size_t generated = std::max<size_t>(settings.generate_count, 1) - 1;
  const size_t length = sweep.prompt.size() + generated;
  if (config.max_position_embeddings > 0 &&
      length > static_cast<size_t>(config.max_position_embeddings)) {
    model.warning = absl::StrFormat(
        "the prompt of %d tokens%s is longer than the model's %d positions",
        sweep.prompt.size(),
        generated == 0 ? ""
                       : absl::StrFormat(" and %d generated ones", generated),
        config.max_position_embeddings);
  }
  auto plan =
      Plan::Parse(settings.plan.empty() ? "f32" : settings.plan, num_layers);
  if (!plan.ok()) return plan.status();
  model.plan = *std::move(plan);
  auto axes = ParseAxes(absl::GetFlag(FLAGS_axes), num_layers);
  if (!axes.ok()) return axes.status();
  model.axes_of_repairs = *axes;
  if (settings.of_axes) {
    model.axes = absl::GetFlag(FLAGS_axes);
    sweep.axes = *std::move(axes);
  } else {
    sweep.plans = {settings.plan};
  }
  return model;
}

}  // namespace ulpscope
