#ifndef EXPLORER_ERROR_EFFECT_H_
#define EXPLORER_ERROR_EFFECT_H_

#include <cstddef>
#include <optional>
#include <vector>

namespace ulpscope {

// What a figure of an error is where the plan overflows: infinite or NaN. Where
// nothing is divided by nothing (a share of no error), it is 0.

// An error vector, value - reference, over all positions and channels.
struct ErrorSize {
  double l2 = 0;
  double rel_l2 = 0;  // by the 2-norm of the reference's stream there
  double mean_abs = 0;
  double max_abs = 0;
  size_t max_position = 0, max_channel = 0;  // where; of NaN the first
};

// What one change of a plan does to the results, against the reference: the
// oracle, or the plan that errors are against. What a run that was stopped did
// not reach is none.
struct Effect {
  // Of the final hidden state, before the final norm.
  std::optional<double> rel_l2;
  std::optional<double> logits_rel_l2;  // of all positions' logits
  std::optional<double> kl;             // mean over positions, nats
  // rel_l2 of the stream after each layer [0 ... num_layers]; 0 before the
  // change.
  std::vector<double> layers;
  // The first three over the ordinary positions alone, those at which the
  // reference has no massive activation: a state with one has most of a
  // prompt's 2-norm, and so of its error, whatever the others are. None if all
  // positions have one, too.
  std::optional<double> ordinary_rel_l2 = {}, ordinary_logits_rel_l2 = {},
                        ordinary_kl = {};

  // Whether the run reached its logits.
  bool complete() const { return kl.has_value(); }
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_EFFECT_H_
