#ifndef MODEL_SYNTHETIC_SYNTHETIC_H_
#define MODEL_SYNTHETIC_SYNTHETIC_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/architecture/config.h"
#include "model/files/tensor.h"
#include "model/synthetic/massive_activation.h"

namespace ulpscope {

// Generated bf16 checkpoints, the same bytes on every machine:
//   seed        the shape of Qwen2.5-0.5B (Q/K/V biases, no QK-norm), and a
//               massive activation with the figures of the seed report
//   seed-qwen3  the same with QK-norm and no biases
//   tiny        a small `seed`, for tests
//   tiny-qwen3  a small `seed-qwen3` whose head_dim is not hidden / heads
// Names come without the "synthetic:" that OpenCheckpoint takes. An unknown
// name is a NotFound that lists them.
std::vector<absl::string_view> SyntheticNames();

absl::StatusOr<ModelConfig> SyntheticConfig(absl::string_view name);

// What is planted, and the residual's standard deviation after each layer. The
// first of its tokens is the seed report's 9707 where the vocabulary has it.
absl::StatusOr<MassiveActivation> SyntheticMassiveActivation(
    absl::string_view name);

// Holds no weights: opening computes the first layers for calibration, and
// Load generates the tensor, on up to four threads.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenSynthetic(
    absl::string_view name);

}  // namespace ulpscope

#endif  // MODEL_SYNTHETIC_SYNTHETIC_H_
