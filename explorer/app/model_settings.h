#ifndef EXPLORER_APP_MODEL_SETTINGS_H_
#define EXPLORER_APP_MODEL_SETTINGS_H_

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/app/settings.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/sweep.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// What the flags say of a model.
struct ModelSettings {
  // Of --axes or of the --plan; of --recommend what it chooses from, without
  // plans. The prompt of --diagnose is empty if the trace
  // is to have the tokens.
  SweepOptions sweep;
  Plan plan{0};                       // --plan, or f32
  Plan against{0};                    // what errors are against
  std::vector<Axis> axes_of_repairs;  // whose strategies repairs choose from
  std::string axes;                   // --axes' text; empty for a plan
  std::set<size_t> layers;            // to print; empty for all
  std::string warning;                // or empty
  std::string text;                   // where the prompt's is from, or empty
  bool on_prompt = false;             // whether --attribute runs the prompt
  Window other_text;                  // that confirms a recommended plan
};

// That the model has a window which so many positions do not fill; empty if it
// has none. InvalidArgument if they do: then it would change what is computed.
absl::StatusOr<std::string> RemarkOnWindow(const ModelConfig& config,
                                           size_t positions);

// InvalidArgument names the flag that this model does not take, or whose tokens
// its memory cannot hold.
// `tokenizer` is the checkpoint's, or why it has none.
absl::StatusOr<ModelSettings> ParseModelSettings(
    const Settings& settings, const Checkpoint& checkpoint,
    const absl::StatusOr<Tokenizer>& tokenizer);

}  // namespace ulpscope

#endif  // EXPLORER_APP_MODEL_SETTINGS_H_
