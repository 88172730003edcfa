#ifndef EXPLORER_APP_OPENED_MODEL_H_
#define EXPLORER_APP_OPENED_MODEL_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/app/model_settings.h"
#include "explorer/app/settings.h"
#include "explorer/sweep/shard.h"
#include "explorer/sweep/sweep_errors.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// What a process of --shard measures of a sweep.
struct SweepPart {
  SweepErrors errors;
  UnitRange units;  // of its queries
};

// A model whose weights are not loaded yet, and what the flags say of it.
struct OpenedModel {
  Settings settings;  // with this --model alone, and its own folder of --out
  Checkpoint checkpoint;
  absl::StatusOr<Tokenizer> tokenizer;  // or why it has none
  ModelSettings model;
  std::optional<SweepPart> part;  // of --shard
};

// Opens the models of --model or --model_file that this process has anything to
// do with. Tells the user what is wrong, and returns the exit code: all that
// can be wrong with a flag is found here, for every model, before any is run.
int OpenModels(const Settings& settings, std::vector<OpenedModel>& models);

}  // namespace ulpscope

#endif  // EXPLORER_APP_OPENED_MODEL_H_
