#include "explorer/app/help.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "explorer/app/flag_table.h"
#include "explorer/app/flags.h"
#include "explorer/app/settings.h"
#include "explorer/sweep/ranking.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/plan_presets.h"
#include "model/synthetic/synthetic.h"

namespace ulpscope {
namespace {

constexpr char kIntroduction[] =
    "ulpscope: which operation, in which layer, costs how much accuracy, and\n"
    "what would another choice cost in time?\n\n";

constexpr char kOutput[] =
    "\nResults go to stdout, the rest to stderr. Exit codes: 0 done, 2 bad "
    "usage, 3 a\n--gate or --fail-on failed, or a --merge found other bits, 4 "
    "it could compare\nnothing, 130 stopped by Ctrl-C, 143 by SIGTERM, 1 "
    "anything else. Ctrl-C ends a\nmode with what was measured until then; a "
    "second one ends it at once.\n";

std::string UsageText(Mode mode) {
  const ModeInfo& info = InfoOf(mode);
  return absl::StrFormat("  explorer %s\n      %s\n", info.usage, info.summary);
}

// Of the flags that one of these modes takes.
std::string FlagsText(unsigned modes) {
  std::string text = "\nFlags (in their names, - is as good as _):\n";
  for (const Flag& flag : Flags()) {
    if (!(flag.modes & modes)) continue;
    absl::StrAppendFormat(&text, "  %s%s (default: \"%s\")\n      %s\n",
                          flag.name.size() == 1 ? "-" : "--", flag.name,
                          flag.default_text, flag.help);
  }
  return text;
}

// The mode whose flag is there; --plan is one only where no other is.
std::optional<Mode> ModeNamed(absl::Span<const char* const> arguments) {
  std::optional<Mode> found;
  for (absl::string_view argument : arguments) {
    while (absl::ConsumePrefix(&argument, "-")) {
    }
    const std::string name = FlagName(argument);
    for (size_t i = 0; i < kNumModes; ++i) {
      const Mode mode = static_cast<Mode>(i);
      if (name == InfoOf(mode).name &&
          found.value_or(Mode::kPlan) == Mode::kPlan) {
        found = mode;
      }
    }
  }
  return found;
}

// What operands of a strategy's MatMul are rounded to.
absl::string_view OperandsText(const StrategyInfo& info) {
  if (info.engine == nullptr) return FormatName(info.operand);
  switch (info.engine->quantizer) {
    case Quantizer::kNone:
    case Quantizer::kBF16:
    case Quantizer::kF16:
      return FormatName(info.operand);
    case Quantizer::kTF32:
    case Quantizer::kTF32Nearest:
      return "tf32";
    case Quantizer::kE4M3:
      return "e4m3 by rows";
    case Quantizer::kE4M3Blocks:
      return "e4m3 in 128s";
    case Quantizer::kMXFP8:
      return "e4m3 in 32s";
    case Quantizer::kMXFP4:
      return "e2m1 in 32s";
    case Quantizer::kNVFP4:
      return "e2m1 in 16s";
    case Quantizer::kInt8:
      return "int8 by rows";
    case Quantizer::kGgml:
      return "as the weights";
  }
  return "";
}

// What flags take by name.
std::string NamesText() {
  std::string text = "\nModels built in, with SYNTHETIC weights:\n ";
  for (absl::string_view name : SyntheticNames()) {
    absl::StrAppend(&text, " synthetic:", name);
  }
  text +=
      "\n\nStrategies: operands x sums x result of a MatMul, and the groups of "
      "ops that\ntake them:\n";
  for (const StrategyInfo& info : Strategies()) {
    std::vector<absl::string_view> kernels;
    for (size_t k = 0; k < kNumKernels; ++k) {
      const Kernel kernel = static_cast<Kernel>(k);
      if (info.kernels & KernelBit(kernel)) {
        kernels.push_back(KernelName(kernel));
      }
    }
    absl::StrAppendFormat(&text, "  %-9s %s\n", info.name, info.summary);
    if (info.kernels & KernelBit(Kernel::kMatMul)) {
      absl::StrAppendFormat(&text, "            %s x %s x %s\n",
                            OperandsText(info), info.sums,
                            FormatName(info.result));
    }
    absl::StrAppendFormat(&text, "            [%s]%s\n",
                          absl::StrJoin(kernels, " "),
                          info.emulated() ? " emulated: not timed" : "");
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
  text += "\nForms of a layer's attention (attention=FORM):\n";
  for (const AttentionFormInfo& info : AttentionForms()) {
    absl::StrAppendFormat(&text, "  %-15s %s\n", info.name, info.summary);
  }
  text += "\nPresets for --plan:\n";
  for (const PlanPreset& preset : PlanPresets()) {
    absl::StrAppendFormat(&text, "  %-15s %s\n", preset.name, preset.summary);
  }
  text += "\nMetrics:\n";
  for (const RankMetric& metric : RankMetrics()) {
    absl::StrAppendFormat(&text, "  %-10s %s\n", metric.name, metric.summary);
  }
  return text;
}

}  // namespace

bool AsksForHelp(absl::Span<const char* const> arguments) {
  for (const absl::string_view argument : arguments) {
    if (argument == "--help" || argument == "-h" || argument == "-help") {
      return true;
    }
  }
  return false;
}

std::string HelpText(absl::Span<const char* const> arguments) {
  if (const auto mode = ModeNamed(arguments)) {
    return absl::StrCat(
        UsageText(*mode), FlagsText(ModeBit(*mode)),
        "\n--help alone lists the other modes, and what their flags take.\n");
  }
  std::string text = kIntroduction;
  for (size_t i = 0; i < kNumModes; ++i) {
    text += UsageText(static_cast<Mode>(i));
  }
  return absl::StrCat(
      text, "\n--help with one of these lists its flags alone.\n", kOutput,
      FlagsText(~0u), NamesText(),
      "\nFormulas, formats and when the numbers mislead: docs/numerics.md, and "
      "of\n--attribute docs/attribution.md, of --diagnose "
      "docs/diagnosis.md and docs/traces.md.\n");
}

}  // namespace ulpscope
