// The program: reads flags, runs one mode, prints and writes its report.

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
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
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/command_line.h"
#include "explorer/progress.h"
#include "explorer/report.h"
#include "explorer/sweep.h"
#include "explorer/tune.h"
#include "kernels/cpu.h"
#include "kernels/measure/random.h"
#include "kernels/parallel.h"
#include "kernels/tuning.h"
#include "kernels/wisdom.h"
#include "model/checkpoint.h"
#include "model/generate.h"
#include "model/plan.h"
#include "model/synthetic.h"
#include "model/weights.h"

// Values are strings, read here rather than by Abseil, which exits with 1 on
// one that it cannot read: bad usage is 2.
ABSL_FLAG(bool, sweep, false,
          "evaluate every combination of --axes and rank the plans by speed "
          "and error");
ABSL_FLAG(std::string, plan, "",
          "evaluate this plan alone: a preset, or entries "
          "SELECTOR[@LAYER[-LAYER]]=STRATEGY separated by commas, of which "
          "later ones win; what none selects is f32");
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
ABSL_FLAG(std::string, out, "",
          "folder for report.md, results.json and results.csv");

namespace ulpscope {
namespace {

enum ExitCode { kDone = 0, kFailed = 1, kBadUsage = 2 };

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

// Flags that do not depend on the model.
struct Settings {
  bool generate = false;
  bool tune = false;
  size_t generate_count = 0;
  uint64_t seed = 0;
  size_t threads = 0;
  double timing_seconds = 0;
  const RankMetric* metric = nullptr;
};

// A flag that the mode would ignore is an error.
absl::Status CheckModeTakes(const std::set<std::string>& given,
                            absl::string_view mode,
                            std::initializer_list<const char*> ignored) {
  for (const char* name : ignored) {
    if (given.count(name) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " does nothing with --", mode));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Settings> ParseSettings(const std::set<std::string>& given) {
  Settings settings;
  const std::string generate = absl::GetFlag(FLAGS_generate);
  settings.generate = !generate.empty();
  if (settings.generate &&
      (!absl::SimpleAtoi(generate, &settings.generate_count) ||
       settings.generate_count < 1 || settings.generate_count > (1 << 20))) {
    return BadFlag("generate", generate, "a number of tokens from 1 to 2^20");
  }
  const bool plan = !absl::GetFlag(FLAGS_plan).empty();
  settings.tune = absl::GetFlag(FLAGS_tune);
  // --tune alone tunes for a sweep.
  const int modes = (absl::GetFlag(FLAGS_sweep) ? 1 : 0) +
                    (settings.generate || plan ? 1 : 0);
  if (settings.tune ? absl::GetFlag(FLAGS_sweep) || settings.generate
                    : modes != 1) {
    return absl::InvalidArgumentError(
        "expected one of --sweep, --plan and --generate, or --tune with or "
        "without a --plan (--help explains)");
  }
  if (absl::GetFlag(FLAGS_retune) && !settings.tune) {
    return absl::InvalidArgumentError("--retune does nothing without --tune");
  }
  absl::Status taken;
  if (settings.generate) {
    taken =
        CheckModeTakes(given, "generate",
                       {"axes", "layers", "metric", "out", "timing_seconds"});
  } else if (settings.tune) {
    taken = CheckModeTakes(given, "tune",
                           {"layers", "metric", "out", "seed", "token"});
  }
  if (taken.ok() && plan && !settings.generate) {
    taken = CheckModeTakes(given, "plan", {"axes"});
  }
  if (!taken.ok()) return taken;
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

// What a sequence of tokens takes at least, beside the weights: keys and
// values, and where errors are measured the logits of all positions, in f64, of
// the oracle's trace, a plan's trace and the plan's decoder.
absl::Status CheckMemory(const ModelConfig& config, size_t tokens,
                         bool all_logits) {
  // A key and a value in f32 are as large as one f64.
  double values = static_cast<double>(config.num_hidden_layers) *
                  static_cast<double>(config.kv_size());
  if (all_logits) values += 3.0 * static_cast<double>(config.vocab_size);
  const double bytes = values * static_cast<double>(tokens) * sizeof(double);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes <= memory) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "--tokens: %d tokens need more than %.0f GB of this machine's %.0f GB",
      tokens, bytes / 1e9, memory / 1e9));
}

// `bazel run` starts the program elsewhere; paths are the caller's.
std::string CallersPath(const std::string& path) {
  const char* folder = std::getenv("BUILD_WORKING_DIRECTORY");
  if (folder == nullptr || path.empty() ||
      absl::StartsWith(path, "synthetic:")) {
    return path;
  }
  return (std::filesystem::path(folder) / path).string();
}

ExitCode Fail(const absl::Status& status, ExitCode code) {
  absl::FPrintF(stderr, "explorer: %s\n", status.message());
  return code;
}

// To stdout, which may be a full disk.
ExitCode Print(absl::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    return Fail(absl::UnavailableError("stdout: cannot write"), kFailed);
  }
  return kDone;
}

int Generate(const Settings& settings, const Weights& weights, const Plan& plan,
             const std::vector<int32_t>& prompt, Parallel& parallel) {
  const Parallel::Awake awake(parallel);
  const auto tokens = GenerateGreedily(weights, plan, prompt,
                                       settings.generate_count, parallel);
  if (!tokens.ok()) return Fail(tokens.status(), kFailed);
  return Print(absl::StrJoin(*tokens, ",") + "\n");
}

int Sweep(const RunInfo& info, const SweepOptions& options,
          const Weights& weights, Parallel& parallel) {
  // A folder that cannot be made is found out before the work, not after it.
  const std::string out = CallersPath(absl::GetFlag(FLAGS_out));
  if (!out.empty()) {
    const absl::Status status = MakeFolder(out);
    if (!status.ok()) return Fail(status, kFailed);
  }
  const auto result = RunSweep(weights, options, parallel);
  if (!result.ok()) return Fail(result.status(), kFailed);

  const std::string text = ReportText(info, options, *result);
  const ExitCode printed = Print(text);
  if (printed != kDone || out.empty()) return printed;
  for (const auto& [name, content] :
       {std::make_pair("report.md", text),
        std::make_pair("results.json", ReportJson(info, options, *result)),
        std::make_pair("results.csv", ReportCsv(info, options, *result))}) {
    const absl::Status status =
        WriteFile(absl::StrCat(out, "/", name), content);
    if (!status.ok()) return Fail(status, kFailed);
  }
  absl::FPrintF(stderr, "wrote %s/report.md, results.json, results.csv\n", out);
  return kDone;
}

// What --wisdom says. Anything wrong with the file is reported, and the file
// ignored.
struct LoadedWisdom {
  std::string path;  // empty for none
  Wisdom wisdom;
  const Tunings* tunings = nullptr;  // this machine's; null if not known
  std::string reason;                // why not
  bool damaged = false;              // there is a file, but no wisdom in it
};

void LoadWisdom(size_t threads, LoadedWisdom& loaded) {
  const std::string flag = absl::GetFlag(FLAGS_wisdom);
  if (flag == "none") {
    loaded.reason = "--wisdom=none";
    return;
  }
  loaded.path = flag.empty() ? DefaultWisdomPath() : CallersPath(flag);
  if (loaded.path.empty()) {
    loaded.reason = "no --wisdom, and neither XDG_CACHE_HOME nor HOME is set";
    return;
  }
  auto wisdom = Wisdom::Load(loaded.path);
  if (!wisdom.ok()) {
    loaded.reason = std::string(wisdom.status().message());
    loaded.damaged = absl::IsDataLoss(wisdom.status());
    absl::FPrintF(stderr, "explorer: warning: wisdom is ignored: %s\n",
                  loaded.reason);
    return;
  }
  loaded.wisdom = *std::move(wisdom);
  const Machine machine = Machine::This(threads);
  loaded.tunings = loaded.wisdom.Find(machine);
  if (loaded.tunings != nullptr) return;
  if (loaded.wisdom.num_machines() == 0) {
    loaded.reason =
        absl::StrCat(loaded.path, " does not exist (--tune makes it)");
    return;
  }
  loaded.reason = absl::StrFormat(
      "%s knows other machines, thread counts or kernel versions, but not %s, "
      "%s, %d threads, version %d",
      loaded.path, machine.cpu, machine.target, machine.threads,
      machine.kernel_version);
  absl::FPrintF(stderr, "explorer: warning: wisdom is ignored: %s\n",
                loaded.reason);
}

WisdomUse UseOf(const LoadedWisdom& loaded,
                const std::vector<TunableMatMul>& matmuls) {
  WisdomUse use;
  use.file = loaded.path;
  use.timed = matmuls.size();
  use.reason = loaded.reason;
  if (loaded.tunings == nullptr) return use;
  use.known = CountKnown(matmuls, *loaded.tunings);
  if (use.known == 0) {
    use.reason = absl::StrCat(loaded.path, " knows none of these MatMuls");
  }
  return use;
}

int Tune(const Settings& settings, const RunInfo& info,
         std::vector<TunableMatMul> matmuls, LoadedWisdom& loaded,
         Parallel& parallel) {
  if (!absl::GetFlag(FLAGS_retune) && loaded.tunings != nullptr) {
    const size_t before = matmuls.size();
    const Tunings& tunings = *loaded.tunings;
    matmuls.erase(std::remove_if(matmuls.begin(), matmuls.end(),
                                 [&tunings](const TunableMatMul& matmul) {
                                   return tunings.known().count(matmul.key) > 0;
                                 }),
                  matmuls.end());
    absl::FPrintF(stderr,
                  "%d of %d kinds of MatMul are already tuned in %s (--retune "
                  "would tune them again)\n",
                  before - matmuls.size(), before, loaded.path);
  }
  if (matmuls.empty()) return kDone;
  absl::FPrintF(stderr,
                "tuning %d kinds of MatMul for about %.0f s on %d threads; "
                "%s\n",
                matmuls.size(), settings.timing_seconds, settings.threads,
                loaded.path.empty()
                    ? absl::StrCat("the result is not kept: ", loaded.reason)
                    : absl::StrCat("kept in ", loaded.path));
  if (loaded.damaged) {
    absl::FPrintF(stderr, "what is in %s so far is kept in %s.bad\n",
                  loaded.path, loaded.path);
  }
  TuneOptions options;
  options.seconds = settings.timing_seconds;
  options.model_bytes = info.decode_bytes;
  options.wisdom_path = loaded.path;
  const auto tuned = RunTune(matmuls, options, loaded.wisdom, parallel);
  if (!tuned.ok()) return Fail(tuned.status(), kFailed);
  return Print(TuneText(info, *tuned));
}

int Run(const std::set<std::string>& given) {
  const auto settings = ParseSettings(given);
  if (!settings.ok()) return Fail(settings.status(), kBadUsage);
  const absl::Status cpu = CheckCpu();
  if (!cpu.ok()) return Fail(cpu, kFailed);

  const std::string model = CallersPath(absl::GetFlag(FLAGS_model));
  auto checkpoint = OpenCheckpoint(model);
  if (!checkpoint.ok()) return Fail(checkpoint.status(), kFailed);
  const ModelConfig& config = checkpoint->config;
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);

  // Everything that can be wrong with a flag, before the weights are loaded.
  SweepOptions options;
  options.metric = settings->metric;
  options.timing_seconds = settings->timing_seconds;
  const auto first = FirstToken(*checkpoint);
  if (!first.ok()) return Fail(first.status(), kBadUsage);
  options.token = *first;
  auto prompt = PromptTokens(config, *first, settings->seed);
  if (!prompt.ok()) return Fail(prompt.status(), kBadUsage);
  options.prompt = *std::move(prompt);
  RunInfo info;
  auto layers = ParseLayers(absl::GetFlag(FLAGS_layers), num_layers);
  if (!layers.ok()) return Fail(layers.status(), kBadUsage);
  info.layers = *std::move(layers);
  const absl::Status memory =
      CheckMemory(config, options.prompt.size() + settings->generate_count,
                  !settings->generate);
  if (!memory.ok()) return Fail(memory, kBadUsage);
  const int64_t length = static_cast<int64_t>(options.prompt.size());
  if (config.max_position_embeddings > 0 &&
      length > config.max_position_embeddings) {
    absl::FPrintF(stderr,
                  "explorer: warning: the prompt of %d tokens is longer than "
                  "the model's %d positions\n",
                  length, config.max_position_embeddings);
  }
  const std::string plan_text = absl::GetFlag(FLAGS_plan);
  const auto plan =
      Plan::Parse(plan_text.empty() ? "f32" : plan_text, num_layers);
  if (!plan.ok()) return Fail(plan.status(), kBadUsage);
  if (absl::GetFlag(FLAGS_sweep) || (settings->tune && plan_text.empty())) {
    info.axes = absl::GetFlag(FLAGS_axes);
    auto axes = ParseAxes(info.axes, num_layers);
    if (!axes.ok()) return Fail(axes.status(), kBadUsage);
    options.axes = *std::move(axes);
  } else {
    options.plans = {plan_text};
  }

  LoadedWisdom wisdom;  // outlives the Parallel
  LoadWisdom(settings->threads, wisdom);
  Parallel parallel(settings->threads);
  parallel.set_tunings(wisdom.tunings);
  const absl::Time start = absl::Now();
  absl::StatusOr<Weights> weights;
  {
    Progress progress(absl::StrCat("loading ", model), 1);
    weights = LoadWeights(*checkpoint, parallel,
                          [&progress](size_t done, size_t total) {
                            progress.SetTotal(total);
                            progress.Update(done, "tensors");
                          });
    if (weights.ok()) progress.Finish();
  }
  if (!weights.ok()) return Fail(weights.status(), kFailed);
  if (settings->generate) {
    return Generate(*settings, *weights, *plan, options.prompt, parallel);
  }
  info.model = model;
  info.synthetic = checkpoint->synthetic;
  info.config = config;
  info.decode_bytes = weights->DecodeBytes();
  info.load_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  info.cpu = CpuName();
  info.target = KernelTarget();
  info.threads = settings->threads;
  info.seed = settings->seed;
  const auto plans = PlansOf(options, num_layers);
  if (!plans.ok()) return Fail(plans.status(), kFailed);
  std::vector<TunableMatMul> matmuls =
      MatMulsOf(*weights, *plans, options.prompt.size());
  if (settings->tune) {
    *weights = Weights();  // only their shapes are needed
    return Tune(*settings, info, std::move(matmuls), wisdom, parallel);
  }
  info.wisdom = UseOf(wisdom, matmuls);
  return Sweep(info, options, *weights, parallel);
}

int Main(int argc, char** argv) {
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
  return Run(*given);
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) { return ulpscope::Main(argc, argv); }
