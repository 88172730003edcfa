#include "model/architecture/rope.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/architecture/config.h"

namespace ulpscope {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The pair, as a real number, that turns so often within the original context.
double PairOfTurns(double turns, const YarnRopeScaling& yarn,
                   const ModelConfig& config) {
  return static_cast<double>(config.head_dim) *
         std::log(yarn.original_max_position_embeddings / (turns * 2 * kPi)) /
         (2 * std::log(config.rope_theta));
}

void ScaleByYarn(const YarnRopeScaling& yarn, const ModelConfig& config,
                 std::vector<double>& frequencies) {
  double low = PairOfTurns(yarn.beta_fast, yarn, config);
  double high = PairOfTurns(yarn.beta_slow, yarn, config);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(config.head_dim - 1));
  if (low == high) high += 0.001;  // as transformers does
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp =
        std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] *= ramp / yarn.factor + (1 - ramp);
  }
}

}  // namespace

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) /
                                        static_cast<double>(config.head_dim));
    frequency /= config.rope_linear_factor;
    if (!config.rope_divisors.empty()) {
      frequency /= config.rope_divisors[static_cast<size_t>(i)];
    }
    if (config.llama3_rope_scaling) {
      const Llama3RopeScaling& scaling = *config.llama3_rope_scaling;
      // How often the pair turned within the original context.
      const double turns =
          scaling.original_max_position_embeddings * frequency / (2 * kPi);
      if (turns < scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (turns <= scaling.high_freq_factor) {
        const double smooth =
            (turns - scaling.low_freq_factor) /
            (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency *= (1 - smooth) / scaling.factor + smooth;
      }
    }
    frequencies.push_back(frequency);
  }
  if (config.yarn_rope_scaling) {
    ScaleByYarn(*config.yarn_rope_scaling, config, frequencies);
  }
  return frequencies;
}

double RopeAttentionFactor(const ModelConfig& config) {
  return config.yarn_rope_scaling ? config.yarn_rope_scaling->attention_factor
                                  : 1;
}

}  // namespace ulpscope
