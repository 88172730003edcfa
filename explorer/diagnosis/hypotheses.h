#ifndef EXPLORER_DIAGNOSIS_HYPOTHESES_H_
#define EXPLORER_DIAGNOSIS_HYPOTHESES_H_

#include <cstddef>
#include <functional>
#include <optional>
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
  // The change, of one of these three.
  std::function<void(Variant&)> variant;
  std::string plan_entry;  // SELECTOR=STRATEGY
  std::optional<WeightRounding> weights;
  // Of what changes the arithmetic: whether it rounds more coarsely than the
  // arithmetic that it is a change of. If not it is part of the arithmetic's
  // description, and no cause of a difference.
  bool coarser = true;
};

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
