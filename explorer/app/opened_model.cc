#include "explorer/app/opened_model.h"

#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/app/console.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/input_texts.h"
#include "explorer/app/model_file.h"
#include "explorer/app/model_settings.h"
#include "explorer/app/output_paths.h"
#include "explorer/app/settings.h"
#include "explorer/app/shard_flag.h"
#include "explorer/sweep/shard.h"
#include "explorer/sweep/sweep.h"
#include "explorer/sweep/sweep_errors.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {
namespace {

// The same settings of each model.
absl::StatusOr<std::vector<Settings>> SettingsOfModels(
    const Settings& settings) {
  if (settings.model_file.empty()) return std::vector<Settings>{settings};
  const auto names =
      ParseModelFile(*settings.model_file_text, settings.model_file);
  if (!names.ok()) return names.status();
  const std::vector<std::string> folders = FoldersOf(*names);
  std::vector<Settings> of_models(names->size(), settings);
  for (size_t i = 0; i < names->size(); ++i) {
    of_models[i].model = CallersPath((*names)[i]);
    if (!settings.out.empty()) {
      of_models[i].out = absl::StrCat(settings.out, "/", folders[i]);
    }
  }
  return of_models;
}

// What errors cost, as multiplications: the tokens that are run by the weights
// that each meets.
CheckpointUnits WorkOf(const ModelConfig& config, const SweepErrors& errors) {
  const double layer =
      static_cast<double>(config.hidden_size) *
      (2.0 * static_cast<double>(config.q_size() + config.kv_size()) +
       3.0 * static_cast<double>(config.intermediate_size));
  const double weights =
      static_cast<double>(config.num_hidden_layers) * layer +
      static_cast<double>(config.vocab_size * config.hidden_size);
  CheckpointUnits units;
  units.units = errors.queries.size();
  for (const ErrorQuery& query : errors.queries) {
    units.cost += weights * static_cast<double>(
                                errors.windows[query.window].tokens.size());
  }
  return units;
}

// Leaves the models, and of each the part, that are the shard's.
absl::Status TakeShard(const Settings& settings,
                       std::vector<OpenedModel>& models) {
  const auto shard = ShardOf(settings.shard, [](const char* name) {
    return static_cast<const char*>(std::getenv(name));
  });
  if (!shard.ok()) return shard.status();
  std::vector<CheckpointUnits> units;
  for (OpenedModel& model : models) {
    const ModelConfig& config = model.checkpoint.config;
    auto errors = ErrorsOf(model.model.sweep,
                           static_cast<size_t>(config.num_hidden_layers));
    if (!errors.ok()) return errors.status();
    units.push_back(WorkOf(config, *errors));
    model.part = SweepPart{*std::move(errors), {}};
  }
  const std::vector<UnitRange> ranges = UnitsOf(units, *shard);
  std::vector<OpenedModel> taken;
  for (size_t i = 0; i < models.size(); ++i) {
    if (ranges[i].size() == 0) continue;
    absl::FPrintF(stderr, "shard %d of %d: %s, errors %d to %d of %d\n",
                  shard->index, shard->count, models[i].settings.model,
                  ranges[i].begin + 1, ranges[i].end, units[i].units);
    models[i].part->units = ranges[i];
    taken.push_back(std::move(models[i]));
  }
  if (taken.empty()) {
    absl::FPrintF(stderr, "shard %d of %d: nothing is left for it\n",
                  shard->index, shard->count);
  }
  models = std::move(taken);
  return absl::OkStatus();
}

}  // namespace

int OpenModels(const Settings& asked, std::vector<OpenedModel>& models) {
  Settings settings = asked;
  const absl::Status texts = ReadInputTexts(settings);
  if (!texts.ok()) return Fail(texts, kBadUsage);
  auto of_models = SettingsOfModels(settings);
  if (!of_models.ok()) return Fail(of_models.status(), kBadUsage);
  const absl::Status outputs = CheckOutputPaths(*of_models);
  if (!outputs.ok()) return Fail(outputs, kBadUsage);
  for (Settings& of_model : *of_models) {
    auto checkpoint = OpenCheckpoint(of_model.model);
    if (!checkpoint.ok()) return Fail(checkpoint.status(), kFailed);
    auto tokenizer = Tokenizer::Load(of_model.model);
    auto model = ParseModelSettings(of_model, *checkpoint, tokenizer);
    if (!model.ok()) {
      const absl::Status& status = model.status();
      return Fail(of_models->size() == 1
                      ? status
                      : absl::Status(status.code(),
                                     absl::StrCat("model ", of_model.model,
                                                  ": ", status.message())),
                  kBadUsage);
    }
    models.push_back({std::move(of_model),
                      *std::move(checkpoint),
                      std::move(tokenizer),
                      *std::move(model),
                      {}});
  }
  if (settings.shard.count > 0) {
    const absl::Status status = TakeShard(settings, models);
    if (!status.ok()) return Fail(status, kBadUsage);
  }
  for (const OpenedModel& opened : models) {
    if (opened.model.warning.empty()) continue;
    Warn(of_models->size() == 1
             ? opened.model.warning
             : absl::StrCat(opened.settings.model, ": ", opened.model.warning));
  }
  return kDone;
}

}  // namespace ulpscope
