#ifndef EXPLORER_DIAGNOSIS_HYPOTHESES_H_
#define EXPLORER_DIAGNOSIS_HYPOTHESES_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "explorer/diagnosis/results.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/rounded_tensors.h"

namespace ulpscope {

// A small change of the decoder that would explain a difference. What a list of
// hidden states is of (last_state_normed, index_off_by_one) is no change of the
// decoder, and is settled before (alignment.h).
struct Hypothesis {
  std::string id;
  CauseKind kind = CauseKind::kImplementation;
  std::string what;    // of the program that wrote the trace
  std::string advice;  // what to change there
  // The change: of the decoder, of the plan or of the weights.
  std::function<void(Variant&)> variant;
  // In these layers alone, unless last_layer is 0.
  size_t first_layer = 0, last_layer = 0;
  // Where it is another one in each layer, instead of `variant`.
  std::function<void(size_t layer, Variant&)> by_layer;
  std::string plan_entry;  // SELECTOR=STRATEGY
  std::optional<WeightRounding> weights;
  // Whether it is tried only where something is left to explain: it moves what
  // it moves by more than rounding.
  bool if_something_differs = false;
  // Ops of which the trace must have one for it to be told from others of the
  // catalogue; empty: any.
  std::set<Op> told_by;
  // The first op that is wrong: what differs before it is another way to the
  // same, as a consistent order of rows.
  Op begins_at = Op::kEmbed;
  // Of what changes the arithmetic: whether it rounds more coarsely than the
  // arithmetic that it is a change of. If not it is part of the arithmetic's
  // description, and no cause of a difference.
  bool coarser = true;
};

// Makes the change of the decoder, if that is what it is, of so many layers.
void Apply(const Hypothesis& hypothesis, size_t num_layers, Variant& variant);

// The same in some layers alone.
Hypothesis InLayers(const Hypothesis& hypothesis, size_t first_layer,
                    size_t last_layer);

// Those that make a difference to this model: its config says otherwise, it has
// what is changed, and the plan does not have the strategy already.
std::vector<Hypothesis> CatalogueFor(const ModelConfig& config,
                                     const Plan& arithmetic);

// That an op, in these layers, runs in another format than the plan's.
struct OpRange {
  Op op = Op::kEmbed;
  size_t first_layer = 0, last_layer = 0;  // 0 for ops in no layer
};
std::vector<Hypothesis> OtherFormatsOf(const Plan& arithmetic,
                                       const OpRange& range);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_HYPOTHESES_H_
