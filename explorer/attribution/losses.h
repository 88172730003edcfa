#ifndef EXPLORER_ATTRIBUTION_LOSSES_H_
#define EXPLORER_ATTRIBUTION_LOSSES_H_

#include <cstddef>
#include <vector>

#include "explorer/attribution/attribution_parts.h"
#include "explorer/phenomena/phenomena.h"

namespace ulpscope {

// What one position's error does to the next token.
struct PositionLoss {
  size_t position = 0;
  double kl_share = 0;         // of the KL of all positions, 0 if there is none
  bool changes_token = false;  // whether the most likely token is another one
  // Whether the error of its logits counts: it changes the token, or has
  // kMatters of KL. A state may be far off in what the head does not read.
  bool matters = false;
  // Whether it is one of the fewest that have nearly all of the KL together.
  bool has_most = false;
};

// Nats. The likelihoods of a text fall by that factor, 1 % of a token's.
inline constexpr double kMatters = 0.01;
inline constexpr double kMostOfKl = 0.9;

// Of every position of an attribution that has them, of the same run as the
// phenomena.
std::vector<PositionLoss> LossesOf(const std::vector<PositionError>& errors,
                                   const Phenomena& phenomena);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_LOSSES_H_
