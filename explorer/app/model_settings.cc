#include "explorer/app/model_settings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/plan_file.h"
#include "explorer/app/prompts.h"
#include "explorer/app/settings.h"
#include "explorer/error/windows.h"
#include "explorer/recommend/space.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/sweep.h"
#include "kernels/base/machine_limits.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {
namespace {

// Plans of a file that are timed, unless --timed_plans says how many.
constexpr size_t kTimedOfFile = 256;

// Another text, after what is there.
void AddTo(std::string& text, absl::string_view more) {
  absl::StrAppend(&text, text.empty() ? "" : "; ", more);
}

bool RunsWindows(Mode mode) {
  return mode == Mode::kSweep || mode == Mode::kPlan ||
         mode == Mode::kAttribute || mode == Mode::kTune ||
         mode == Mode::kRecommend;
}

// What confirms a plan that was found on the first window.
absl::Status ReadOtherText(const Settings& settings,
                           const Checkpoint& checkpoint, int32_t first_token,
                           const absl::StatusOr<Tokenizer>& tokenizer,
                           const WindowOptions& options, ModelSettings& model) {
  const std::vector<Window>& windows = model.sweep.windows;
  if (windows.size() > 1 && settings.confirm_prompt.empty()) {
    model.other_text = windows[1];
    return absl::OkStatus();
  }
  const auto other =
      ReadOtherPrompt(settings, checkpoint, first_token, tokenizer,
                      windows[0].tokens, !model.text.empty());
  if (!other.ok()) return other.status();
  for (const std::string& remark : other->remarks) AddTo(model.warning, remark);
  model.other_text = WindowsOf(other->prompts, options)[0];
  if (!other->source.empty()) model.other_text.prompt = other->source;
  return absl::OkStatus();
}

// The text, in windows that are run one by one, and the token that is run
// alone.
absl::Status ReadTokens(const Settings& settings, const Checkpoint& checkpoint,
                        const absl::StatusOr<Tokenizer>& tokenizer,
                        ModelSettings& model) {
  constexpr size_t kTextWindow = 512, kTimed = 128;
  // A search runs its window hundreds of times.
  constexpr size_t kSearchWindow = 128;
  const ModelConfig& config = checkpoint.config;
  if (settings.mode == Mode::kDiagnose) {
    if (!settings.has_tokens) return absl::OkStatus();
    auto of_trace = TokensOfTrace(settings.tokens, settings.token, config);
    if (!of_trace.ok()) return of_trace.status();
    model.sweep.prompt = *std::move(of_trace);
    return absl::OkStatus();
  }
  const auto first = FirstToken(settings.token, checkpoint);
  if (!first.ok()) return first.status();
  model.sweep.token = *first;
  auto read = ReadPrompts(settings, checkpoint, *first, tokenizer);
  if (!read.ok()) return read.status();
  model.text = read->source;
  for (const std::string& remark : read->remarks) AddTo(model.warning, remark);
  model.on_prompt =
      settings.on == "prompt" || (settings.on.empty() && !model.text.empty());
  if (!RunsWindows(settings.mode)) {
    if (read->prompts.size() > 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", settings.seeds > 1 ? "seeds" : "prompt_file",
          ": expected one prompt for this mode, found ", read->prompts.size()));
    }
    model.sweep.prompt = std::move(read->prompts[0].tokens);
    return absl::OkStatus();
  }
  WindowOptions options = settings.windows;
  if (options.window == 0 && !model.text.empty()) {
    options.window =
        settings.mode == Mode::kRecommend ? kSearchWindow : kTextWindow;
  }
  const size_t window =
      options.window == 0 ? std::numeric_limits<size_t>::max() : options.window;
  if (options.stride > window) {
    return BadFlag("stride", absl::StrCat(options.stride),
                   absl::StrCat("at most --window, ", window));
  }
  model.sweep.windows = WindowsOf(read->prompts, options);
  model.sweep.prompt = model.sweep.windows[0].tokens;
  if (settings.mode == Mode::kRecommend) {
    return ReadOtherText(settings, checkpoint, *first, tokenizer, options,
                         model);
  }
  // A longer one says no more of the speed, and takes longer.
  const bool is_timed = settings.mode != Mode::kAttribute;
  if (is_timed && !model.text.empty() && model.sweep.prompt.size() > kTimed) {
    model.sweep.prompt.resize(kTimed);
  }
  if (settings.mode == Mode::kAttribute && model.on_prompt &&
      model.sweep.windows.size() > 1) {
    AddTo(model.warning,
          absl::StrCat("--attribute explains the first of ",
                       model.sweep.windows.size(),
                       " windows; the others show what is luck"));
  }
  return absl::OkStatus();
}

// That nothing of the axes is emulated: it has no time to be chosen by.
absl::Status CheckTimed(const std::vector<Axis>& axes, size_t num_layers) {
  for (const Axis& axis : axes) {
    for (const std::string& level : axis.levels) {
      const std::string entry = absl::StrCat(axis.selector, "=", level);
      const auto plan = Plan::Parse(entry, num_layers);
      if (!plan.ok()) return plan.status();
      if (!plan->emulated()) continue;
      return BadFlag("axes", entry,
                     "with --recommend no strategies that this CPU emulates: "
                     "it has no time of them to choose by");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> RemarkOnWindow(const ModelConfig& config,
                                           size_t positions) {
  if (config.sliding_window == 0) return std::string();
  if (positions > static_cast<size_t>(config.sliding_window)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--tokens: expected at most %d, the model's sliding window, which is "
        "not computed, found %d positions",
        config.sliding_window, positions));
  }
  return absl::StrFormat(
      "the model's sliding window of %d has no effect on %d positions",
      config.sliding_window, positions);
}

absl::StatusOr<ModelSettings> ParseModelSettings(
    const Settings& settings, const Checkpoint& checkpoint,
    const absl::StatusOr<Tokenizer>& tokenizer) {
  const ModelConfig& config = checkpoint.config;
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);
  ModelSettings model;
  SweepOptions& sweep = model.sweep;
  sweep.metric = settings.metric;
  sweep.timing_seconds = settings.timing_seconds;
  sweep.timed = settings.timing && settings.shard.count == 0;
  sweep.greedy = settings.greedy;
  const absl::Status read = ReadTokens(settings, checkpoint, tokenizer, model);
  if (!read.ok()) return read;
  auto layers = ParseLayers(settings.layers, num_layers);
  if (!layers.ok()) return layers.status();
  model.layers = *std::move(layers);
  size_t longest =
      std::max(sweep.prompt.size(), model.other_text.tokens.size());
  for (const Window& window : sweep.windows) {
    longest = std::max(longest, window.tokens.size());
  }
  const absl::Status memory = CheckMemory(
      config, longest + settings.generate_count,
      settings.mode != Mode::kGenerate && settings.mode != Mode::kTune,
      AvailableMemory());
  if (!memory.ok()) return memory;
  // The last token that is generated is not run.
  const size_t generated = std::max<size_t>(settings.generate_count, 1) - 1;
  const size_t length = longest + generated;
  if (config.max_position_embeddings > 0 &&
      length > static_cast<size_t>(config.max_position_embeddings)) {
    AddTo(model.warning,
          absl::StrFormat(
              "the prompt of %d tokens%s is longer than the model's %d "
              "positions",
              longest,
              generated == 0
                  ? ""
                  : absl::StrFormat(" and %d generated ones", generated),
              config.max_position_embeddings));
  }
  if (length > 0) {
    const auto remark = RemarkOnWindow(config, length);
    if (!remark.ok()) return remark.status();
    if (!remark->empty()) AddTo(model.warning, *remark);
  }
  auto plan =
      Plan::Parse(settings.plan.empty() ? "f32" : settings.plan, num_layers);
  if (!plan.ok()) return plan.status();
  model.plan = *std::move(plan);
  auto against = Plan::Parse(settings.against, num_layers);
  if (!against.ok()) {
    return BadFlag("against", settings.against,
                   absl::StrCat("a plan: ", against.status().message()));
  }
  sweep.against = *against;
  model.against = *std::move(against);
  const bool is_searched = settings.mode == Mode::kRecommend;
  const std::string axes_text = is_searched && settings.axes.empty()
                                    ? DefaultSearchAxes()
                                    : settings.axes;
  auto axes = ParseAxes(axes_text, num_layers,
                        is_searched ? kMaxSearchedPlans : kMaxPlans);
  if (!axes.ok()) return axes.status();
  if (is_searched) {
    model.axes = axes_text;
    sweep.axes = *std::move(axes);
    const absl::Status timed = CheckTimed(sweep.axes, num_layers);
    if (!timed.ok()) return timed;
    return model;
  }
  model.axes_of_repairs = *axes;
  if (settings.of_axes()) {
    model.axes = settings.axes;
    sweep.axes = *std::move(axes);
  } else if (settings.plan_file.empty()) {
    sweep.plans = {settings.plan};
  } else {
    auto file =
        ParsePlanFile(*settings.plan_file_text, settings.plan_file, num_layers);
    if (!file.ok()) return file.status();
    sweep.plans = std::move(file->plans);
    sweep.most_timed = kTimedOfFile;
    if (file->repeated > 0) {
      AddTo(
          model.warning,
          absl::StrCat("--plan_file=", settings.plan_file, ": ", file->repeated,
                       " lines have a plan that stands above them"));
    }
  }
  if (settings.timed_plans > 0) sweep.most_timed = settings.timed_plans;
  return model;
}

}  // namespace ulpscope
