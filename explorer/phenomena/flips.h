#ifndef EXPLORER_PHENOMENA_FLIPS_H_
#define EXPLORER_PHENOMENA_FLIPS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "explorer/error/baseline.h"
#include "explorer/phenomena/massive_channel.h"

namespace ulpscope {

// A massive activation that one of two runs has and the other does not: what
// makes it has a threshold, and an error before it decided on which side the
// state came to lie. No rounding behind it is as large.
struct FlippedActivation {
  size_t channel = 0;
  size_t position = 0;
  size_t born = 0;       // the layer whose add made it, in the run that has it
  bool in_plan = false;  // whether that is the plan's run, not the reference's
  // The largest after any layer, signed, after which layer, and what the other
  // run has there.
  double value = 0;
  size_t value_layer = 0;
  double other = 0;
};

// Below this share of the value the other run does not have it.
inline constexpr double kFlippedBelow = 0.5;

// Of the massive channels of both runs of a baseline, the reference's first;
// those that are after a layer, the largest first.
std::vector<FlippedActivation> FindFlips(
    const Baseline& baseline, const std::vector<MassiveChannel>& of_reference,
    const std::vector<MassiveChannel>& of_plan);

// A position whose most likely token the plan's error may change, or changes.
struct NearTie {
  size_t position = 0;
  int32_t token = 0;  // the reference's most likely
  // The plan's most likely if it is another one, else the reference's second.
  int32_t rival = 0;
  double margin = 0;  // of the two logits, in the reference
  // By how much less that is under the plan; above the margin it flips.
  double error = 0;
  bool flips = false;  // whether the plan's most likely token is another one
};

// The positions whose token flips, and those where the error takes this share
// of the margin or more.
inline constexpr double kTieShare = 0.5;

std::vector<NearTie> FindNearTies(const Baseline& baseline);

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_FLIPS_H_
