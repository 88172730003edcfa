#ifndef EXPLORER_APP_SETTINGS_H_
#define EXPLORER_APP_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "explorer/app/shard_flag.h"
#include "explorer/error/budget.h"
#include "explorer/error/windows.h"
#include "explorer/recommend/clock.h"
#include "explorer/report/report_files.h"
#include "explorer/sweep/ranking.h"

namespace ulpscope {

enum class Mode {
  kSweep,
  kPlan,
  kGenerate,
  kAttribute,
  kDiagnose,
  kDumpTrace,
  kTune,
  kRecommend,
  kCompare,
  kMerge
};
inline constexpr size_t kNumModes = 10;

// --fail-on: of which diagnosis the exit code is that of a failed gate.
enum class FailOn { kNothing, kImplementation, kUnexplained };

constexpr unsigned ModeBit(Mode mode) {
  return 1u << static_cast<unsigned>(mode);
}

// What the flags say, as far as it does not depend on the model. Paths are the
// caller's.
struct Settings {
  Mode mode = Mode::kSweep;
  unsigned chosen = 0;  // bits of the modes whose flags are given
  std::string plan;     // or empty
  std::string against;  // a plan's text
  std::string model;
  std::string model_file;  // a path, or empty
  // What these and the other files have: of a pipe it is there once, for all
  // models.
  std::shared_ptr<const std::string> model_file_text, plan_file_text,
      prompt_file_text;
  // Read with the model; of --recommend empty for DefaultSearchAxes().
  std::string axes;
  std::string plan_file;              // a path, or empty
  std::string layers, token, tokens;  // the same, or empty for their defaults
  bool has_tokens = false;            // whether --tokens or --token is given
  std::string prompt, prompt_file;    // a text, a path, or empty
  bool has_prompt = false;            // whether --prompt is given
  bool chat = false;                  // puts texts into the chat template
  WindowOptions windows;
  size_t seeds = 1;        // prompts that are drawn
  size_t timed_plans = 0;  // at most; 0 for the default
  size_t greedy = 0;       // tokens that are generated to see where plans leave
  std::string wisdom;      // a path, "none", or empty for the default
  std::string out;         // or empty
  std::string store;       // the same
  bool force = false;      // measures what the store has, too
  ShardFlag shard;
  std::vector<std::string> merge;  // paths
  size_t generate_count = 0;
  bool retune = false;
  uint64_t seed = 0;
  size_t threads = 0;
  double timing_seconds = 0;
  bool timing = true;  // or errors are all that is measured
  size_t memory = 0;   // bytes
  const RankMetric* metric = nullptr;
  Budget budget;  // of a repair or of a recommended plan
  TimedPhase phase = TimedPhase::kDecode;  // of --recommend
  std::string confirm_prompt;              // a text, or empty
  // --on: what --attribute runs; empty for the prompt if it is a text.
  std::string on;
  std::string reference, mapping;  // of --diagnose
  // The trace that --reference is compared with instead of a run, or empty.
  std::string against_trace, against_mapping;
  std::optional<size_t> row, against_row;  // of batches
  std::string dump_trace;
  bool last_state_is_normed = true;  // of --dump_trace
  FailOn fail_on = FailOn::kNothing;
  OutputFormat format = OutputFormat::kMarkdown;
  std::string compare, with, gate, junit;  // paths, or empty

  // Whether it is about the plans of --axes, not about those that are named.
  bool of_axes() const {
    return plan.empty() && plan_file.empty() &&
           (mode == Mode::kSweep || mode == Mode::kAttribute ||
            mode == Mode::kTune);
  }
};

}  // namespace ulpscope

#endif  // EXPLORER_APP_SETTINGS_H_
