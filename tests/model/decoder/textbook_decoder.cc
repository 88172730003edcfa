#include "tests/model/decoder/textbook_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/format.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "tests/kernels/ops/stored_textbook.h"
#include "tests/kernels/ops/textbook.h"

namespace ulpscope {
namespace {

using Row = std::vector<double>;

double BF16(double x) { return Rounded(Format::kBF16, x); }

class TextbookDecoder {
 public:
  TextbookDecoder(const Weights& weights, const Variant& variant,
                  absl::string_view kv)
      : w_(weights),
        c_(weights.config),
        v_(variant),
        kv_(kv),
        head_dim_(static_cast<size_t>(c_.head_dim)),
        heads_(static_cast<size_t>(c_.num_attention_heads)),
        kv_heads_(static_cast<size_t>(c_.num_key_value_heads)) {}

  TextbookOutputs Run(absl::Span<const int32_t> tokens) {
    std::vector<Row> stream;
    for (const int32_t token : tokens) {
      Row row(static_cast<size_t>(c_.hidden_size));
      w_.embed.CopyRow(static_cast<size_t>(token), row.data());
      Keep(0, Op::kEmbed, stream.size(), row);
      stream.push_back(row);
    }
    for (size_t layer = 1; layer <= w_.layers.size(); ++layer) {
      Attention(layer, stream);
      for (size_t p = 0; p < stream.size(); ++p) Mlp(layer, p, stream[p]);
    }
    const bool embedding = v_.head_is_embedding || c_.tie_word_embeddings;
    for (size_t p = 0; p < stream.size(); ++p) {
      Row x = stream[p];
      if (!v_.without_final_norm) x = Norm(x, w_.final_norm);
      Keep(0, Op::kFinalNorm, p, x);
      Keep(0, Op::kLmHead, p, Linear(embedding ? w_.embed : w_.lm_head, {}, x));
    }
    return outputs_;
  }

 private:
  void Keep(size_t layer, Op op, size_t position, const Row& row) {
    outputs_[{layer, op, position}] = row;
  }

  static Row Linear(const Panels& matrix, const Row& bias, const Row& x) {
    Row y(matrix.view().n);
    Row weights(x.size());
    for (size_t j = 0; j < y.size(); ++j) {
      matrix.CopyRow(j, weights.data());
      for (size_t i = 0; i < x.size(); ++i) y[j] += weights[i] * x[i];
      if (!bias.empty()) y[j] += bias[j];
    }
    return y;
  }

  Row Norm(const Row& x, const Row& weight) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double eps = v_.norm_eps >= 0 ? v_.norm_eps : c_.rms_norm_eps;
    const double rms = std::sqrt(squares / static_cast<double>(x.size()) + eps);
    Row y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double w = v_.norm_weight_plus_one ? weight[i] + 1 : weight[i];
      y[i] = x[i] / rms * w;
    }
    return y;
  }

  Row HeadNorms(const Row& x, const Row& weight) const {
    Row y;
    for (size_t h = 0; h < x.size() / head_dim_; ++h) {
      const Row head(x.begin() + static_cast<int64_t>(h * head_dim_),
                     x.begin() + static_cast<int64_t>((h + 1) * head_dim_));
      const Row normed = Norm(head, weight);
      y.insert(y.end(), normed.begin(), normed.end());
    }
    return y;
  }

  // theta^(-2i / head_dim) times the position. Of configs without rope_scaling.
  double Angle(size_t i, double position) const {
    const double theta = v_.rope_theta != 0 ? v_.rope_theta : c_.rope_theta;
    double frequency = std::pow(
        theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_));
    switch (v_.rope_rounding) {
      case RopeRounding::kNone:
      case RopeRounding::kCosinesBF16:
        return position * frequency;
      case RopeRounding::kFrequenciesBF16:
        return position * BF16(frequency);
      case RopeRounding::kAnglesBF16:
        return BF16(position * BF16(frequency));
    }
    return 0;
  }

  Row Rope(Row x, double position) const {
    const bool rounded = v_.rope_rounding == RopeRounding::kCosinesBF16 ||
                         v_.rope_rounding == RopeRounding::kAnglesBF16;
    for (size_t start = 0; start < x.size(); start += head_dim_) {
      for (size_t i = 0; i < head_dim_ / 2; ++i) {
        const double angle = Angle(i, position);
        const double cosine = rounded ? BF16(std::cos(angle)) : std::cos(angle);
        const double sine = rounded ? BF16(std::sin(angle)) : std::sin(angle);
        const bool halves = v_.rope_pairs == RopePairs::kHalves;
        double& a = x[start + (halves ? i : 2 * i)];
        double& b = x[start + (halves ? i + head_dim_ / 2 : 2 * i + 1)];
        const double rotated = a * cosine - b * sine;
        b = b * cosine + a * sine;
        a = rotated;
      }
    }
    return x;
  }

  Row Softmax(Row x) const {
    double sum = 0;
    if (v_.softmax == SoftmaxForm::kF16WithoutMax) {
      for (double& value : x) {
        value = TextbookF16(std::exp(TextbookF16(value)));
        sum = TextbookF16(sum + value);
      }
      for (double& value : x) value = TextbookF16(value / sum);
      return x;
    }
    const double max = *std::max_element(x.begin(), x.end());
    for (double& value : x) sum += value = std::exp(value - max);
    for (double& value : x) value /= sum;
    return x;
  }

  Row Stored(const Row& x) const {
    Row y;
    for (size_t start = 0; start < x.size(); start += head_dim_) {
      const Row head =
          TextbookStored(kv_, absl::MakeConstSpan(x).subspan(start, head_dim_));
      y.insert(y.end(), head.begin(), head.end());
    }
    return y;
  }

  void Attention(size_t layer, std::vector<Row>& stream) {
    const LayerWeights& w = w_.layers[layer - 1];
    const Row no_bias;
    const bool biased = !v_.without_qkv_bias;
    const size_t n = stream.size();
    std::vector<Row> qs, ks, vs;
    for (size_t p = 0; p < n; ++p) {
      const Row x = Norm(stream[p], w.input_norm);
      Keep(layer, Op::kInputNorm, p, x);
      Row q = Linear(w.q_proj, biased ? w.q_bias : no_bias, x);
      Row k = Linear(w.k_proj, biased ? w.k_bias : no_bias, x);
      const Row v = Linear(w.v_proj, biased ? w.v_bias : no_bias, x);
      Keep(layer, Op::kQProj, p, q);
      Keep(layer, Op::kKProj, p, k);
      Keep(layer, Op::kVProj, p, v);
      const auto norm_heads = [&] {
        if (v_.qk_norm != QkNorm::kMissing) {
          q = HeadNorms(q, w.q_norm);
          k = HeadNorms(k, w.k_norm);
        }
        Keep(layer, Op::kQNorm, p, q);
        Keep(layer, Op::kKNorm, p, k);
      };
      if (c_.qk_norm && v_.qk_norm != QkNorm::kAfterRope) norm_heads();
      const double position = static_cast<double>(p);
      q = Rope(q, position + static_cast<double>(v_.q_position_offset));
      k = Rope(k, position + static_cast<double>(v_.k_position_offset));
      Row both = q;
      both.insert(both.end(), k.begin(), k.end());
      Keep(layer, Op::kRope, p, both);
      if (c_.qk_norm && v_.qk_norm == QkNorm::kAfterRope) norm_heads();
      qs.push_back(q);
      ks.push_back(Stored(k));
      vs.push_back(Stored(v));
      Keep(layer, Op::kKvK, p, ks.back());
      Keep(layer, Op::kKvV, p, vs.back());
    }
    const double scale = v_.attention_scale != 0
                             ? v_.attention_scale
                             : 1 / std::sqrt(static_cast<double>(head_dim_));
    for (size_t p = 0; p < n; ++p) {
      Row all_scores, all_weights, attended;
      for (size_t h = 0; h < heads_; ++h) {
        const size_t kv = v_.kv_heads == KvHeads::kTiled
                              ? h % kv_heads_
                              : h / (heads_ / kv_heads_);
        Row scores(v_.causal ? p + 1 : n);
        for (size_t j = 0; j < scores.size(); ++j) {
          for (size_t d = 0; d < head_dim_; ++d) {
            scores[j] += qs[p][h * head_dim_ + d] * ks[j][kv * head_dim_ + d];
          }
          scores[j] *= scale;
        }
        const Row weights = Softmax(scores);
        Row sums(head_dim_);
        for (size_t j = 0; j < weights.size(); ++j) {
          for (size_t d = 0; d < head_dim_; ++d) {
            sums[d] += weights[j] * vs[j][kv * head_dim_ + d];
          }
        }
        all_scores.insert(all_scores.end(), scores.begin(), scores.end());
        all_weights.insert(all_weights.end(), weights.begin(), weights.end());
        attended.insert(attended.end(), sums.begin(), sums.end());
      }
      Keep(layer, Op::kQk, p, all_scores);
      Keep(layer, Op::kSoftmax, p, all_weights);
      Keep(layer, Op::kAv, p, attended);
      const Row update = Linear(w.o_proj, w.o_bias, attended);
      Keep(layer, Op::kOProj, p, update);
      Add(update, stream[p]);
      Keep(layer, Op::kAttnResidual, p, stream[p]);
    }
  }

  static void Add(const Row& update, Row& stream) {
    for (size_t i = 0; i < stream.size(); ++i) stream[i] += update[i];
  }

  double Activated(double x) const {
    const double pi = std::acos(-1.0);
    switch (v_.activation) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kGelu:  // x Phi(x)
        return x * std::erfc(-x / std::sqrt(2.0)) / 2;
      case Activation::kGeluTanh:
        return x / 2 *
               (1 +
                std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * std::pow(x, 3))));
    }
    return 0;
  }

  void Mlp(size_t layer, size_t p, Row& stream) {
    const LayerWeights& w = w_.layers[layer - 1];
    const Row x = Norm(stream, w.post_norm);
    Keep(layer, Op::kPostNorm, p, x);
    const Row gate = Linear(w.gate_proj, w.gate_bias, x);
    const Row up = Linear(w.up_proj, w.up_bias, x);
    Keep(layer, Op::kGateProj, p, gate);
    Keep(layer, Op::kUpProj, p, up);
    Row act(gate.size());
    for (size_t i = 0; i < act.size(); ++i) {
      act[i] = v_.gate_and_up_swapped ? Activated(up[i]) * gate[i]
                                      : Activated(gate[i]) * up[i];
    }
    Keep(layer, Op::kSwiGlu, p, act);
    const Row update = Linear(w.down_proj, w.down_bias, act);
    Keep(layer, Op::kDownProj, p, update);
    Add(update, stream);
    Keep(layer, Op::kMlpResidual, p, stream);
  }

  const Weights& w_;
  const ModelConfig& c_;
  const Variant& v_;
  const absl::string_view kv_;
  const size_t head_dim_, heads_, kv_heads_;
  TextbookOutputs outputs_;
};

}  // namespace

TextbookOutputs TextbookDecode(const Weights& weights,
                               absl::Span<const int32_t> tokens,
                               const Variant& variant, absl::string_view kv) {
  return TextbookDecoder(weights, variant, kv).Run(tokens);
}

// 11 bits of precision down to 2^-14, then multiples of 2^-24.
double TextbookF16(double x) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), -14);
  const double spacing = std::ldexp(1.0, exponent - 10);
  const double rounded = std::nearbyint(x / spacing) * spacing;
  if (std::fabs(rounded) < 0x1p16) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

}  // namespace ulpscope
