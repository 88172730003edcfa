#include "explorer/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/axes.h"
#include "explorer/budget.h"
#include "explorer/command_line.h"
#include "explorer/ranking.h"
#include "explorer/sweep.h"
#include "kernels/measure/random.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/plan.h"
#include "model/synthetic.h"

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
          "separated by commas (a single id with a comma after it)");
ABSL_FLAG(std::string, seed, "1", "seed of the prompt's tokens");
ABSL_FLAG(std::string, layers, "",
          "layers to print, such as 1-4,22-24 (default all); the report files "
          "have all of them");
ABSL_FLAG(std::string, threads, "", "number of threads (default: one per CPU)");
ABSL_FLAG(std::string, timing_seconds, "60",
          "time for rounds of timing; at least two rounds are made. With "
          "--tune, for all kernels together; each gets a few rounds");
ABSL_FLAG(std::string, memory, "50%",
          "what plans that are measured together may take beside the weights: "
          "bytes, with K, M or G for 2^10, 2^20 or 2^30 of them, or a share of "
          "this machine's memory. With less the weights are read more often; "
          "a plan alone is measured whatever it takes");
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

// "1-4,22" -> {1, 2, 3, 4, 22}.
absl::StatusOr<std::set<size_t>> ParseLayers(const std::string& text,
                                             size_t num_layers) {
  std::set<size_t> layers;
  for (absl::string_view range : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(range, '-');
    size_t first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first < 1 || first > last ||
        last > num_layers) {
      return BadFlag(
          "layers", text,
          absl::StrCat("layers or ranges of them within 1-", num_layers));
    }
    for (size_t layer = first; layer <= last; ++layer) layers.insert(layer);
  }
  return layers;
}

absl::Status DoesNothing(absl::string_view flag, absl::string_view mode) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " does nothing with --", mode));
}

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
  }
  for (const char* name : ignored) {
    if (given.count(name) > 0) return DoesNothing(name, mode);
  }
  for (const char* name : {"on", "budget"}) {
    if (settings.mode != Mode::kAttribute && given.count(name) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " does nothing without --attribute"));
    }
  }
  // Every mode but that of the axes, and repairs, which choose from them.
  if (!settings.of_axes && settings.mode != Mode::kAttribute &&
      given.count("axes") > 0) {
    return DoesNothing("axes", "plan");
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> ParseToken(const std::string& text,
                                   const ModelConfig& config,
                                   absl::string_view flag) {
  int32_t token = 0;
  if (!absl::SimpleAtoi(text, &token) || token < 0 ||
      token >= config.vocab_size) {
    return BadFlag(flag, text,
                   absl::StrCat("token ids from 0 to ", config.vocab_size - 1));
  }
  return token;
}

absl::StatusOr<int32_t> FirstToken(const Checkpoint& checkpoint) {
  constexpr int64_t kSeedReportToken = 9707;
  const std::string text = absl::GetFlag(FLAGS_token);
  if (!text.empty()) return ParseToken(text, checkpoint.config, "token");
  absl::string_view synthetic = checkpoint.name;
  if (absl::ConsumePrefix(&synthetic, "synthetic:")) {
    const auto planted = SyntheticMassiveActivation(synthetic);
    if (planted.ok()) return planted->tokens.front();
  }
  return static_cast<int32_t>(
      std::min(kSeedReportToken, checkpoint.config.vocab_size - 1));
}

absl::StatusOr<std::vector<int32_t>> PromptTokens(const ModelConfig& config,
                                                  int32_t first,
                                                  uint64_t seed) {
  const std::string text = absl::GetFlag(FLAGS_tokens);
  std::vector<int32_t> prompt;
  if (absl::StrContains(text, ',')) {
    for (absl::string_view id :
         absl::StrSplit(absl::StripSuffix(text, ","), ',')) {
      const auto token = ParseToken(std::string(id), config, "tokens");
      if (!token.ok()) return token.status();
      prompt.push_back(*token);
    }
    return prompt;
  }
  size_t count = 0;
  if (!absl::SimpleAtoi(text, &count) || count < 1 || count > (1 << 20)) {
    return BadFlag("tokens", text,
                   "a number from 1 to 2^20, or ids and commas");
  }
  prompt.push_back(first);
  Random random(seed);
  while (prompt.size() < count) {
    prompt.push_back(static_cast<int32_t>(
        random.Below(static_cast<uint64_t>(config.vocab_size))));
  }
  return prompt;
}

// Of this machine, in bytes.
double PhysicalMemory() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<double>(sysconf(_SC_PAGESIZE));
}

// "50%", "8G", "1.5M", "4096".
absl::StatusOr<size_t> ParseMemory(const std::string& text) {
  absl::string_view number = text;
  double unit = 1;
  if (absl::ConsumeSuffix(&number, "%")) {
    unit = PhysicalMemory() / 100;
  } else if (absl::ConsumeSuffix(&number, "K")) {
    unit = 0x1p10;
  } else if (absl::ConsumeSuffix(&number, "M")) {
    unit = 0x1p20;
  } else if (absl::ConsumeSuffix(&number, "G")) {
    unit = 0x1p30;
  }
  const bool is_share = absl::EndsWith(text, "%");
  double value = 0;
  // A number and nothing else: no spaces, no "inf".
  const bool is_number =
      number.find_first_not_of("0123456789.") == absl::string_view::npos &&
      absl::SimpleAtod(number, &value);
  const double bytes = value * unit;
  if (!is_number || (is_share && value > 100) ||
      !(bytes >= 1 && bytes < 0x1p63)) {
    return BadFlag("memory", text,
                   "bytes, such as 4096, 512M or 1.5G, or a share of this "
                   "machine's memory up to 100%");
  }
  return static_cast<size_t>(bytes);
}

// What a sequence of tokens takes at least, beside the weights: keys and
// values, and where errors are measured the logits of all positions, in f64, of
// the oracle and of one plan.
absl::Status CheckMemory(const ModelConfig& config, size_t tokens,
                         bool all_logits) {
  // A key and a value in f32 are as large as one f64.
  double values = static_cast<double>(config.num_hidden_layers) *
                  static_cast<double>(config.kv_size());
  if (all_logits) values += 2.0 * static_cast<double>(config.vocab_size);
  const double bytes = values * static_cast<double>(tokens) * sizeof(double);
  const double memory = PhysicalMemory();
  if (bytes <= memory) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "--tokens: %d tokens need more than %.0f GB of this machine's %.0f GB",
      tokens, bytes / 1e9, memory / 1e9));
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
  // --tune and --attribute alone are of a sweep's plans.
  const int modes = (sweep ? 1 : 0) + (generate || plan ? 1 : 0);
  if (tune || attribute ? sweep || generate || (tune && attribute)
                        : modes != 1) {
    return absl::InvalidArgumentError(
        "expected one of --sweep, --plan and --generate, or one of --attribute "
        "and --tune with or without a --plan (--help explains)");
  }
  settings.mode = generate    ? Mode::kGenerate
                  : tune      ? Mode::kTune
                  : attribute ? Mode::kAttribute
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
  if (!absl::SimpleAtoi(absl::GetFlag(FLAGS_seed), &settings.seed)) {
    return BadFlag("seed", absl::GetFlag(FLAGS_seed), "a number");
  }
  const std::string threads = absl::GetFlag(FLAGS_threads);
  settings.threads = std::max(1u, std::thread::hardware_concurrency());
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
  const auto memory = ParseMemory(absl::GetFlag(FLAGS_memory));
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
  sweep.memory = settings.memory;
  const auto token = FirstToken(checkpoint);
  if (!token.ok()) return token.status();
  sweep.token = *token;
  auto prompt = PromptTokens(config, *token, settings.seed);
  if (!prompt.ok()) return prompt.status();
  sweep.prompt = *std::move(prompt);
  auto layers = ParseLayers(absl::GetFlag(FLAGS_layers), num_layers);
  if (!layers.ok()) return layers.status();
  model.layers = *std::move(layers);
  const absl::Status memory = CheckMemory(
      config, sweep.prompt.size() + settings.generate_count,
      settings.mode == Mode::kSweep || settings.mode == Mode::kAttribute);
  if (!memory.ok()) return memory;
  const int64_t length = static_cast<int64_t>(sweep.prompt.size());
  if (config.max_position_embeddings > 0 &&
      length > config.max_position_embeddings) {
    model.warning = absl::StrFormat(
        "the prompt of %d tokens is longer than the model's %d positions",
        length, config.max_position_embeddings);
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
