#ifndef MODEL_ARCHITECTURE_PLAN_H_
#define MODEL_ARCHITECTURE_PLAN_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Raised when the oracle, or what a decoder computes beside its kernels (their
// order, RoPE's angles, what they read), gives other bits on purpose: the same
// as kKernelNumericsVersion of kernels/strategy/numerics_version.h.
inline constexpr int kOracleVersion = 1;

// A strategy for every (layer, op) of a decoder, and the form of every layer's
// attention.
//
// Layers are counted from 1, as in tables of hidden states, where state N is
// the output of layer N (Hugging Face's `model.layers.{N-1}`).
class Plan {
 public:
  // Every op under f32, attention eager.
  explicit Plan(size_t num_layers);

  // Reads "matmul=bf16,softmax=f32,down_proj@22-23=kahan": entries
  // SELECTOR[@LAYER[-LAYER]]=STRATEGY, of which later ones win. A selector is
  // an op or a group (KernelName), or `attention`, whose values are forms
  // (AttentionForm) and not strategies. Ops that no entry selects are f32. An
  // entry without '=' is a preset, which sets every op and form, and so is
  // preset=NAME. Errors name the entry and say what would be accepted.
  static absl::StatusOr<Plan> Parse(absl::string_view text, size_t num_layers);

  // The preset `oracle`: f64 throughout.
  static Plan Oracle(size_t num_layers);

  // This plan with more entries, as Parse reads them.
  absl::StatusOr<Plan> With(absl::string_view entries) const;

  size_t num_layers() const { return num_layers_; }

  // `layer` is 1 ... num_layers() for ops that are per layer; ignored for the
  // others.
  Strategy Get(size_t layer, Op op) const { return cells_[Index(layer, op)]; }

  // The strategy must take the op's kernel.
  void Set(size_t layer, Op op, Strategy strategy) {
    cells_[Index(layer, op)] = strategy;
  }

  // Of a layer.
  AttentionForm attention(size_t layer) const {
    return attention_.empty() ? AttentionForm() : attention_[layer - 1];
  }
  void SetAttention(size_t layer, const AttentionForm& form) {
    if (attention(layer) == form) return;
    attention_.resize(num_layers_);
    attention_[layer - 1] = form;
  }

  // Makes this cell as `from` has it: its strategy, and of an op of attention
  // the form with it, without which the strategy would mean something else.
  void TakeCell(const Plan& from, size_t layer, Op op);

  // Whether this CPU emulates any cell (StrategyInfo): how long the plan runs
  // here then says nothing of what computes so, and nobody times it.
  bool emulated() const;

  // Whether plans compute this cell alike: its strategy, and of softmax the
  // form of attention too. (Forms that differ alone are a difference of one
  // cell.)
  bool SharesCell(const Plan& other, size_t layer, Op op) const;

  // The plan's identity: the preset's name if it is one, otherwise the shortest
  // group entries followed by the ops that differ from their group, each in
  // order, and at last forms of attention that are not eager; Parse reads it
  // back to an equal plan. Equal plans have equal text.
  std::string Text() const;

  friend bool operator==(const Plan& a, const Plan& b);

 private:
  size_t Index(size_t layer, Op op) const {
    return (IsPerLayer(op) ? layer : 0) * kNumOps + static_cast<size_t>(op);
  }
  // Calls fn(layer, op) for each cell of the op, layers ascending.
  template <typename Fn>
  void ForEachCell(Op op, const Fn& fn) const {
    if (!IsPerLayer(op)) return fn(size_t{0}, op);
    for (size_t layer = 1; layer <= num_layers_; ++layer) fn(layer, op);
  }
  absl::Status Apply(absl::string_view entry);
  absl::Status ApplyPreset(absl::string_view name);

  size_t num_layers_;
  std::vector<Strategy> cells_;
  // [num_layers], or empty while all are eager: attributions have many plans.
  std::vector<AttentionForm> attention_;
};

// "layer 3", "layers 3-21".
std::string LayerRangeText(size_t first, size_t last);

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_PLAN_H_
