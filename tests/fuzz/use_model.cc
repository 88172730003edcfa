#include "tests/fuzz/use_model.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/generate.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

// What a file of some kilobytes can fill.
bool IsSmall(const ModelConfig& config) {
  for (const int64_t n :
       {config.vocab_size, config.hidden_size, config.intermediate_size,
        config.q_size(), config.kv_size()}) {
    if (n > 512) return false;
  }
  return config.num_hidden_layers <= 4;
}

}  // namespace

void UseModel(const Checkpoint& model, const std::string& path) {
  const ModelConfig& config = model.config;
  Require(config.hidden_size > 0 && config.vocab_size > 0 &&
              config.head_dim > 0 && config.num_hidden_layers > 0,
          "a model without a size");
  static auto& parallel = *new Parallel(1);
  const auto weights =
      LoadWeights(model, parallel, [](size_t done, size_t total) {
        Require(done <= total, "more than all is loaded");
      });
  if (!weights.ok()) {
    if (absl::IsResourceExhausted(weights.status())) return;
    return RequireNames(weights.status(), path);
  }
  if (!IsSmall(config)) return;
  const auto generated = GenerateGreedily(
      *weights, Plan(weights->layers.size()), {0}, 1, parallel);
  if (!generated.ok()) return;  // NaN
  Require(generated->tokens.size() == 1 && generated->tokens[0] >= 0 &&
              generated->tokens[0] < config.vocab_size,
          "a token that the vocabulary has not");
}

}  // namespace ulpscope
