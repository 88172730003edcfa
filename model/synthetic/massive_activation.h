#ifndef MODEL_SYNTHETIC_MASSIVE_ACTIVATION_H_
#define MODEL_SYNTHETIC_MASSIVE_ACTIVATION_H_

#include <cstdint>
#include <vector>

#include "model/architecture/config.h"
#include "model/synthetic/synthetic_tensor.h"

namespace ulpscope {

// A massive activation (Sun et al. 2024) planted into random weights: for a few
// tokens one channel of the residual stream is born huge in one layer, grows,
// and is taken away near the end. Layers count from 0.
//
// One SwiGLU neuron a layer does it. The neuron of the birth layer reads the
// trigger channel, which only the embeddings of `tokens` use; those after it
// read the massive channel itself, through a small norm weight; the one of the
// removal layer writes minus what has piled up. All is calibrated for a planted
// token at position 0; later in a prompt, where attention has averaged the rest
// of its residual away, it starts larger and is not taken away altogether.
struct MassiveActivation {
  std::vector<int64_t> tokens;
  int64_t trigger_channel = 0;
  int64_t massive_channel = 0;
  int64_t neuron = 0;  // and neuron + 1 in the removal layer
  int64_t birth_layer = 0;
  int64_t removal_layer = 0;

  // Size of the massive channel after each of the layers from birth_layer to
  // removal_layer.
  std::vector<double> channel_values;
  // The std of what the birth layer's neuron writes into each other channel.
  double spread = 0;

  // Standard deviation of the residual stream after each layer, for one of
  // `tokens` alone at position 0: what the planting aims at.
  std::vector<double> residual_std;
};

// Patches `tensors` (all of the model's, unpatched) accordingly. The weights
// are calibrated against the bf16 values that Generate returns: for `tokens`
// the layers up to the birth are computed in f64, after it the channel is
// followed in closed form, which its size makes accurate to parts in 10^3.
// Uses only correctly rounded operations, hence the same weights everywhere.
void PlantMassiveActivation(const ModelConfig& config,
                            const MassiveActivation& planted, int num_threads,
                            SyntheticTensors* tensors);

}  // namespace ulpscope

#endif  // MODEL_SYNTHETIC_MASSIVE_ACTIVATION_H_
