#ifndef MODEL_ARCHITECTURE_ROPE_H_
#define MODEL_ARCHITECTURE_ROPE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/architecture/config.h"

namespace ulpscope {

// Angle per position of each of the head_dim / 2 rotated pairs, with
// rope_scaling applied: theta^(-2i / head_dim), i ascending (Su et al. 2021).
std::vector<double> RopeFrequencies(const ModelConfig& config);

// What cosines and sines are multiplied by: 1 but for YaRN.
double RopeAttentionFactor(const ModelConfig& config);

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_ROPE_H_
