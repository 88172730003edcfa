#ifndef EXPLORER_TUNING_TUNE_H_
#define EXPLORER_TUNING_TUNE_H_

#include <cstddef>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/error/run.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/tuning.h"
#include "kernels/tune/autotuner.h"
#include "kernels/tune/tuning_search.h"
#include "kernels/tune/wisdom.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

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
};

// Those against weights that the plans run when they are timed: with a prompt
// of that many tokens, of which only the last has logits, and with one. Sorted
// by weights.
std::vector<TunableMatMul> MatMulsOf(const Weights& weights,
                                     const std::vector<Plan>& plans,
                                     size_t prompt_tokens);

// How many of them the tunings know.
size_t CountKnown(const Tunings& tunings,
                  const std::vector<TunableMatMul>& matmuls);

// Leaves those that they do not know.
void EraseKnown(const Tunings& tunings, std::vector<TunableMatMul>& matmuls);

struct TuneOptions {
  double seconds = 60;      // for all
  size_t model_bytes = 0;   // that a decode step reads
  std::string wisdom_path;  // to save to after each; empty for nowhere
};

struct TunedMatMul {
  TunableMatMul matmul;
  TuningResult result;
};

// Tunes one after the other, each in the regions in which it occurs, with what
// is known of the others there; what it finds is added to `wisdom`. An error
// names what could not be tuned or saved.
absl::StatusOr<std::vector<TunedMatMul>> RunTune(
    const std::vector<TunableMatMul>& matmuls, const TuneOptions& options,
    Wisdom& wisdom, Monitor& monitor, Parallel& parallel);

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_TUNE_H_
