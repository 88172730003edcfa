#include "explorer/app/command_line.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/marshalling.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/synthetic/synthetic.h"

namespace ulpscope {
namespace {

bool IsOurs(const absl::CommandLineFlag& flag) {
  return absl::EndsWith(flag.Filename(), "explorer/app/settings.cc");
}

// "nosweep".
bool IsNegation(absl::string_view name, bool has_value) {
  if (has_value || !absl::ConsumePrefix(&name, "no")) return false;
  const absl::CommandLineFlag* negated = absl::FindCommandLineFlag(name);
  return negated != nullptr && IsOurs(*negated) && negated->IsOfType<bool>();
}

}  // namespace

std::string HelpText() {
  std::string text =
      "ulpscope: which operation, in which layer, costs how much accuracy, "
      "and\n"
      "what would another choice cost in time?\n\n"
      "  explorer --sweep [--model=M] [--out=DIR]   rank 27 plans\n"
      "  explorer --plan=P [--model=M]              evaluate one plan\n"
      "  explorer --generate=N --tokens=IDS         greedy continuation\n"
      "  explorer --attribute [--plan=P]            which op in which layer "
      "the\n"
      "                                             plan's error comes from\n"
      "  explorer --diagnose --reference=TRACE      why another "
      "implementation's\n"
      "                                             trace of the model "
      "differs\n"
      "  explorer --dump-trace=PATH --tokens=IDS    write a trace of ours\n"
      "  explorer --tune [--model=M]                find the fastest kernels,\n"
      "                                             for the modes above\n\n"
      "Results go to stdout, the rest to stderr. Exit codes: 0 done (of "
      "--diagnose,\nwhatever its verdict), 2 bad usage, 130 stopped by Ctrl-C, "
      "143 by SIGTERM,\n1 anything else. Ctrl-C ends a sweep, an attribution "
      "or "
      "a diagnosis with the\nreport of what was measured until then; a second "
      "one ends it at once.\n\nFlags (in their names, - is as good as _):\n";
  std::map<absl::string_view, const absl::CommandLineFlag*> by_name;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (IsOurs(*flag)) by_name.emplace(name, flag);
  }
  for (const auto& [name, flag] : by_name) {
    absl::StrAppendFormat(&text, "  --%s (default: \"%s\")\n      %s\n", name,
                          flag->DefaultValue(), flag->Help());
  }
  text += "\nModels built in, with SYNTHETIC weights:\n ";
  for (absl::string_view name : SyntheticNames()) {
    absl::StrAppend(&text, " synthetic:", name);
  }
  text += "\n\nStrategies, and the groups of ops that take them:\n";
  for (const StrategyInfo& info : Strategies()) {
    std::vector<absl::string_view> kernels;
    for (size_t k = 0; k < kNumKernels; ++k) {
      const Kernel kernel = static_cast<Kernel>(k);
      if (info.kernels & KernelBit(kernel)) {
        kernels.push_back(KernelName(kernel));
      }
    }
    absl::StrAppendFormat(&text, "  %-9s %s\n            [%s]\n", info.name,
                          info.summary, absl::StrJoin(kernels, " "));
  }
  text += "\nGroups and their ops:\n";
  for (size_t k = 0; k < kNumKernels; ++k) {
    std::vector<absl::string_view> ops;
    for (size_t i = 0; i < kNumOps; ++i) {
      if (OpKernel(OpAt(i)) == static_cast<Kernel>(k)) {
        ops.push_back(OpName(OpAt(i)));
      }
    }
    absl::StrAppendFormat(&text, "  %-11s %s\n",
                          KernelName(static_cast<Kernel>(k)),
                          absl::StrJoin(ops, " "));
  }
  text += "\nPresets for --plan:\n";
  for (const PlanPreset& preset : PlanPresets()) {
    absl::StrAppendFormat(&text, "  %-10s %s\n", preset.name, preset.summary);
  }
  text += "\nMetrics:\n";
  for (const RankMetric& metric : RankMetrics()) {
    absl::StrAppendFormat(&text, "  %-10s %s\n", metric.name, metric.summary);
  }
  text +=
      "\nFormulas, formats and when the numbers mislead: docs/numerics.md, and "
      "of\n--attribute docs/attribution.md, of --diagnose docs/diagnosis.md.\n";
  return text;
}

absl::StatusOr<std::set<std::string>> CheckArguments(int argc, char** argv) {
  std::set<std::string> given;
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (!absl::ConsumePrefix(&arg, "-")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unexpected argument '", arg, "' (--help lists the flags)"));
    }
    absl::ConsumePrefix(&arg, "-");
    const size_t equals = arg.find('=');
    const bool has_value = equals != absl::string_view::npos;
    const std::string name =
        absl::StrReplaceAll(arg.substr(0, equals), {{"-", "_"}});
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    const bool ours = flag != nullptr && IsOurs(*flag);
    if (!ours && !IsNegation(name, has_value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown flag --", arg.substr(0, equals), " (--help lists them)"));
    }
    // As Abseil knows it.
    name.copy(argv[i] + (arg.data() - argv[i]), name.size());
    if (!ours) continue;
    if (flag->IsOfType<bool>()) {
      bool ignored = false;
      std::string error;
      if (has_value &&
          !absl::ParseFlag(arg.substr(equals + 1), &ignored, &error)) {
        return BadFlag(name, arg.substr(equals + 1), "true or false");
      }
      continue;
    }
    if (!has_value && ++i == argc) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": expected a value"));
    }
    given.emplace(name);
  }
  return given;
}

absl::Status BadFlag(absl::string_view flag, absl::string_view value,
                     absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, "=", value, ": expected ", expected));
}

}  // namespace ulpscope
