#ifndef EXPLORER_ATTRIBUTION_ATTRIBUTION_PARTS_H_
#define EXPLORER_ATTRIBUTION_ATTRIBUTION_PARTS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/effect.h"
#include "explorer/error/position_errors.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"

namespace ulpscope {

// The reference is what errors are against: the oracle, or another plan.

// The local error of one op: it alone under the plan, the rest of the layer
// under the reference, minus the reference's layer, of the plan's input. 0
// where the plan has the reference's strategy.
struct OpError {
  Op op = Op::kEmbed;
  double rel_l2 = 0;  // by the 2-norm of the reference's stream after it
  // <the op's error, the local error> / |the local error|^2: the shares of all
  // ops and of their interaction add up to 1.
  double share = 0;
};

// With h the plan's stream before the layer (with its carry), o the reference's
// stream after it, p the plan's (without), L the reference's layer:
//   total = p - o = inherited + local, inherited = L(h) - o, local = p - L(h).
// Layer 0 is the embedding, which inherits nothing.
struct LayerSplit {
  size_t layer = 0;
  ErrorSize total, inherited, local;
  // |inherited| / |h - the reference's stream before the layer|, in 2-norms,
  // and the same of errors relative to the reference's streams, which also
  // counts that the stream itself grew or shrank. 0 where nothing was
  // inherited.
  double amplification = 0;
  double relative_amplification = 0;
  // max over elements of |total - (inherited + local)|, in unit roundoffs of
  // f64 at the largest of the three: at most 4, by the rounding of the three
  // differences and of the sum.
  double identity_ulps = 0;
  std::vector<OpError> ops;      // of the layer, in the order in which they run
  double interaction_share = 0;  // of the local error minus the ops'
};

// The position that has most of an error vector's squares, of NaN the first,
// and its part of them.
struct ErrorPeak {
  size_t position = 0;
  double squared_share = 0;
};

// The plan at this cell alone, the reference everywhere else.
struct Cause {
  Cell cell;
  // Whether a bit of the final hidden state or of the logits, at any position,
  // differs from the reference's.
  bool changes_bits = false;
  Effect effect;
  // Share and cosine of its final hidden error vector c with the full plan's e:
  // <c, e> / |e|^2 and <c, e> / (|c| |e|). 0 for cells behind the final hidden
  // state, none if the run did not reach it.
  std::optional<double> share, cosine;
  std::optional<ErrorPeak> peak;  // of c; none if that is 0 or not reached
  // [positions]: |c|^2 at each; empty if not reached, or if nothing is run.
  std::vector<double> squares = {};
};

// The reference at these cells, the plan everywhere else: one cell, an op in
// all layers (layer 0), a layer's ops (op ignored), or a group's ops wherever
// they are (layer 0, the group's first op).
struct Repair {
  Cell cell;
  Effect effect;
  // How much of the plan's error goes away: 1 - error / the plan's error, of
  // the final hidden state and of the logits. Negative: it got worse, as where
  // the cell's error cancels some of another's. None if not reached, as below.
  std::optional<double> gain, logits_gain;
  // How much the repair changes, whatever that does to the error: the 2-norm of
  // repaired - plan's over that of the plan's error. Where it is large and the
  // gain is not, errors cancel.
  std::optional<double> moved, logits_moved;
};

// How far the causes' error vectors of the final hidden state add up to the
// plan's.
struct CauseSum {
  double cosine = 0;  // of their sum with it
  double norm = 0;    // |sum| / |plan's|
  double rest = 0;    // what is left: |plan's - sum| / |plan's|
};

struct Attribution {
  Effect plan;                           // the full plan
  std::vector<PositionError> positions;  // [positions], of the full plan
  std::vector<LayerSplit> layers;        // [0 ... num_layers]
  // [CellsOf]. Of many cells and positions only those in no layer and the
  // largest errors are run to their logits, and all where that says whether
  // the head has most of them; figures of the others' logits are none.
  std::vector<Cause> causes;
  std::optional<CauseSum> cause_sum;  // none unless all causes are finished
  std::vector<Repair> repairs;        // [CellsOf]
  std::vector<Repair> op_repairs;     // per op in a layer, all layers
  std::vector<Repair> layer_repairs;  // per layer from 1, all ops
  std::vector<Repair> group_repairs;  // [kNumKernels], as plans' selectors
  // How many of `repairs` were not run, and say nothing: of many cells, those
  // of which neither the op in all layers nor the whole layer takes anything
  // away. They cannot be expected to, and what one does by itself is chance.
  size_t cells_left_out = 0;
  // What was not finished when the run was stopped, as "the cause map, after
  // layer 12"; empty if all was. Parts behind it are empty.
  std::string stopped_in;
};

// Which parts are made; their lists are empty else.
struct AttributionParts {
  bool layers = true;
  bool causes = true;
  bool repairs = true;
  // Whether causes have the errors of their logits: all of a run of few cells
  // and positions, of others the largest (Attribution::causes). Else as few as
  // say whether most of these come from final_norm or lm_head: logits are
  // nearly half of what a cause map takes.
  bool logits_of_causes = true;
};

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ATTRIBUTION_PARTS_H_
