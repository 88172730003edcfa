#include "explorer/app/flags.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "explorer/app/flag_table.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/settings.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/sweep/ranking.h"

namespace ulpscope {
namespace {

using Text = absl::string_view;

constexpr ModeInfo kModes[] = {
    {"sweep", "--sweep [--model=M] [--out=DIR]", "rank 27 plans"},
    {"plan", "--plan=P [--model=M]", "evaluate one plan"},
    {"generate", "--generate=N --tokens=IDS", "greedy continuation"},
    {"attribute", "--attribute [--plan=P]",
     "which op in which layer the plan's error comes from"},
    {"diagnose", "--diagnose --reference=TRACE [--against-trace=TRACE]",
     "why another implementation's trace of the model differs, from ours or "
     "from a second one"},
    {"dump_trace", "--dump-trace=PATH --tokens=IDS", "write a trace of ours"},
    {"tune", "--tune [--model=M]",
     "find the fastest kernels, for the modes above"},
    {"recommend", "--recommend [--budget=B] [--model=M]",
     "the fastest plan on this machine that keeps a budget of error"},
    {"compare", "--compare=BASE --with=NEW [--gate=FILE]",
     "what changed from one run to another, and whether it may"},
    {"merge", "--merge=STORE [--merge=ANOTHER] --store=INTO",
     "one store of what many processes and machines have measured"},
};

// Null if there is none.
const Flag* FindFlag(Text name) {
  for (const Flag& flag : Flags()) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::string ExpectedOf(const Flag& flag) {
  if (!flag.expected.empty()) return std::string(flag.expected);
  std::string names = "one of ";  // --metric
  for (const RankMetric& metric : RankMetrics()) {
    absl::StrAppend(&names, names.size() > 7 ? ", " : "", metric.name);
  }
  return names;
}

absl::Status Read(const Flag& flag, Text value, Settings& settings) {
  return flag.read(value, settings)
             ? absl::OkStatus()
             : BadFlag(flag.name, value, ExpectedOf(flag));
}

absl::Status DoesNothing(Text flag, Text how, Text mode) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " does nothing ", how, " --", mode));
}

// Which of the modes it is. Most may have a --plan, which alone is a mode too.
absl::Status ChooseMode(Settings& settings) {
  unsigned modes = settings.chosen & ~ModeBit(Mode::kPlan);
  if (modes == 0 || modes == ModeBit(Mode::kSweep)) modes = settings.chosen;
  if (modes == 0 || (modes & (modes - 1)) != 0) {
    return absl::InvalidArgumentError(
        "expected one of --sweep, --plan and --generate, or one of "
        "--attribute, --diagnose, --dump_trace and --tune with or without a "
        "--plan, or one of --recommend, --compare, --gate and --merge (--help "
        "explains)");
  }
  while (ModeBit(settings.mode) != modes) {
    settings.mode = static_cast<Mode>(static_cast<int>(settings.mode) + 1);
  }
  return absl::OkStatus();
}

// Flags of many plans, models and processes.
absl::Status CheckMany(const Settings& settings,
                       const std::set<const Flag*>& given) {
  const auto is_given = [&](Text flag) {
    return given.count(FindFlag(flag)) > 0;
  };
  if (!settings.plan_file.empty() && is_given("axes")) {
    return DoesNothing("axes", "with", "plan_file");
  }
  if (!settings.model_file.empty() && is_given("model")) {
    return DoesNothing("model", "with", "model_file");
  }
  if (!settings.model_file.empty() && settings.shard.count == 0 &&
      settings.format != OutputFormat::kMarkdown &&
      settings.format != OutputFormat::kJsonl &&
      settings.format != OutputFormat::kSql) {
    return absl::InvalidArgumentError(
        "-o with --model_file: expected md, jsonl or sql, of which several may "
        "follow each other, or --out, a folder for each model");
  }
  // The same command line with --shard is a part of it: what says how plans are
  // timed and shown is for whoever does that.
  if (settings.shard.count > 0) {
    for (const Text flag : {"out", "o", "greedy"}) {
      if (is_given(flag)) return DoesNothing(flag, "with", "shard");
    }
    if (settings.store.empty()) {
      return BadFlag("store", "", "where --shard keeps what it measures");
    }
  }
  if (settings.mode == Mode::kMerge && settings.store.empty()) {
    return BadFlag("store", "", "the store into which --merge puts all");
  }
  return absl::OkStatus();
}

// A flag that the mode would ignore is an error.
absl::Status CheckModeTakes(const Settings& settings,
                            const std::set<const Flag*>& given) {
  const Text mode = InfoOf(settings.mode).name;
  for (const Flag* flag : given) {
    if (flag->modes & ModeBit(settings.mode)) continue;
    for (size_t i = 0; i < std::size(kModes); ++i) {
      if (flag->modes == 1u << i) {
        return DoesNothing(flag->name, "without", kModes[i].name);
      }
    }
    return DoesNothing(flag->name, "with", mode);
  }
  // Repairs choose from the axes.
  if (settings.mode == Mode::kTune && !settings.plan.empty() &&
      given.count(FindFlag("axes")) > 0) {
    return DoesNothing("axes", "with", "plan");
  }
  const bool has_text = given.count(FindFlag("prompt")) > 0 ||
                        given.count(FindFlag("prompt_file")) > 0;
  if (settings.chat && !has_text) {
    return DoesNothing("chat", "without a --prompt in", mode);
  }
  for (const Text flag : {"tokens", "seeds", "prompt_file"}) {
    if (given.count(FindFlag(flag)) == 0) continue;
    if (flag != "prompt_file" && has_text) {
      return DoesNothing(
          flag, "with",
          settings.prompt_file.empty() ? "prompt" : "prompt_file");
    }
    if (flag == "prompt_file" && given.count(FindFlag("prompt")) > 0) {
      return DoesNothing("prompt", "with", "prompt_file");
    }
  }
  if (settings.seeds > 1 && absl::StrContains(settings.tokens, ',')) {
    return DoesNothing("seeds", "with ids of", "tokens");
  }
  if (given.count(FindFlag("o")) > 0 &&
      !TakesFormat(settings.mode, settings.format)) {
    return absl::InvalidArgumentError(
        absl::StrCat("-o with --", mode, ": expected one of ",
                     FormatsOf(settings.mode), " (--help explains)"));
  }
  if (settings.force && settings.store.empty()) {
    return DoesNothing("force", "without", "store");
  }
  const absl::Status many = CheckMany(settings, given);
  if (!many.ok()) return many;
  if (settings.mode == Mode::kCompare) {
    if (settings.with.empty()) {
      return BadFlag("with", "", "the run that is to be compared");
    }
    return settings.gate.empty() && !settings.junit.empty()
               ? DoesNothing("junit", "without", "gate")
               : absl::OkStatus();
  }
  if (settings.mode != Mode::kDiagnose) return absl::OkStatus();
  if (given.count(FindFlag("token")) > 0 &&
      given.count(FindFlag("tokens")) > 0) {
    return DoesNothing("token", "with", "tokens");
  }
  for (const Text flag : {"against_mapping", "against_row"}) {
    if (settings.against_trace.empty() && given.count(FindFlag(flag)) > 0) {
      return DoesNothing(flag, "without", "against_trace");
    }
  }
  // Neither a run of ours is compared, nor is anything kept.
  for (const Text flag : {"plan", "store"}) {
    if (!settings.against_trace.empty() && given.count(FindFlag(flag)) > 0) {
      return DoesNothing(flag, "with", "against_trace");
    }
  }
  return settings.reference.empty()
             ? BadFlag("reference", "", "a trace for --diagnose")
             : absl::OkStatus();
}

}  // namespace

std::string FlagName(Text argument) {
  return absl::StrReplaceAll(argument.substr(0, argument.find('=')),
                             {{"-", "_"}});
}

const ModeInfo& InfoOf(Mode mode) { return kModes[static_cast<size_t>(mode)]; }

absl::StatusOr<Settings> ReadFlags(absl::Span<const char* const> arguments) {
  Settings settings;
  for (const Flag& flag : Flags()) {
    const absl::Status status = Read(flag, flag.default_text, settings);
    if (!status.ok()) return status;
  }
  std::set<const Flag*> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    Text argument = arguments[i];
    if (!absl::ConsumePrefix(&argument, "-")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unexpected argument '", argument, "' (--help lists the flags)"));
    }
    absl::ConsumePrefix(&argument, "-");
    const size_t equals = argument.find('=');
    bool has_value = equals != Text::npos;
    Text value = has_value ? argument.substr(equals + 1) : "";
    const std::string name = FlagName(argument);
    const Flag* flag = FindFlag(name);
    if (flag == nullptr && !has_value && absl::StartsWith(name, "no")) {
      const Flag* const negated = FindFlag(Text(name).substr(2));
      if (negated != nullptr && negated->is_switch) {
        flag = negated;
        value = "false";
        has_value = true;
      }
    }
    if (flag == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag --",
                                                     argument.substr(0, equals),
                                                     " (--help lists them)"));
    }
    if (!has_value && flag->is_switch) value = "true";
    if (!has_value && !flag->is_switch) {
      if (++i == arguments.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", name, ": expected a value"));
      }
      value = arguments[i];
    }
    const absl::Status status = Read(*flag, value, settings);
    if (!status.ok()) return status;
    given.insert(flag);
  }
  absl::Status status = ChooseMode(settings);
  if (status.ok()) status = CheckModeTakes(settings, given);
  if (!status.ok()) return status;
  settings.has_tokens =
      given.count(FindFlag("token")) + given.count(FindFlag("tokens")) > 0;
  settings.has_prompt = given.count(FindFlag("prompt")) > 0;
  if (settings.mode == Mode::kRecommend) {
    if (given.count(FindFlag("axes")) == 0) settings.axes.clear();
    if (given.count(FindFlag("budget")) == 0) {
      settings.budget = kDefaultPlanBudget;
    }
  }
  return settings;
}

}  // namespace ulpscope
