#include "explorer/app/settings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/app/flag_values.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/sweep.h"
#include "kernels/base/machine_limits.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"

namespace ulpscope {
namespace {

// The prompt, and the token that is run alone.
absl::Status ReadTokens(const Settings& settings, const Checkpoint& checkpoint,
                        ModelSettings& model) {
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
  auto prompt = PromptTokens(settings.tokens, config, *first, settings.seed);
  if (!prompt.ok()) return prompt.status();
  model.sweep.prompt = *std::move(prompt);
  return absl::OkStatus();
}

// Another text, after what is there.
void AddTo(std::string& text, absl::string_view more) {
  absl::StrAppend(&text, text.empty() ? "" : "; ", more);
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
  auto layers = ParseLayers(settings.layers, num_layers);
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
  model.against = *std::move(against);
  auto axes = ParseAxes(settings.axes, num_layers);
  if (!axes.ok()) return axes.status();
  model.axes_of_repairs = *axes;
  if (settings.of_axes()) {
    model.axes = settings.axes;
    sweep.axes = *std::move(axes);
  } else {
    sweep.plans = {settings.plan};
  }
  return model;
}

}  // namespace ulpscope
