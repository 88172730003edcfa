#include "model/trace/trace_names.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

struct NameRow {
  absl::string_view name;  // what follows "model.layers.{i}" for ops of layers
  Op op;
  bool is_k = false;
};

constexpr NameRow kLayerNames[] = {
    {".input_layernorm", Op::kInputNorm},
    {".self_attn.q_proj", Op::kQProj},
    {".self_attn.k_proj", Op::kKProj},
    {".self_attn.v_proj", Op::kVProj},
    {".self_attn.q_norm", Op::kQNorm},
    {".self_attn.k_norm", Op::kKNorm},
    {".self_attn.q_rope", Op::kRope},
    {".self_attn.k_rope", Op::kRope, true},
    {".self_attn.kv_k", Op::kKvK},
    {".self_attn.kv_v", Op::kKvV},
    {".self_attn.attention_scores", Op::kQk},
    {".self_attn.attention_weights", Op::kSoftmax},
    {".self_attn.o_proj.input", Op::kAv},
    {".self_attn.o_proj", Op::kOProj},
    {".post_attention_layernorm.input", Op::kAttnResidual},
    {".post_attention_layernorm", Op::kPostNorm},
    {".mlp.gate_proj", Op::kGateProj},
    {".mlp.up_proj", Op::kUpProj},
    {".mlp.down_proj.input", Op::kSwiGlu},
    {".mlp.down_proj", Op::kDownProj},
    {"", Op::kMlpResidual},
};

// The first name of an op is the one that is written.
constexpr NameRow kModelNames[] = {
    {"model.embed_tokens", Op::kEmbed},
    {"model.norm", Op::kFinalNorm},
    {"logits", Op::kLmHead},
    {"lm_head", Op::kLmHead},
    {"final_logits", Op::kLmHead},
    {"embed_tokens", Op::kEmbed},
    {"norm", Op::kFinalNorm},
    {"transformer.norm", Op::kFinalNorm},
    {"transformer.embed_tokens", Op::kEmbed},
};

constexpr absl::string_view kLayerPrefixes[] = {
    "model.layers.", "transformer.layers.", "layers."};

constexpr absl::string_view kStatePrefixes[] = {
    "hidden_states.", "hidden_states_", "after_layer_"};

// A number at the front of `text`, which it is taken from: digits without
// leading zeros, at most six of them.
std::optional<size_t> ConsumeNumber(absl::string_view* text) {
  size_t digits = 0;
  while (digits < text->size() && absl::ascii_isdigit((*text)[digits])) {
    ++digits;
  }
  if (digits == 0 || digits > 6 || (digits > 1 && text->front() == '0')) {
    return std::nullopt;
  }
  unsigned number = 0;
  if (!absl::SimpleAtoi(text->substr(0, digits), &number)) return std::nullopt;
  text->remove_prefix(digits);
  return number;
}

}  // namespace

std::optional<TraceName> ParseTraceName(absl::string_view name) {
  TraceName parsed;
  if (name == "input_ids") {
    parsed.kind = TraceName::Kind::kTokens;
    return parsed;
  }
  if (name == "after_embeddings") {
    parsed.kind = TraceName::Kind::kState;
    return parsed;
  }
  for (const absl::string_view prefix : kStatePrefixes) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, prefix)) continue;
    const std::optional<size_t> index = ConsumeNumber(&rest);
    if (!index || !rest.empty()) return std::nullopt;
    parsed.kind = TraceName::Kind::kState;
    parsed.state = *index;
    return parsed;
  }
  for (const NameRow& row : kModelNames) {
    if (name != row.name) continue;
    parsed.op = row.op;
    return parsed;
  }
  for (const absl::string_view prefix : kLayerPrefixes) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, prefix)) continue;
    const std::optional<size_t> layer = ConsumeNumber(&rest);
    if (!layer) return std::nullopt;
    for (const NameRow& row : kLayerNames) {
      if (rest != row.name) continue;
      parsed.layer = *layer + 1;
      parsed.op = row.op;
      parsed.is_k = row.is_k;
      return parsed;
    }
  }
  return std::nullopt;
}

std::vector<std::string> TraceNamesOf(size_t layer, Op op) {
  if (!IsPerLayer(op)) {
    for (const NameRow& row : kModelNames) {
      if (row.op == op) return {std::string(row.name)};
    }
    return {};
  }
  std::vector<std::string> names;
  for (const NameRow& row : kLayerNames) {
    if (row.op != op) continue;
    names.push_back(absl::StrCat("model.layers.", layer - 1, row.name));
  }
  return names;
}

std::string TraceNameText(const TraceName& name) {
  if (name.kind == TraceName::Kind::kTokens) return "input_ids";
  if (name.kind == TraceName::Kind::kState) return StateName(name.state);
  return TraceNamesOf(name.layer, name.op)[name.is_k ? 1 : 0];
}

std::string StateName(size_t index) {
  return absl::StrCat("hidden_states.", index);
}

}  // namespace ulpscope
