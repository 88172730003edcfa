#include "model/trace/kept_states.h"

#include <cstddef>

#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/measure/norms.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {
KeptStates::KeptStates(const ModelConfig& config)
    : hidden_size_(static_cast<size_t>(config.hidden_size)),
      vocab_size_(static_cast<size_t>(config.vocab_size)),
      states_(static_cast<size_t>(config.num_hidden_layers) + 1),
      cancellations_(states_.size()) {}

bool KeptStates::Keeps(Op op) {
  switch (op) {
    case Op::kEmbed:
    case Op::kOProj:
    case Op::kAttnResidual:
    case Op::kDownProj:
    case Op::kMlpResidual:
    case Op::kFinalNorm:
    case Op::kLmHead:
      return true;
    default:
      return false;
  }
}

void KeptStates::OnOutput(size_t layer, Op op, size_t /*first_position*/,
                          Matrix<const double> rows) {
  switch (op) {
    case Op::kEmbed:
      positions_ = rows.rows;
      states_[0] = Packed(rows);
      stream_norm_ = Norm2(rows);
      break;
    case Op::kOProj:
    case Op::kDownProj:
      update_norm_ = Norm2(rows);
      break;
    case Op::kAttnResidual:
    case Op::kMlpResidual: {
      const double norm = Norm2(rows);
      const double ratio = (stream_norm_ + update_norm_) / norm;
      stream_norm_ = norm;
      if (op == Op::kAttnResidual) {
        cancellations_[layer].attn = ratio;
      } else {
        cancellations_[layer].mlp = ratio;
        states_[layer] = Packed(rows);
      }
      break;
    }
    case Op::kFinalNorm:
      final_norm_ = Packed(rows);
      break;
    case Op::kLmHead:
      logits_ = Packed(rows);
      break;
    default:
      break;
  }
}

Matrix<const double> KeptStates::State(size_t layer) const {
  return {states_[layer].data(), positions_, hidden_size_};
}

Matrix<const double> KeptStates::FinalNorm() const {
  return {final_norm_.data(), positions_, hidden_size_};
}

Matrix<const double> KeptStates::Logits() const {
  return {logits_.data(), logits_.size() / vocab_size_, vocab_size_};
}

}  // namespace ulpscope
