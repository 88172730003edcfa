#ifndef EXPLORER_ATTRIBUTION_VERDICT_H_
#define EXPLORER_ATTRIBUTION_VERDICT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// The part of a repair map that takes away most.
struct BestRepair {
  Cell cell;  // as Repair::cell
  double gain = 0;
  double most_moved = 0;  // the largest Repair::moved of the map
};

// A cancellation that leaves an old absolute error on a small stream: what the
// layer inherits, relative to the stream, at least doubles.
struct Exposure {
  size_t layer = 0;
  Op op = Op::kMlpResidual;
  double ratio = 0;                      // CancellingAdd
  double std_before = 0, std_after = 0;  // of the stream
  // Relative to the stream: the error before the layer, what it inherits of
  // that (LayerSplit; the error after it if that is not known), and the error
  // after it, with its own roundings.
  double error_before = 0, inherited_after = 0, error_after = 0;
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
  double sum_cosine = 0, sum_norm = 0, sum_rest = 0;  // CauseSum
  // sqrt(sum |c|^2) / |e|: what the cells' errors give on average if they are
  // independent, of what the plan has. Far from 1 is luck, good or bad, or
  // cells that round the same value.
  double squares_norm = 0;
  bool adds_up = false;
};

// What is true of a plan's error. What does not apply is absent.
struct Verdict {
  std::string plan;
  // What its error is against: "oracle", or another plan's text. (A diagnosis
  // only has verdicts against the oracle, and keeps none of this.)
  std::string against = "oracle";
  // Whether that is the plan itself: then there is no error to explain.
  bool is_itself = false;
  std::optional<double> rel_l2, logits_rel_l2, kl;  // Effect
  bool exact = false;  // the results are the reference's
  // The first layer after which the plan's stream, or the reference's, is not
  // finite, and the cells that suffice for such results.
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
  // Of one cell, of one op in all layers, of one group of ops (the cell is of
  // its first one), and of one layer.
  std::optional<BestRepair> best_cell, best_op, best_group, best_layer;
  std::string stopped_in;  // Attribution
};

// `phenomena` may be null. Of an attribution that was stopped it says what the
// finished parts show.
Verdict Judge(const Plan& plan, const Plan& reference,
              const Attribution& attribution, const Phenomena* phenomena);

// Whether the reference is a plan rather than the oracle.
bool IsAgainstPlan(const Verdict& verdict);

// What cells outside of a cure's scope give on average if their errors are
// independent, relative to the final hidden state; of a verdict with a source.
double LeftOnAverage(const Verdict& verdict, CureScope scope);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_VERDICT_H_
