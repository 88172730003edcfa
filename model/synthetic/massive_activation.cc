#include "model/synthetic/massive_activation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ulpscope {
namespace {

constexpr int64_t kAll = SyntheticTensor::kAll;

// Random weights that write to, or embed, a planted channel are this much
// smaller than elsewhere: other tokens must have next to nothing there, since
// the neurons that read it answer with its square.
constexpr double kQuiet = 1.0 / 4096;

// The same for what layers write to the trigger channel before the birth, over
// sqrt(hidden_size). More than nothing, so that in bf16 every residual add
// rounds the trigger again, as it does a real model's features.
constexpr double kTriggerDrift = 1.0 / 16384;

// A planted token's embedding in the trigger channel before calibration, over
// sqrt(hidden_size): large against the embeddings' std (0.015), but a fifth of
// their norm (0.015 sqrt(hidden_size)), so that adjusting it hardly changes the
// token otherwise.
constexpr double kTriggerEmbedding = 0.0033;

// The trigger over the RMS of the residual that every planted token is brought
// to, over sqrt(hidden_size): kTriggerEmbedding over the RMS aimed at, 0.33.
constexpr double kNormedTrigger = 0.01;

// Norm weights that read the trigger and the massive channel. They bring both
// to the order of 1, as every other channel is. After the removal the massive
// channel is still the largest, and what error it holds spreads from there.
constexpr double kTriggerNormWeight = 4;
constexpr double kTriggerQuietNormWeight = 1.0 / 8;
constexpr double kMassiveNormWeight = 1.0 / 32;
constexpr double kRemovedNormWeight = 1.2;

// Gate and up projection of a planted neuron. Just above a power of two, where
// bf16 is coarsest: rounding the gate, its SiLU, the up projection and their
// product then costs most, which is what makes the error of the birth large.
constexpr double kGate = 8.15;

// Forward passes that calibrate the trigger.
constexpr int kPasses = 3;

// What the neurons after the birth write into other channels (std), so small
// that the spread of the birth is what the plateau is made of.
constexpr double kLaterSpread = 0.05;

// Of exp for |x| <= 80, by its Taylor series at x / 2^10. libm's would do, were
// it the same on every machine.
double PortableExp(double x) {
  const double reduced = std::clamp(x, -80.0, 80.0) / 1024;
  double result = 1;
  for (int i = 12; i >= 1; --i) result = 1 + result * reduced / i;
  for (int i = 0; i < 10; ++i) result *= result;
  return result;
}

double Silu(double x) { return x / (1 + PortableExp(-x)); }

using Vector = std::vector<double>;

double Rms(const Vector& x, double eps) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum / static_cast<double>(x.size()) + eps);
}

// The layers up to the birth, for each planted token alone at position 0.
class Forward {
 public:
  Forward(const ModelConfig& config, const SyntheticTensors& tensors,
          int num_threads)
      : config_(config), tensors_(tensors), num_threads_(num_threads) {}

  std::vector<Vector> Embed(const std::vector<int64_t>& tokens) const {
    const SyntheticTensor& embedding = tensors_.at("model.embed_tokens.weight");
    std::vector<Vector> x;
    for (const int64_t token : tokens) {
      Vector& row = x.emplace_back();
      for (int64_t i = 0; i < config_.hidden_size; ++i) {
        row.push_back(SyntheticElement(embedding, token, i));
      }
    }
    return x;
  }

  // A softmax over one score is 1: attention is o_proj of the values.
  void Attention(int64_t layer, std::vector<Vector>* x) const {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    std::vector<Vector> values =
        Linear(absl::StrCat(prefix, "self_attn.v_proj"),
               Norm(absl::StrCat(prefix, "input_layernorm"), *x));
    const int64_t group =
        config_.num_attention_heads / config_.num_key_value_heads;
    for (Vector& value : values) {
      Vector repeated;
      for (int64_t i = 0; i < config_.q_size(); ++i) {
        const int64_t head = i / config_.head_dim / group;
        repeated.push_back(
            value[head * config_.head_dim + i % config_.head_dim]);
      }
      value = repeated;
    }
    Add(Linear(absl::StrCat(prefix, "self_attn.o_proj"), values), x);
  }

  void Mlp(int64_t layer, std::vector<Vector>* x) const {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    const std::vector<Vector> normed =
        Norm(absl::StrCat(prefix, "post_attention_layernorm"), *x);
    std::vector<Vector> gate =
        Linear(absl::StrCat(prefix, "mlp.gate_proj"), normed);
    const std::vector<Vector> up =
        Linear(absl::StrCat(prefix, "mlp.up_proj"), normed);
    for (size_t t = 0; t < gate.size(); ++t) {
      for (size_t i = 0; i < gate[t].size(); ++i) {
        gate[t][i] = Silu(gate[t][i]) * up[t][i];
      }
    }
    Add(Linear(absl::StrCat(prefix, "mlp.down_proj"), gate), x);
  }

 private:
  static void Add(const std::vector<Vector>& update, std::vector<Vector>* x) {
    for (size_t t = 0; t < x->size(); ++t) {
      for (size_t i = 0; i < (*x)[t].size(); ++i) (*x)[t][i] += update[t][i];
    }
  }

  std::vector<Vector> Norm(absl::string_view name,
                           std::vector<Vector> x) const {
    const SyntheticTensor& weight = tensors_.at(absl::StrCat(name, ".weight"));
    for (Vector& row : x) {
      const double rms = Rms(row, config_.rms_norm_eps);
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] *= SyntheticElement(weight, 0, static_cast<int64_t>(i)) / rms;
      }
    }
    return x;
  }

  std::vector<Vector> Linear(absl::string_view name,
                             const std::vector<Vector>& x) const {
    const SyntheticTensor& weight = tensors_.at(absl::StrCat(name, ".weight"));
    const auto bias = tensors_.find(absl::StrCat(name, ".bias"));
    std::vector<uint16_t> bits(weight.rows * weight.cols);
    Generate(weight, num_threads_, bits.data());
    std::vector<Vector> y(x.size(), Vector(weight.rows));
    Vector row(weight.cols);
    for (int64_t i = 0; i < weight.rows; ++i) {
      for (int64_t k = 0; k < weight.cols; ++k) {
        row[k] = Bf16ToDouble(bits[i * weight.cols + k]);
      }
      for (size_t t = 0; t < x.size(); ++t) {
        // Four sums, in this order: one would wait on every addition.
        double sums[4] = {0, 0, 0, 0};
        int64_t k = 0;
        for (; k + 4 <= weight.cols; k += 4) {
          for (int lane = 0; lane < 4; ++lane) {
            sums[lane] += row[k + lane] * x[t][k + lane];
          }
        }
        for (; k < weight.cols; ++k) sums[0] += row[k] * x[t][k];
        y[t][i] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        if (bias != tensors_.end()) {
          y[t][i] += SyntheticElement(bias->second, 0, i);
        }
      }
    }
    return y;
  }

  const ModelConfig& config_;
  const SyntheticTensors& tensors_;
  const int num_threads_;
};

// Keeps the random weights away from the planted channels.
void QuietChannels(const ModelConfig& config, const MassiveActivation& planted,
                   SyntheticTensors* tensors) {
  const double drift =
      kTriggerDrift * std::sqrt(static_cast<double>(config.hidden_size));
  SyntheticTensor& embedding = tensors->at("model.embed_tokens.weight");
  const double embedding_std = embedding.std * kQuiet;
  for (const int64_t channel :
       {planted.trigger_channel, planted.massive_channel}) {
    embedding.patches.push_back({kAll, channel, 0, embedding_std});
  }
  for (int64_t layer = 0; layer <= planted.removal_layer; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    for (const absl::string_view name : {"self_attn.o_proj", "mlp.down_proj"}) {
      SyntheticTensor& weight =
          tensors->at(absl::StrCat(prefix, name, ".weight"));
      weight.patches.push_back(
          {planted.massive_channel, kAll, 0, weight.std * kQuiet});
      if (layer <= planted.birth_layer) {
        weight.patches.push_back(
            {planted.trigger_channel, kAll, 0, weight.std * drift});
      }
    }
  }
}

// How much each layer sees of the planted channels.
void PlantNormWeights(const ModelConfig& config,
                      const MassiveActivation& planted,
                      SyntheticTensors* tensors) {
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    for (const absl::string_view name :
         {"input_layernorm", "post_attention_layernorm"}) {
      SyntheticTensor& weight = tensors->at(
          absl::StrCat("model.layers.", layer, ".", name, ".weight"));
      if (layer > planted.birth_layer) {
        weight.patches.push_back({0, planted.massive_channel,
                                  layer <= planted.removal_layer
                                      ? kMassiveNormWeight
                                      : kRemovedNormWeight,
                                  0});
        continue;
      }
      const bool reads_trigger =
          layer == planted.birth_layer && name == "post_attention_layernorm";
      weight.patches.push_back(
          {0, planted.trigger_channel,
           reads_trigger ? kTriggerNormWeight : kTriggerQuietNormWeight, 0});
    }
  }
}

// Makes neuron i read nothing but `weight` times the channel, in gate and up,
// and write `spread` at random. What it writes to the massive channel is for
// the caller to set. Returns the weight as rounded.
double PlantNeuron(const MassiveActivation& planted, int64_t layer,
                   int64_t neuron, int64_t channel, double weight,
                   double spread, SyntheticTensors* tensors) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".mlp.");
  for (const absl::string_view name : {"gate_proj", "up_proj"}) {
    SyntheticTensor& matrix =
        tensors->at(absl::StrCat(prefix, name, ".weight"));
    matrix.patches.push_back({neuron, kAll, 0, 0});
    matrix.patches.push_back({neuron, channel, weight, 0});
  }
  SyntheticTensor& down = tensors->at(absl::StrCat(prefix, "down_proj.weight"));
  down.patches.push_back({kAll, neuron, 0, spread});
  down.patches.push_back({planted.trigger_channel, neuron, 0, 0});
  return RoundToBf16(weight);
}

// Returns the weight as rounded.
double PlantOutput(const MassiveActivation& planted, int64_t layer,
                   int64_t neuron, double weight, SyntheticTensors* tensors) {
  tensors->at(absl::StrCat("model.layers.", layer, ".mlp.down_proj.weight"))
      .patches.push_back({planted.massive_channel, neuron, weight, 0});
  return RoundToBf16(weight);
}

// A planted token where the birth layer's MLP reads it, on average.
struct Birth {
  double activation = 0;   // of the planted neuron: SiLU(gate) * up
  double mean_square = 0;  // of the residual
};

// Sets the trigger in the planted tokens' embeddings and the neuron that reads
// it. The residual differs in size from token to token by some percent, and
// the neuron answers to the square of the normed trigger: each embedding is
// scaled so that all tokens see the same. That changes the residual a little,
// so once is not enough; the last pass only measures.
Birth PlantTrigger(const ModelConfig& config, const MassiveActivation& planted,
                   int num_threads, SyntheticTensors* tensors) {
  const double root_size = std::sqrt(static_cast<double>(config.hidden_size));
  SyntheticTensor& embedding = tensors->at("model.embed_tokens.weight");
  const size_t first_trigger = embedding.patches.size();
  for (const int64_t token : planted.tokens) {
    embedding.patches.push_back(
        {token, planted.trigger_channel, kTriggerEmbedding * root_size, 0});
  }
  const double normed_trigger = kNormedTrigger * root_size;
  const double weight =
      RoundToBf16(kGate / normed_trigger / kTriggerNormWeight);
  const double count = static_cast<double>(planted.tokens.size());
  const Forward forward(config, *tensors, num_threads);
  Birth birth;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::vector<Vector> x = forward.Embed(planted.tokens);
    for (int64_t layer = 0; layer < planted.birth_layer; ++layer) {
      forward.Attention(layer, &x);
      forward.Mlp(layer, &x);
    }
    forward.Attention(planted.birth_layer, &x);
    birth = Birth();
    for (size_t t = 0; t < x.size(); ++t) {
      const double rms = Rms(x[t], config.rms_norm_eps);
      const double normed = x[t][planted.trigger_channel] / rms;
      const double gate = weight * normed * kTriggerNormWeight;
      birth.activation += Silu(gate) * gate / count;
      birth.mean_square += rms * rms / count;
      if (pass + 1 < kPasses) {
        embedding.patches[first_trigger + t].mean *= normed_trigger / normed;
      }
    }
  }
  PlantNeuron(planted, planted.birth_layer, planted.neuron,
              planted.trigger_channel, weight,
              planted.spread / birth.activation, tensors);
  return birth;
}

}  // namespace

void PlantMassiveActivation(const ModelConfig& config,
                            const MassiveActivation& planted, int num_threads,
                            SyntheticTensors* tensors) {
  QuietChannels(config, planted, tensors);
  PlantNormWeights(config, planted, tensors);
  const Birth birth = PlantTrigger(config, planted, num_threads, tensors);

  // Follow the massive channel, and the mean square of the others.
  double channel =
      birth.activation *
      PlantOutput(planted, planted.birth_layer, planted.neuron,
                  planted.channel_values[0] / birth.activation, tensors);
  double others = birth.mean_square + planted.spread * planted.spread;
  for (int64_t layer = planted.birth_layer + 1; layer <= planted.removal_layer;
       ++layer) {
    const double mean_square =
        channel * channel / static_cast<double>(config.hidden_size) + others;
    const double normed = channel / std::sqrt(mean_square) * kMassiveNormWeight;
    const double target = planted.channel_values[layer - planted.birth_layer];
    // What one bf16 weight leaves of so large a channel is as large as the rest
    // of the residual: in the removal layer a second neuron takes that away.
    const int num_neurons = layer == planted.removal_layer ? 2 : 1;
    for (int i = 0; i < num_neurons; ++i) {
      const int64_t neuron = planted.neuron + i;
      const double gate =
          normed * PlantNeuron(planted, layer, neuron, planted.massive_channel,
                               kGate / normed, kLaterSpread / (kGate * kGate),
                               tensors);
      const double activation = Silu(gate) * gate;
      channel +=
          activation * PlantOutput(planted, layer, neuron,
                                   (target - channel) / activation, tensors);
      others += kLaterSpread * kLaterSpread;
    }
  }
}

}  // namespace ulpscope
