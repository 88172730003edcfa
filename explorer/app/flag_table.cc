#include "explorer/app/flag_table.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/settings.h"
#include "explorer/app/shard_flag.h"
#include "explorer/error/budget.h"
#include "explorer/report/report_files.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "kernels/base/machine_limits.h"
#include "model/trace/built_in_mappings.h"

namespace ulpscope {
namespace {

using Text = absl::string_view;

template <std::string Settings::*field>
bool ReadText(Text text, Settings& settings) {
  settings.*field = std::string(text);
  return true;
}

template <std::string Settings::*field>
bool ReadPath(Text text, Settings& settings) {
  settings.*field = CallersPath(text);
  return true;
}

// A path, or the name of a mapping that is built in.
template <std::string Settings::*field>
bool ReadMapping(Text text, Settings& settings) {
  return BuiltInMapping(text).empty() ? ReadPath<field>(text, settings)
                                      : ReadText<field>(text, settings);
}

template <std::optional<size_t> Settings::*field>
bool ReadRow(Text text, Settings& settings) {
  settings.*field = std::nullopt;
  size_t row = 0;
  if (text.empty()) return true;
  if (!absl::SimpleAtoi(text, &row)) return false;
  settings.*field = row;
  return true;
}

template <bool Settings::*field>
bool ReadSwitch(Text text, Settings& settings) {
  return absl::SimpleAtob(text, &(settings.*field));
}

void Choose(Mode mode, bool chosen, Settings& settings) {
  settings.chosen &= ~ModeBit(mode);
  if (chosen) settings.chosen |= ModeBit(mode);
}

template <Mode mode>
bool ReadMode(Text text, Settings& settings) {
  bool chosen = false;
  if (!absl::SimpleAtob(text, &chosen)) return false;
  Choose(mode, chosen, settings);
  return true;
}

// A path that --compare is about, or that makes it the mode.
template <std::string Settings::*field>
bool ReadCompared(Text text, Settings& settings) {
  if (!text.empty()) Choose(Mode::kCompare, true, settings);
  return ReadPath<field>(text, settings);
}

bool ReadCount(Text text, size_t most, size_t& count) {
  return absl::SimpleAtoi(text, &count) && count >= 1 && count <= most;
}

// Empty is 0.
bool ReadOptional(Text text, size_t least, size_t& count) {
  count = 0;
  return text.empty() || (ReadCount(text, 1 << 20, count) && count >= least);
}

bool ReadMetric(Text text, Settings& settings) {
  for (const RankMetric& metric : RankMetrics()) {
    if (text != metric.name) continue;
    settings.metric = &metric;
    return true;
  }
  return false;
}

constexpr unsigned kAll = (1u << kNumModes) - 1;
constexpr unsigned kSweep = ModeBit(Mode::kSweep), kPlan = ModeBit(Mode::kPlan),
                   kGenerate = ModeBit(Mode::kGenerate),
                   kAttribute = ModeBit(Mode::kAttribute),
                   kDiagnose = ModeBit(Mode::kDiagnose),
                   kDump = ModeBit(Mode::kDumpTrace),
                   kTune = ModeBit(Mode::kTune),
                   kCompare = ModeBit(Mode::kCompare),
                   kMerge = ModeBit(Mode::kMerge);
// Of a model, and those that write a report's files of it.
constexpr unsigned kModels = kAll & ~kCompare & ~kMerge;
constexpr unsigned kReports = kSweep | kPlan | kAttribute | kDiagnose;
constexpr unsigned kPrompts = kModels & ~kDiagnose;
constexpr unsigned kWindows = kSweep | kPlan | kAttribute | kTune;
constexpr char kBool[] = "true or false";

// What -o takes, and the modes that have something for it.
struct PrintedFormat {
  Text name;
  OutputFormat format;
  unsigned modes;
};
constexpr unsigned kPrinting = kReports | kTune | kCompare | kMerge;
constexpr PrintedFormat kFormats[] = {
    {"md", OutputFormat::kMarkdown, kPrinting},
    {"json", OutputFormat::kJson, kPrinting},
    {"csv", OutputFormat::kCsv, kPrinting},
    {"jsonl", OutputFormat::kJsonl, kPrinting},
    {"sql", OutputFormat::kSql, kPrinting},
    {"model-explorer", OutputFormat::kModelExplorer, kReports},
    {"google-benchmark", OutputFormat::kGoogleBenchmark,
     kSweep | kPlan | kTune},
};

constexpr Flag kFlags[] = {
    {"sweep", "false", kSweep, kBool, &ReadMode<Mode::kSweep>,
     "evaluate every combination of --axes and rank the plans by speed and "
     "error",
     true},
    {"plan", "", kModels & ~kSweep, "a plan",
     [](Text text, Settings& s) {
       Choose(Mode::kPlan, !text.empty(), s);
       return ReadText<&Settings::plan>(text, s);
     },
     "evaluate this plan alone: a preset, or entries "
     "SELECTOR[@LAYER[-LAYER]]=STRATEGY separated by commas, of which later "
     "ones win; what none selects is f32, and attention=FORM is eager"},
    {"against", "oracle", kSweep | kPlan | kAttribute, "a plan",
     &ReadText<&Settings::against>,
     "the plan that errors are against: the f64 oracle, or another finite "
     "arithmetic, as of the program that yours is compared with"},
    {"attribute", "false", kAttribute, kBool, &ReadMode<Mode::kAttribute>,
     "explain the error of one plan, --plan or the worst of --axes: which op "
     "in which layer it comes from, and the smallest repair",
     true},
    {"diagnose", "false", kDiagnose, kBool, &ReadMode<Mode::kDiagnose>,
     "find out why somebody else's trace of the model, --reference, differs "
     "from --plan (default f32): the comparison, the arithmetic, or a mistake, "
     "and whose",
     true},
    {"dump_trace", "", kDump, "a path",
     [](Text text, Settings& s) {
       Choose(Mode::kDumpTrace, !text.empty(), s);
       return ReadPath<&Settings::dump_trace>(text, s);
     },
     "run --plan (default f32) over --tokens and write its trace to this path: "
     "one file if it ends in .safetensors, else a folder of "
     "after_layer_N.bin"},
    {"generate", "", kGenerate, "a number of tokens from 1 to 2^20",
     [](Text text, Settings& s) {
       Choose(Mode::kGenerate, !text.empty(), s);
       s.generate_count = 0;
       return text.empty() || ReadCount(text, 1 << 20, s.generate_count);
     },
     "print this many greedy next token ids after --tokens, under --plan "
     "(default f32)"},
    {"tune", "false", kTune, kBool, &ReadMode<Mode::kTune>,
     "find the fastest way to divide each MatMul against weights that a "
     "--sweep, or a --plan, with the same flags times, and keep it in "
     "--wisdom; what that knows already is skipped",
     true},
    {"compare", "", kCompare, "a path", &ReadCompared<&Settings::compare>,
     "compare --with with this run, a results.json, a report's folder, a store "
     "or STORE@RUN: errors bit for bit, and speeds by a test if both are of "
     "one "
     "machine"},
    {"gate", "", kCompare, "a path", &ReadCompared<&Settings::gate>,
     "a file of conditions that --with has to keep, lines SELECTOR METRIC OP "
     "LIMIT such as: plan=* rel_l2 <= 1.02 x base; docs/results.md describes "
     "it. Exit code 3: one failed; 4: nothing could be compared"},
    {"with", "", kCompare, "a path", &ReadPath<&Settings::with>,
     "the run that --compare or --gate is about, named alike"},
    {"junit", "", kCompare, "a path", &ReadPath<&Settings::junit>,
     "a file for --gate's outcome as JUnit's XML"},
    {"merge", "", kMerge, "a path",
     [](Text text, Settings& s) {
       if (text.empty()) {
         s.merge.clear();
       } else {
         s.merge.push_back(CallersPath(text));
       }
       Choose(Mode::kMerge, !text.empty(), s);
       return true;
     },
     "put every measurement of this store, or of this one file of a store's "
     "shards, into --store, once; given again, of another one too. Exit code "
     "3: what a strategy fixes has other bits in another record, and both are "
     "kept"},
    {"fail_on", "nothing", kDiagnose, "nothing, implementation or unexplained",
     [](Text text, Settings& s) {
       constexpr Text kNames[] = {"nothing", "implementation", "unexplained"};
       const auto* const found =
           std::find(std::begin(kNames), std::end(kNames), text);
       s.fail_on = static_cast<FailOn>(found - std::begin(kNames));
       return found != std::end(kNames);
     },
     "when --diagnose's exit code is 3: implementation, if a cause is the "
     "trace's program; unexplained, also if nothing explains a difference; 4 "
     "if nothing could be compared"},
    {"retune", "false", kTune, kBool, &ReadSwitch<&Settings::retune>,
     "with --tune: skip nothing", true},
    {"on", "", kAttribute, "token or prompt",
     [](Text text, Settings& s) {
       s.on = std::string(text);
       return text.empty() || text == "token" || text == "prompt";
     },
     "what --attribute runs: token (--token alone) or prompt (default: the "
     "prompt if it is a text, else the token)"},
    {"budget", "rel_l2<=1e-3", kAttribute,
     "METRIC<=NUMBER with rel_l2, logits_rel_l2 or kl",
     [](Text text, Settings& s) {
       const auto budget = ParseBudget(text);
       if (budget.ok()) s.budget = *budget;
       return budget.ok();
     },
     "the error that --attribute's repair has to keep: METRIC<=NUMBER with "
     "rel_l2 (of the final hidden state), logits_rel_l2 or kl"},
    {"reference", "", kDiagnose, "a path", &ReadPath<&Settings::reference>,
     "the trace of --diagnose: a folder of after_layer_N.bin, a .npz file or a "
     "folder of .npy, a .safetensors file or a folder of them; "
     "docs/traces.md lists the names"},
    {"mapping", "", kDiagnose, "a path or llama.cpp",
     &ReadMapping<&Settings::mapping>,
     "a file that says how names of --reference's tensors are those of "
     "transformers, or llama.cpp for the nodes of its graph; docs/traces.md "
     "describes it"},
    {"row", "", kDiagnose, "a number from 0 on", &ReadRow<&Settings::row>,
     "which sequence of --reference is read, if it is of a batch of several"},
    {"against_trace", "", kDiagnose, "a path",
     &ReadPath<&Settings::against_trace>,
     "another trace of the same tokens: --diagnose then says where it and "
     "--reference part, whether what differs is inherited or added there, and "
     "which of the two is nearer to the oracle"},
    {"against_mapping", "", kDiagnose, "a path or llama.cpp",
     &ReadMapping<&Settings::against_mapping>, "--mapping of --against_trace"},
    {"against_row", "", kDiagnose, "a number from 0 on",
     &ReadRow<&Settings::against_row>, "--row of --against_trace"},
    {"last_state", "normed", kDump, "normed or raw",
     [](Text text, Settings& s) {
       s.last_state_is_normed = text == "normed";
       return s.last_state_is_normed || text == "raw";
     },
     "the last hidden state of --dump_trace: normed (after the final norm, as "
     "transformers' output_hidden_states has it) or raw"},
    {"wisdom", "", kModels, "a path",
     [](Text text, Settings& s) {
       return text == "none" ? ReadText<&Settings::wisdom>(text, s)
                             : ReadPath<&Settings::wisdom>(text, s);
     },
     "the file that keeps what --tune found, for all modes; none for no file "
     "(default: ulpscope/wisdom.json in $XDG_CACHE_HOME or $HOME/.cache)"},
    {"model", "synthetic:seed", kModels, "a path", &ReadPath<&Settings::model>,
     "a Hugging Face folder, a .gguf file, or synthetic:NAME"},
    {"model_file", "", kSweep | kPlan, "a path",
     &ReadPath<&Settings::model_file>,
     "a file with a --model a line, each of which is run, one after the other; "
     "with --out, each into a folder of its own in there"},
    {"shard", "", kSweep | kPlan, "I/N with I from 0 to N - 1, or auto/N",
     [](Text text, Settings& s) { return ReadShardFlag(text, s.shard); },
     "measure part I of N of the errors, of which each is in one part, into "
     "--store, and print nothing; auto is the number that Slurm, Kubernetes, "
     "an MPI or Flux has given this process, as docs/cluster.md lists"},
    {"axes", kDefaultAxes, kSweep | kAttribute | kTune, "axes",
     &ReadText<&Settings::axes>,
     "factors of the sweep: SELECTOR=STRATEGY,...;..."},
    {"plan_file", "", kSweep, "a path", &ReadPath<&Settings::plan_file>,
     "a file with a plan a line, which are swept in place of --axes; what "
     "begins with # is a comment"},
    {"metric", "rmse", kSweep | kPlan | kAttribute, "", &ReadMetric,
     "what plans are ranked by"},
    {"token", "", kModels & ~kTune, "a token id", &ReadText<&Settings::token>,
     "the token that is run alone at position 0, and that starts a prompt made "
     "from --seed (default 9707; a smaller vocabulary's last, or a synthetic "
     "model's planted one)"},
    {"tokens", "32", kModels, "tokens", &ReadText<&Settings::tokens>,
     "the prompt: a number of tokens, drawn with --seed, or their ids "
     "separated "
     "by commas (a single id with a comma after it). With --diagnose, ids, and "
     "only needed if the trace has none"},
    {"prompt", "", kPrompts, "a text", &ReadText<&Settings::prompt>,
     "the prompt as text, which the checkpoint's tokenizer reads (default: a "
     "short built-in text if it has one and there is no --tokens)"},
    {"prompt_file", "", kPrompts, "a path", &ReadPath<&Settings::prompt_file>,
     "a file with the prompt's text; or, if it ends in .jsonl, with a prompt a "
     "line: {\"text\": ...} or {\"tokens\": [...]}, and a \"name\""},
    {"chat", "false", kPrompts, kBool, &ReadSwitch<&Settings::chat>,
     "put the text into the checkpoint's chat template, ChatML, as a user's "
     "message",
     true},
    {"window", "", kWindows, "a number of tokens from 2 to 2^20",
     [](Text text, Settings& s) {
       return ReadOptional(text, 2, s.windows.window);
     },
     "cut prompts into windows of so many tokens, each run from position 0 "
     "(default: 512 of a text, else whole prompts)"},
    {"stride", "", kWindows, "a number of tokens from 1 to 2^20",
     [](Text text, Settings& s) {
       return ReadOptional(text, 1, s.windows.stride);
     },
     "tokens from one window's begin to the next; what overlaps is context, "
     "and scored once (default: the window)"},
    {"windows", "", kWindows, "a number from 1 to 2^20",
     [](Text text, Settings& s) {
       return ReadOptional(text, 1, s.windows.most);
     },
     "run so many windows at most (default: all)"},
    {"seeds", "1", kSweep | kPlan, "a number from 1 to 1000",
     [](Text text, Settings& s) { return ReadCount(text, 1000, s.seeds); },
     "run so many prompts of --tokens=COUNT, drawn with --seed and those after "
     "it: their spread says which ranks are distinguishable"},
    {"greedy", "", kSweep | kPlan, "a number of tokens from 1 to 2^20",
     [](Text text, Settings& s) { return ReadOptional(text, 1, s.greedy); },
     "generate so many tokens after the prompt under what errors are against, "
     "and say at which of them each plan would first choose another"},
    {"seed", "1", kSweep | kPlan | kGenerate | kAttribute | kDump, "a number",
     [](Text text, Settings& s) { return absl::SimpleAtoi(text, &s.seed); },
     "seed of the prompt's tokens"},
    {"layers", "", kReports, "layers", &ReadText<&Settings::layers>,
     "layers to print, such as 1-4,22-24 (default all); the report files have "
     "all of them"},
    {"threads", "", kModels, "a number from 1 to 1024",
     [](Text text, Settings& s) {
       s.threads = AvailableCpus();
       return text.empty() || ReadCount(text, 1024, s.threads);
     },
     "number of threads (default: one per CPU that this process may use)"},
    {"timing_seconds", "60", kSweep | kPlan | kAttribute | kTune,
     "a number of seconds",
     [](Text text, Settings& s) {
       return absl::SimpleAtod(text, &s.timing_seconds) &&
              s.timing_seconds >= 0;
     },
     "time for rounds of timing; at least two rounds are made. With --tune, "
     "three quarters are for the search, all kernels together, of which each "
     "gets a few rounds, and the rest for rounds of the model with the tunings "
     "and without, at least five"},
    {"timing", "true", kSweep | kPlan, kBool, &ReadSwitch<&Settings::timing>,
     "time the plans; without, errors are all that is measured", true},
    {"timed_plans", "", kSweep, "a number from 1 to 2^20",
     [](Text text, Settings& s) {
       return ReadOptional(text, 1, s.timed_plans);
     },
     "time so many plans at most: half as many of the smallest errors, and "
     "others at equal distances on the way to the largest (default: all of "
     "--axes, 256 of a --plan_file)"},
    {"memory", "50%", kReports,
     "bytes, such as 4096, 512M or 1.5G, or a share of the memory that this "
     "process may use, up to 100%",
     [](Text text, Settings& s) {
       return ReadMemory(text, AvailableMemory(), s.memory);
     },
     "what plans that are measured together may take beside the weights: "
     "bytes, with K, M or G for 2^10, 2^20 or 2^30 of them, or a share of the "
     "memory that this process may use. With less the weights are read more "
     "often; a plan alone is measured whatever it takes. --diagnose also holds "
     "its copies of rounded weights to it"},
    {"store", "", kReports | kMerge, "a path", &ReadPath<&Settings::store>,
     "folder that keeps every measurement when it is made: the same command "
     "again measures only what is missing, as after it was stopped or killed. "
     "Several processes and machines may use one at once"},
    {"force", "false", kReports, kBool, &ReadSwitch<&Settings::force>,
     "with --store: measure what it has too, and say where errors differ from "
     "what it has",
     true},
    {"out", "", kReports | kCompare | kMerge, "a path",
     &ReadPath<&Settings::out>,
     "folder for report.html, report.md, results.json and a CSV file per "
     "table"},
    {"o", "md", kPrinting,
     "md, json, csv, jsonl, sql, model-explorer or google-benchmark",
     [](Text text, Settings& s) {
       for (const PrintedFormat& format : kFormats) {
         if (text != format.name) continue;
         s.format = format.format;
         return true;
       }
       return false;
     },
     "what is printed: md (a report), json (results.json), or csv, jsonl or "
     "sql: a figure a row, with all that it is of. For other programs, and "
     "into --out too: model-explorer (the decoder as a graph with figures of "
     "ops or layers, and into --out node data, for Google's Model Explorer) "
     "and google-benchmark (times, as Google Benchmark has them, for its "
     "compare.py). docs/results.md describes all"},
};

}  // namespace

absl::Span<const Flag> Flags() { return kFlags; }

std::string FormatsOf(Mode mode) {
  std::vector<Text> names;
  for (const PrintedFormat& format : kFormats) {
    if (format.modes & ModeBit(mode)) names.push_back(format.name);
  }
  return absl::StrJoin(names, ", ");
}

bool TakesFormat(Mode mode, OutputFormat format) {
  return absl::c_any_of(kFormats, [&](const PrintedFormat& known) {
    return known.format == format && (known.modes & ModeBit(mode));
  });
}

}  // namespace ulpscope
