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
        whole_(variant),
        v_(variant.In(0)),
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
      v_ = whole_.In(layer);
      Attention(layer, stream);
      for (size_t p = 0; p < stream.size(); ++p) Mlp(layer, p, stream[p]);
    }
    v_ = whole_.In(0);
    const bool embedding = v_.head_is_embedding || c_.tie_word_embeddings;
    for (size_t p = 0; p < stream.size(); ++p) {
      Row x = stream[p];
      if (!v_.without_final_norm) x = Norm(x, w_.final_norm);
      Keep(0, Op::kFinalNorm, p, x);
      Keep(0, Op::kLmHead, p,
           Logits(Linear(embedding ? w_.embed : w_.lm_head, {}, x)));
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

  // A projection as the variant has it.
  Row Project(Op op, const Panels& matrix, const Row& stored_bias,
              const Row& x) const {
    const Row bias = v_.without_bias.count(op) > 0 ? Row() : stored_bias;
    Row y = Linear(matrix, bias, x);
    for (const OpScale& scale : v_.scales) {
      if (scale.op != op) continue;
      for (size_t i = 0; i < y.size(); ++i) {
        const double b = bias.empty() || scale.with_bias ? 0 : bias[i];
        y[i] = (y[i] - b) * scale.factor + b;
      }
    }
    if (op == Op::kQProj) y = InOrder(y, v_.q_rows);
    if (op == Op::kKProj) y = InOrder(y, v_.k_rows);
    return y;
  }

  static Row InOrder(const Row& x, const std::vector<int32_t>& order) {
    if (order.empty()) return x;
    Row y;
    for (const int32_t from : order) y.push_back(x[static_cast<size_t>(from)]);
    return y;
  }

  Row Logits(Row x) const {
    double sum = 0;
    for (double& value : x) {
      value *= v_.logits_scale;
      if (v_.logits_cap != 0) {
        value = v_.logits_cap * std::tanh(value / v_.logits_cap);
      }
      sum += std::exp(value);
    }
    if (!v_.log_softmax) return x;
    for (double& value : x) value -= std::log(sum);
    return x;
  }

  // How RoPE counts.
  static double Position(size_t p, const PositionsFrom& from) {
    double position = static_cast<double>(p);
    if (from.row > 0 && p >= from.row) {
      position = static_cast<double>(from.start);
      for (size_t r = from.row; r < p; ++r) {
        position += static_cast<double>(from.step);
      }
    }
    return position;
  }

  // Of a causal attention that has a mask.
  bool Sees(size_t p, size_t j) const {
    const KeyMask& mask = v_.mask;
    if (p >= mask.from_row && j < mask.first_key) return false;
    return j <= p || (p < mask.unmasked_rows && j < mask.unmasked_rows);
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

  // The weight is in the order of the first head's rows.
  Row HeadNorms(const Row& x, const Row& stored,
                const std::vector<int32_t>& rows) const {
    Row weight = stored;
    for (size_t i = 0; i < std::min(rows.size(), head_dim_); ++i) {
      weight[i] = stored[static_cast<size_t>(rows[i])];
    }
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
      case RopeRounding::kPositionsBF16:
        return BF16(position) * frequency;
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
    const size_t n = stream.size();
    std::vector<Row> qs, ks, vs;
    for (size_t p = 0; p < n; ++p) {
      const Row x = Norm(stream[p], w.input_norm);
      Keep(layer, Op::kInputNorm, p, x);
      Row q = Project(Op::kQProj, w.q_proj, w.q_bias, x);
      Row k = Project(Op::kKProj, w.k_proj, w.k_bias, x);
      const Row v = Project(Op::kVProj, w.v_proj, w.v_bias, x);
      Keep(layer, Op::kQProj, p, q);
      Keep(layer, Op::kKProj, p, k);
      Keep(layer, Op::kVProj, p, v);
      const auto norm_heads = [&] {
        if (v_.qk_norm != QkNorm::kMissing) {
          q = HeadNorms(q, w.q_norm, v_.q_rows);
          k = HeadNorms(k, w.k_norm, v_.k_rows);
        }
        Keep(layer, Op::kQNorm, p, q);
        Keep(layer, Op::kKNorm, p, k);
      };
      if (c_.qk_norm && v_.qk_norm != QkNorm::kAfterRope) norm_heads();
      q = Rope(q, Position(p, v_.q_positions) +
                      static_cast<double>(v_.q_position_offset));
      k = Rope(k, Position(p, v_.k_positions) +
                      static_cast<double>(v_.k_position_offset));
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
        Row scores(v_.causal ? std::max(p + 1, LastSeen(p, n)) : n);
        for (size_t j = 0; j < scores.size(); ++j) {
          for (size_t d = 0; d < head_dim_; ++d) {
            scores[j] += qs[p][h * head_dim_ + d] * ks[j][kv * head_dim_ + d];
          }
          scores[j] *= scale;
        }
        const Row weights = Softmax(Masked(p, scores));
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
      const Row update = Project(Op::kOProj, w.o_proj, w.o_bias, attended);
      Keep(layer, Op::kOProj, p, update);
      Add(update, stream[p]);
      Keep(layer, Op::kAttnResidual, p, stream[p]);
    }
  }

  // One after the last key that a causal row sees.
  size_t LastSeen(size_t p, size_t n) const {
    size_t last = 0;
    for (size_t j = 0; j < n; ++j) {
      if (Sees(p, j)) last = j + 1;
    }
    return last == 0 ? n : last;
  }

  Row Masked(size_t p, Row scores) const {
    if (!v_.causal) return scores;
    bool any = false;
    for (size_t j = 0; j < scores.size(); ++j) any = any || Sees(p, j);
    if (!any && v_.mask.unseeing == Unseeing::kUniform) {
      return Row(scores.size(), 1.0);
    }
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!Sees(p, j)) scores[j] = -std::numeric_limits<double>::infinity();
    }
    return scores;
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
    const Row gate = Project(Op::kGateProj, w.gate_proj, w.gate_bias, x);
    const Row up = Project(Op::kUpProj, w.up_proj, w.up_bias, x);
    Keep(layer, Op::kGateProj, p, gate);
    Keep(layer, Op::kUpProj, p, up);
    Row act(gate.size());
    for (size_t i = 0; i < act.size(); ++i) {
      act[i] = v_.gate_and_up_swapped ? Activated(up[i]) * gate[i]
                                      : Activated(gate[i]) * up[i];
    }
    Keep(layer, Op::kSwiGlu, p, act);
    const Row update = Project(Op::kDownProj, w.down_proj, w.down_bias, act);
    Keep(layer, Op::kDownProj, p, update);
    Add(update, stream);
    Keep(layer, Op::kMlpResidual, p, stream);
  }

  const Weights& w_;
  const ModelConfig& c_;
  const Variant& whole_;
  Variant v_;  // of the layer
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
