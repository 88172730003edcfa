#include "model/trace/kept_states.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

double Norm2(Matrix<const double> m) {
  double sum = 0;
  for (size_t r = 0; r < m.rows; ++r) {
    for (size_t c = 0; c < m.cols; ++c) sum += m.Row(r)[c] * m.Row(r)[c];
  }
  return std::sqrt(sum);
}

void Copy(Matrix<const double> from, std::vector<double>& to) {
  to.clear();
  to.reserve(from.rows * from.cols);
  for (size_t r = 0; r < from.rows; ++r) {
    to.insert(to.end(), from.Row(r), from.Row(r) + from.cols);
  }
}

}  // namespace

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
      Copy(rows, states_[0]);
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
        Copy(rows, states_[layer]);
      }
      break;
    }
    case Op::kFinalNorm:
      Copy(rows, final_norm_);
      break;
    case Op::kLmHead:
      Copy(rows, logits_);
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
