#ifndef EXPLORER_VERDICT_H_
#define EXPLORER_VERDICT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution.h"
#include "explorer/phenomena.h"
#include "kernels/format.h"
#include "kernels/strategy.h"
#include "model/op.h"
#include "model/plan.h"

namespace ulpscope {

// Of one op's causes, over its layers, with c their error vectors of the final
// hidden state and e the plan's.
struct OpShare {
  Op op = Op::kEmbed;
  // sum |c|^2 / sum over all causes |c|^2: the part that it has on average if
  // roundings are independent, whatever their signs are this time.
  double squared_share = 0;
  // sum <c, e> / |e|^2: the part that it has this time, if causes add up.
  double share = 0;
};

// A channel that the error goes through.
struct SourceChannel {
  size_t channel = 0;
  // Mean over the source's layers of its share of the plan's squared error.
  double error_share = 0;
  // Whether it is a massive activation; what follows is of that.
  bool massive = false;
  size_t position = 0;
  size_t born = 0, removed = 0;  // removed is 0 if it never is
  Op removed_op = Op::kEmbed;    // whose add removes it
  double value = 0;              // the largest, signed
  size_t value_layer = 0;        // after which layer
  double ratio_to_median = 0;
  Format format = Format::kF64;  // that the source rounds it to
  double spacing = 0;            // of that format at the value
};

// Ops of one layer that round what goes through the channel too.
struct SourcePart {
  size_t layer = 0;
  std::vector<Op> ops;  // the largest part first
  double squared_share = 0;
};

struct OpGain {
  Op op = Op::kEmbed;
  double gain = 0;  // Repair::gain of the op under the oracle in all layers
};

// The part of a repair map that takes away most.
struct BestRepair {
  Cell cell;  // as Repair::cell
  double gain = 0;
};

// A test of the verdict: the plan with some of the source upgraded.
enum class CureScope {
  kSource,   // its ops in its layers, and before_removal
  kOps,      // its ops in all layers
  kChannel,  // these, and `makes` and `removes`
};

struct Cure {
  CureScope scope = CureScope::kSource;
  Strategy strategy;  // ops that do not take it take their best one
  std::vector<std::string> entries;  // UpgradeEntries
  double rel_l2 = 0;                 // of the final hidden state, after it
};

// Where most of the error comes from.
struct ErrorSource {
  std::vector<Op> ops;                     // the largest part first
  size_t first_layer = 0, last_layer = 0;  // 0: in no layer
  double squared_share = 0;                // OpShare, of ops and layers
  double share = 0;
  std::optional<SourceChannel> channel;
  // Of a massive activation, if they have a part worth naming: ops outside the
  // source of the layers that make it and that remove it; and ops of the source
  // in the layer that removes it, before they do.
  std::optional<SourcePart> makes, removes, before_removal;
  std::vector<OpGain> gains;  // of its ops
  std::vector<Cure> cures;    // explorer/cure.h
};

// A cancellation that leaves an old absolute error on a small stream.
struct Exposure {
  size_t layer = 0;
  Op op = Op::kMlpResidual;
  double ratio = 0;                          // CancellingAdd
  double std_before = 0, std_after = 0;      // of the stream
  double error_before = 0, error_after = 0;  // relative, around the layer
};

// A layer that carries the error from one channel into all.
struct Spreading {
  size_t layer = 0;
  double top1_before = 0, top1_after = 0;  // Concentration
  double amplification = 0;                // LayerSplit; 0 if not known
};

// An op that changes no bit of the results, in no layer.
struct NoEffect {
  Op op = Op::kSoftmax;
  bool over_one_position = false;  // a softmax that is 1 whatever it is given
};

struct Interaction {
  double sum_cosine = 0, sum_norm = 0, sum_rest = 0;  // Attribution
  // sqrt(sum |c|^2) / |e|: what the cells' errors give on average if they are
  // independent, of what the plan has. Far from 1 is luck, good or bad, or
  // cells that round the same value.
  double squares_norm = 0;
  bool adds_up = false;
};

// What is true of a plan's error. What does not apply is absent.
struct Verdict {
  std::string plan;
  double rel_l2 = 0, logits_rel_l2 = 0, kl = 0;
  bool exact = false;  // the results are the oracle's
  // The first layer after which the plan's stream is not finite, and the cells
  // that suffice for such results.
  std::optional<size_t> nonfinite_from;
  std::vector<Cell> nonfinite_cells;
  std::optional<ErrorSource> source;  // none: no group of ops has half
  std::vector<OpShare> ops;           // all with any, the largest first
  // final_norm or lm_head, if it has half of the logits' squared errors, and
  // that share: no error of the final hidden state shows it.
  std::optional<OpShare> head;
  std::optional<Exposure> exposed_by;
  std::optional<Spreading> spread_by;
  std::vector<NoEffect> no_effect;
  std::optional<Interaction> interaction;
  // Of one cell, of one op in all layers, and of one layer.
  std::optional<BestRepair> best_cell, best_op, best_layer;
  std::string stopped_in;  // Attribution
};

// `phenomena` may be null. Of an attribution that was stopped it says what the
// finished parts show.
Verdict Judge(const Plan& plan, const Attribution& attribution,
              const Phenomena* phenomena);

}  // namespace ulpscope

#endif  // EXPLORER_VERDICT_H_
