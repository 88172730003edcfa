#include "explorer/diagnosis/hypotheses.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/rounded_tensors.h"

namespace ulpscope {
namespace {

using Edit = std::function<void(Variant&)>;

// The order of `rows` rows, of heads of `width`, in which neighbours are what
// channels half a head apart were.
std::vector<int32_t> NeighboursOfHalves(int64_t rows, int64_t width) {
  std::vector<int32_t> order;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t in_head = i % width;
    order.push_back(static_cast<int32_t>(
        i - in_head + in_head % 2 * (width / 2) + in_head / 2));
  }
  return order;
}

std::vector<int32_t> Inverse(const std::vector<int32_t>& order) {
  std::vector<int32_t> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    inverse[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  }
  return inverse;
}

class Catalogue {
 public:
  Catalogue(const ModelConfig& config, const Plan& arithmetic)
      : config_(config), arithmetic_(arithmetic) {}

  std::vector<Hypothesis> Take() {
    Rope();
    RopeScaling();
    Rows();
    Norms();
    Attention();
    Biases();
    Mlp();
    Head();
    Roundings();
    StoredWeights();
    return std::move(all_);
  }

 private:
  void Add(std::string id, std::string what, std::string advice, Edit edit) {
    Hypothesis h;
    h.id = std::move(id);
    h.what = std::move(what);
    h.advice = std::move(advice);
    h.variant = std::move(edit);
    all_.push_back(std::move(h));
  }

  void Rope() {
    Add("rope_neighbours",
        "RoPE rotates neighbouring channels (2i, 2i + 1) instead of halves (i, "
        "i + head_dim / 2)",
        "use the rotate-half form, or permute the rows of q_proj and k_proj "
        "when the weights are converted",
        [](Variant& v) { v.rope_pairs = RopePairs::kNeighbours; });
    for (const double theta :
         {1e4, 1e5, 1.5e5, 2.5e5, 3e5, 5e5, 1e6, 5e6, 1e7}) {
      if (theta == config_.rope_theta) continue;
      Add(absl::StrFormat("rope_theta_%.0f", theta),
          absl::StrFormat("RoPE's theta is %.0f, config.json says %.0f", theta,
                          config_.rope_theta),
          "read rope_theta from the checkpoint",
          [theta](Variant& v) { v.rope_theta = theta; });
    }
    for (const int offset : {1, -1}) {
      const char* const sign = offset > 0 ? "plus" : "minus";
      Add(absl::StrCat("positions_", sign, "_one"),
          absl::StrCat("positions of RoPE are ",
                       offset > 0 ? "1 too large" : "1 too small"),
          "count positions from 0; scores do not change, but a cache that "
          "mixes both does",
          [offset](Variant& v) {
            v.q_position_offset = v.k_position_offset = offset;
          });
      Add(absl::StrCat("query_positions_", sign, "_one"),
          absl::StrCat("queries are rotated as if at a position ",
                       offset > 0 ? "1 later" : "1 earlier",
                       " than their keys'"),
          "rotate the query and the key of a token by the same position",
          [offset](Variant& v) { v.q_position_offset = offset; });
    }
    Add("rope_angles_bf16",
        "RoPE's frequencies, angles and cosines are computed in bf16",
        "compute position * frequency and its cosine in f32",
        [](Variant& v) { v.rope_rounding = RopeRounding::kAnglesBF16; });
    Add("rope_frequencies_bf16",
        "RoPE's frequencies (inv_freq) are rounded to bf16, as when a whole "
        "model is cast",
        "keep inv_freq in f32",
        [](Variant& v) { v.rope_rounding = RopeRounding::kFrequenciesBF16; });
    if (arithmetic_.Get(1, Op::kRope).info().operand != Format::kBF16) {
      Add("rope_cosines_bf16", "RoPE's cosines and sines are rounded to bf16",
          "keep them in f32",
          [](Variant& v) { v.rope_rounding = RopeRounding::kCosinesBF16; });
    }
  }

  // What config.json scales RoPE by.
  void RopeScaling() {
    const char* const type = config_.llama3_rope_scaling         ? "llama3"
                             : !config_.rope_divisors.empty()    ? "llama3"
                             : config_.yarn_rope_scaling         ? "yarn"
                             : config_.rope_linear_factor != 1.0 ? "linear"
                                                                 : nullptr;
    if (type == nullptr) return;
    Add(absl::StrCat("rope_scaling_", type, "_ignored"),
        absl::StrCat("RoPE's frequencies are those of rope_theta alone: the "
                     "rope_scaling of type ",
                     type, " that the checkpoint has is not applied"),
        "apply rope_scaling to the frequencies (and of yarn, attention_factor "
        "to cosines and sines)",
        [](Variant& v) {
          v.without_rope_scaling = true;
          v.without_rope_attention_factor = true;
        });
    if (config_.yarn_rope_scaling &&
        config_.yarn_rope_scaling->attention_factor != 1) {
      Add("rope_scaling_yarn_frequencies_ignored",
          "RoPE's frequencies are those of rope_theta alone, though cosines "
          "and sines are multiplied by yarn's attention_factor",
          "apply rope_scaling to the frequencies, too",
          [](Variant& v) { v.without_rope_scaling = true; });
      Add("rope_scaling_attention_factor_ignored",
          absl::StrFormat("cosines and sines are not multiplied by yarn's "
                          "attention_factor, %.4g",
                          config_.yarn_rope_scaling->attention_factor),
          "multiply them by it",
          [](Variant& v) { v.without_rope_attention_factor = true; });
    }
  }

  // Orders of the rows of q_proj and k_proj. Llama's own are such that RoPE
  // rotates neighbours; Hugging Face's converter turns them into halves, and
  // llama.cpp's turns them back.
  void Rows() {
    const int64_t q = config_.q_size(), k = config_.kv_size();
    const int64_t width = config_.head_dim;
    const int64_t as_q = k / config_.num_attention_heads;  // of wrong heads
    const bool may_be_wrong =
        config_.num_attention_heads != config_.num_key_value_heads &&
        k % config_.num_attention_heads == 0 && as_q % 2 == 0;
    const auto q_neighbours = NeighboursOfHalves(q, width);
    const auto k_neighbours = NeighboursOfHalves(k, width);
    AddRows("qk_rows_neighbours",
            "rows of q_proj and k_proj are in the order of neighbours, which "
            "RoPE then rotates: the same scores of the same model",
            "nothing is wrong: compare scores, or reorder the channels of each "
            "head of q_proj, k_proj and rope",
            [q_neighbours, k_neighbours](Variant& v) {
              v.q_rows = q_neighbours;
              v.k_rows = k_neighbours;
              v.rope_pairs = RopePairs::kNeighbours;
            });
    all_.back().kind = CauseKind::kComparison;
    all_.back().told_by = {Op::kQProj, Op::kKProj};
    AddRows("qk_rows_permuted",
            "rows of q_proj and k_proj are in the order of neighbours (as "
            "llama.cpp and Meta have Llama's), but RoPE rotates halves",
            "rotate neighbours, or leave the rows as Hugging Face stores them",
            [q_neighbours, k_neighbours](Variant& v) {
              v.q_rows = q_neighbours;
              v.k_rows = k_neighbours;
            });
    AddRows("qk_rows_unpermuted",
            "rows of q_proj and k_proj were brought from the order of "
            "neighbours to halves, in which the checkpoint has them already",
            "leave the rows as Hugging Face stores them",
            [q_halves = Inverse(q_neighbours),
             k_halves = Inverse(k_neighbours)](Variant& v) {
              v.q_rows = q_halves;
              v.k_rows = k_halves;
            });
    all_.back().told_by = {Op::kQProj, Op::kKProj};
    if (!may_be_wrong) return;
    const auto k_as_q = NeighboursOfHalves(k, as_q);
    const auto wrong = absl::StrFormat(
        "as if k_proj had %d heads, which are q_proj's; it has %d",
        config_.num_attention_heads, config_.num_key_value_heads);
    AddRows("k_rows_as_q_heads",
            absl::StrCat("rows of q_proj and k_proj are brought to the order "
                         "of neighbours, which RoPE rotates, but k_proj's ",
                         wrong),
            "permute the rows of k_proj by num_key_value_heads",
            [q_neighbours, k_as_q](Variant& v) {
              v.q_rows = q_neighbours;
              v.k_rows = k_as_q;
              v.rope_pairs = RopePairs::kNeighbours;
            });
    all_.back().begins_at = Op::kKProj;
    // Meta's rows, brought to halves by the wrong number of heads.
    std::vector<int32_t> k_back;
    for (const int32_t row : Inverse(k_as_q)) {
      k_back.push_back(k_neighbours[static_cast<size_t>(row)]);
    }
    AddRows("k_rows_from_q_heads",
            absl::StrCat("rows of k_proj are brought from the order of "
                         "neighbours to halves ",
                         wrong),
            "permute the rows of k_proj by num_key_value_heads",
            [k_back](Variant& v) { v.k_rows = k_back; });
    all_.back().told_by = {Op::kQProj, Op::kKProj};
  }

  // An entry that is tried only if something differs.
  void AddRows(std::string id, std::string what, std::string advice,
               Edit edit) {
    Add(std::move(id), std::move(what), std::move(advice), std::move(edit));
    all_.back().if_something_differs = true;
  }

  void AddBiases(std::string id, std::string of, std::set<Op> ops) {
    AddRows(std::move(id), absl::StrCat("the bias of ", of, " is missing"),
            "load and add it", [ops = std::move(ops)](Variant& v) {
              v.without_bias.insert(ops.begin(), ops.end());
            });
  }

  void Biases() {
    if (config_.qkv_bias) {
      AddBiases("q_bias_missing", "q_proj", {Op::kQProj});
      AddBiases("k_bias_missing", "k_proj", {Op::kKProj});
      AddBiases("v_bias_missing", "v_proj", {Op::kVProj});
    }
    if (config_.output_bias) {
      AddBiases("o_bias_missing", "o_proj", {Op::kOProj});
    }
    if (config_.mlp_bias) {
      AddBiases("mlp_bias_missing", "gate_proj, up_proj and down_proj",
                {Op::kGateProj, Op::kUpProj, Op::kDownProj});
    }
  }

  void Norms() {
    for (const double eps : {1e-5, 1e-6, 1e-8, 1e-12, 0.0}) {
      if (eps == config_.rms_norm_eps) continue;
      Add(eps == 0 ? "norm_eps_0"
                   : absl::StrFormat("norm_eps_1e%.0f", std::log10(eps)),
          absl::StrFormat("RMSNorm's eps is %g, config.json says %g", eps,
                          config_.rms_norm_eps),
          "read rms_norm_eps from the checkpoint",
          [eps](Variant& v) { v.norm_eps = eps; });
    }
    const Format result = arithmetic_.Get(1, Op::kInputNorm).info().result;
    if (UnitRoundoff(result) > UnitRoundoff(Format::kF32)) {
      Add("norm_weight_before_cast",
          "RMSNorm multiplies by its weight before the result is rounded, not "
          "after",
          "round the normalized values first, then multiply (Qwen's and "
          "Llama's order)",
          [](Variant& v) { v.norm_weight_before_cast = true; });
      // What a fused norm does: it rounds elsewhere, and computes the same.
      all_.back().kind = CauseKind::kArithmetic;
    }
    Add("norm_weight_plus_one", "RMSNorm multiplies by 1 + weight",
        "multiply by the weight itself (1 + weight is Gemma's)",
        [](Variant& v) { v.norm_weight_plus_one = true; });
    if (config_.qk_norm) {
      Add("qk_norm_missing", "queries and keys are not normalized",
          "apply q_norm and k_norm to each head before RoPE",
          [](Variant& v) { v.qk_norm = QkNorm::kMissing; });
      Add("qk_norm_after_rope",
          "queries and keys are normalized after RoPE, not before",
          "apply q_norm and k_norm before RoPE",
          [](Variant& v) { v.qk_norm = QkNorm::kAfterRope; });
    }
  }

  void Attention() {
    if (config_.qkv_bias) {
      Add("qkv_bias_missing",
          "the biases of q_proj, k_proj and v_proj are missing",
          "load and add them", [](Variant& v) {
            v.without_bias.insert({Op::kQProj, Op::kKProj, Op::kVProj});
          });
    }
    // With one KV head, or one query head each, both orders are the same.
    if (config_.num_key_value_heads > 1 &&
        config_.num_attention_heads > config_.num_key_value_heads) {
      Add("kv_heads_tiled",
          "KV heads are repeated one after the other (query head h reads KV "
          "head h % kv_heads)",
          "repeat each KV head in place (h / group), as repeat_interleave does",
          [](Variant& v) { v.kv_heads = KvHeads::kTiled; });
    }
    const double head_dim = static_cast<double>(config_.head_dim);
    const struct {
      const char* id;
      const char* what;
      double scale;
    } scales[] = {
        {"attention_scale_hidden", "1 / sqrt(hidden_size)",
         1 / std::sqrt(static_cast<double>(config_.hidden_size))},
        {"attention_scale_missing", "1", 1},
        {"attention_scale_head_dim", "1 / head_dim", 1 / head_dim},
    };
    for (const auto& s : scales) {
      if (s.scale == 1 / std::sqrt(head_dim)) continue;
      Add(s.id,
          absl::StrCat("scores are scaled by ", s.what,
                       ", not by 1 / sqrt(head_dim)"),
          "scale by 1 / sqrt(head_dim)",
          [scale = s.scale](Variant& v) { v.attention_scale = scale; });
    }
    Add("no_causal_mask", "attention has no causal mask",
        "mask scores of later positions", [](Variant& v) { v.causal = false; });
    Add("softmax_f16_without_max",
        "the softmax runs in f16 without subtracting the maximum",
        "subtract the row's maximum, and compute it in f32",
        [](Variant& v) { v.softmax = SoftmaxForm::kF16WithoutMax; });
  }

  void Mlp() {
    Add("gelu", "the MLP's activation is GELU (erf), not SiLU", "use SiLU",
        [](Variant& v) { v.activation = Activation::kGelu; });
    Add("gelu_tanh", "the MLP's activation is GELU (tanh form), not SiLU",
        "use SiLU", [](Variant& v) { v.activation = Activation::kGeluTanh; });
    Add("gate_up_swapped", "gate_proj and up_proj are swapped",
        "apply the activation to gate_proj's output",
        [](Variant& v) { v.gate_and_up_swapped = true; });
  }

  void Head() {
    Add("final_norm_missing",
        "the logits are of the residual stream, without the final norm",
        "apply model.norm before lm_head",
        [](Variant& v) { v.without_final_norm = true; });
    if (!config_.tie_word_embeddings) {
      Add("head_tied_wrongly",
          "lm_head is the embedding, the checkpoint has another lm_head.weight",
          "load lm_head.weight",
          [](Variant& v) { v.head_is_embedding = true; });
    }
  }

  // A group of ops under another strategy than the arithmetic's.
  void Roundings() {
    const struct {
      Kernel kernel;
      Op op;  // of the group
    } groups[] = {{Kernel::kMatMul, Op::kQProj},
                  {Kernel::kRmsNorm, Op::kInputNorm},
                  {Kernel::kSoftmax, Op::kSoftmax},
                  {Kernel::kElementwise, Op::kSwiGlu},
                  {Kernel::kResidual, Op::kMlpResidual}};
    for (const auto& group : groups) {
      const StrategyInfo& now = arithmetic_.Get(1, group.op).info();
      for (const char* name : {"f64", "f32", "f16", "bf16", "bf16_acc"}) {
        const auto strategy = FindStrategy(name, group.kernel);
        if (!strategy.ok() || strategy->name() == now.name) continue;
        const StrategyInfo& other = strategy->info();
        // Only matrices have sums long enough for a running sum in bf16 to be
        // another thing than a result in bf16.
        const bool acc = absl::string_view(name) == "bf16_acc";
        if (acc && group.kernel != Kernel::kMatMul) continue;
        Hypothesis h;
        h.kind = CauseKind::kArithmetic;
        h.plan_entry = absl::StrCat(KernelName(group.kernel), "=", name);
        h.id = absl::StrCat(KernelName(group.kernel), "_", name);
        h.coarser =
            acc || UnitRoundoff(other.result) > UnitRoundoff(now.result);
        h.what = absl::StrCat(KernelName(group.kernel), " ops run under `",
                              name, "`, the rest under `", now.name, "`");
        h.advice = absl::StrCat("run them under `", now.name, "` too");
        all_.push_back(std::move(h));
      }
    }
  }

  void StoredWeights() {
    const struct {
      const char* id;
      const char* name;
      WeightRounding rounding;
    } roundings[] = {{"weights_bf16", "bf16", WeightRounding::kBF16},
                     {"weights_f16", "f16", WeightRounding::kF16},
                     {"weights_q8_0", "Q8_0", WeightRounding::kQ8_0}};
    for (const auto& r : roundings) {
      Hypothesis h;
      h.id = r.id;
      h.kind = CauseKind::kArithmetic;
      h.what = absl::StrCat("the weights are rounded to ", r.name);
      h.advice = "compare with the checkpoint that was run, or run this one";
      h.weights = r.rounding;
      all_.push_back(std::move(h));
    }
  }

  const ModelConfig& config_;
  const Plan& arithmetic_;
  std::vector<Hypothesis> all_;
};

}  // namespace

void Apply(const Hypothesis& hypothesis, size_t num_layers, Variant& variant) {
  if (!hypothesis.variant && !hypothesis.by_layer) return;
  const bool in_some = hypothesis.by_layer || hypothesis.last_layer > 0;
  if (in_some && variant.layers.empty()) {
    const Variant everywhere = variant;
    variant.layers.assign(num_layers, everywhere);
  }
  if (!in_some) hypothesis.variant(variant);
  for (size_t layer = 1; layer <= variant.layers.size(); ++layer) {
    Variant& there = variant.layers[layer - 1];
    if (hypothesis.by_layer) {
      hypothesis.by_layer(layer, there);
    } else if (!in_some || (hypothesis.first_layer <= layer &&
                            layer <= hypothesis.last_layer)) {
      hypothesis.variant(there);
    }
  }
}

Hypothesis InLayers(const Hypothesis& hypothesis, size_t first_layer,
                    size_t last_layer) {
  Hypothesis in = hypothesis;
  in.first_layer = first_layer;
  in.last_layer = last_layer;
  absl::StrAppend(&in.id, "@", first_layer);
  if (last_layer > first_layer) absl::StrAppend(&in.id, "-", last_layer);
  absl::StrAppend(&in.what, ", in ", LayerRangeText(first_layer, last_layer),
                  " alone");
  return in;
}

std::vector<Hypothesis> CatalogueFor(const ModelConfig& config,
                                     const Plan& arithmetic) {
  return Catalogue(config, arithmetic).Take();
}

std::vector<Hypothesis> OtherFormatsOf(const Plan& arithmetic,
                                       const OpRange& range) {
  std::vector<Hypothesis> all;
  const StrategyInfo& now = arithmetic.Get(range.first_layer, range.op).info();
  std::string selector(OpName(range.op));
  std::string place = selector;
  if (IsPerLayer(range.op) &&
      (range.first_layer > 1 || range.last_layer < arithmetic.num_layers())) {
    absl::StrAppend(&selector, "@", range.first_layer);
    if (range.last_layer > range.first_layer) {
      absl::StrAppend(&selector, "-", range.last_layer);
    }
    absl::StrAppend(&place, " in ",
                    LayerRangeText(range.first_layer, range.last_layer));
  }
  const Strategy own = arithmetic.Get(range.first_layer, range.op);
  for (const char* name :
       {"f32", "f16", "bf16", "fp8", "int8", "q8_0", "q4_0"}) {
    const auto strategy = FindStrategy(name, OpKernel(range.op));
    if (!strategy.ok() || ComputeTheSame(range.op, *strategy, own)) continue;
    // Those beside the formats of every op are those of what is stored.
    const bool codes = strategy->info().kv_codes != KvCodes::kNone;
    if (codes && OpKernel(range.op) != Kernel::kKvCache) continue;
    Hypothesis h;
    h.kind = CauseKind::kArithmetic;
    h.plan_entry = absl::StrCat(selector, "=", name);
    h.id = absl::StrCat(selector, "_", name);
    h.coarser =
        UnitRoundoff(strategy->info().result) > UnitRoundoff(now.result) ||
        (codes && now.kv_codes == KvCodes::kNone);
    h.what = absl::StrCat(place, " runs under `", name, "`, the rest under `",
                          now.name, "`");
    h.advice = absl::StrCat("run it under `", now.name, "` too");
    all.push_back(std::move(h));
  }
  return all;
}

}  // namespace ulpscope
