#ifndef EXPLORER_APP_SETTINGS_H_
#define EXPLORER_APP_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"

namespace ulpscope {

enum class Mode { kSweep, kGenerate, kTune, kAttribute, kDiagnose, kDumpTrace };

// What the flags say, as far as it does not depend on the model. Paths are the
// caller's.
struct Settings {
  Mode mode = Mode::kSweep;  // of --axes, or of the --plan alone
  bool of_axes = false;      // all modes but --generate: not of a --plan
  std::string plan;          // --plan, or empty
  std::string model;
  std::string wisdom;  // --wisdom: a path, "none", or empty for the default
  std::string out;     // or empty
  size_t generate_count = 0;
  bool retune = false;
  uint64_t seed = 0;
  size_t threads = 0;
  double timing_seconds = 0;
  size_t memory = 0;  // bytes
  const RankMetric* metric = nullptr;
  Budget budget;                   // of a repair
  bool on_prompt = false;          // --on: whether --attribute runs the prompt
  std::string reference, mapping;  // of --diagnose
  bool has_tokens = false;         // whether --tokens or --token is given
  std::string dump_trace;
  bool last_state_is_normed = true;  // of --dump_trace
};

// Reads the flags, of which `given` are on the command line. InvalidArgument
// names one that cannot be read, and one that the mode would ignore.
absl::StatusOr<Settings> ParseSettings(const std::set<std::string>& given);

// What the flags say of a model.
struct ModelSettings {
  // Of --axes or of the --plan. The prompt of --diagnose is empty if the trace
  // is to have the tokens.
  SweepOptions sweep;
  Plan plan{0};                       // --plan, or f32
  std::vector<Axis> axes_of_repairs;  // whose strategies repairs choose from
  std::string axes;                   // --axes' text; empty for a plan
  std::set<size_t> layers;            // to print; empty for all
  std::string warning;                // or empty
};

// InvalidArgument names the flag that this model does not take, or whose tokens
// its memory cannot hold.
absl::StatusOr<ModelSettings> ParseModelSettings(const Settings& settings,
                                                 const Checkpoint& checkpoint);

}  // namespace ulpscope

#endif  // EXPLORER_APP_SETTINGS_H_
