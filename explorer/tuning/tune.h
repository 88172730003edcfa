#ifndef EXPLORER_TUNING_TUNE_H_
#define EXPLORER_TUNING_TUNE_H_

#include <cstddef>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/error/run.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/tuning.h"
#include "kernels/tune/cold_weights.h"
#include "kernels/tune/tuning_search.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// What a plan is timed at: its prompt, or a token after it.
enum class Phase { kPrefill, kDecode };

absl::string_view PhaseName(Phase phase);  // "prefill", "decode"

// The MatMuls of a model that are tuned together.
struct TunableMatMul {
  // MatMuls that the decoder runs in one parallel region, and which of them
  // these are.
  struct Region {
    std::vector<WeightsShape> weights;
    std::vector<size_t> places;

    friend bool operator<(const Region& a, const Region& b) {
      return std::tie(a.weights, a.places) < std::tie(b.weights, b.places);
    }
  };

  Tunings::Key key;
  size_t m = 0, n = 0, k = 0;    // of the first of them
  std::set<Region> regions;      // in which they occur
  std::vector<std::string> ops;  // "q_proj", "o_proj"
  // Of which plans they are, by index, and when these run them. The logits of a
  // prompt's last token count as decoding.
  std::set<std::pair<size_t, Phase>> serves;
};

// Those against weights that the plans run when they are timed: with a prompt
// of that many tokens, of which only the last has logits, and with one. Sorted
// by weights. An emulated plan, which is not timed, has none.
std::vector<TunableMatMul> MatMulsOf(const Weights& weights,
                                     const std::vector<Plan>& plans,
                                     size_t prompt_tokens);

// Leaves those that they do not know.
void EraseKnown(const Tunings& tunings, std::vector<TunableMatMul>& matmuls);

// What a report says of the tunings of these MatMuls.
WisdomUse UseOf(const WisdomFile& file,
                const std::vector<TunableMatMul>& matmuls);

struct TuneOptions {
  double seconds = 60;     // for all
  size_t model_bytes = 0;  // that a decode step reads
};

struct TunedMatMul {
  TunableMatMul matmul;
  TuningResult result;
  bool kept = true;  // whether the file has it, or would have if there were one
};

// Tunes one after the other, each in the regions in which it occurs, with what
// is known of the others there, and keeps it in the file. `tuned` gets those
// that were, whatever ends it; one that could not be kept is kept with the
// next. An error names what could not be tuned, or what at the end is not kept;
// Cancelled if stopped.
absl::Status RunTune(const std::vector<TunableMatMul>& matmuls,
                     const TuneOptions& options, WisdomFile& file,
                     Monitor& monitor, Parallel& parallel,
                     std::vector<TunedMatMul>& tuned);

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_TUNE_H_
