#ifndef EXPLORER_ATTRIBUTION_ERROR_SETS_H_
#define EXPLORER_ATTRIBUTION_ERROR_SETS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/attribution/set_groups.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Cells that act as one: where each op rounds what another has rounded already,
// or each makes an error that is as large as errors get, a repair of one cell
// leaves the error as it is, and only a set of them takes it away.

// A group in all layers.
struct GroupEffect {
  std::string group;    // OpGroup::name
  std::vector<Op> ops;  // those that can be upgraded, as they run
  double rel_l2 = 0;    // of the final hidden state, with the group upgraded
  // The group alone under the plan, the reference everywhere else; none of a
  // single op, whose cells the cause map has.
  std::optional<double> alone_rel_l2;
};

// A group's ops, or some of them, in a range of layers.
struct ErrorSet {
  std::string group;
  std::vector<Op> ops;                     // as they run
  size_t first_layer = 0, last_layer = 0;  // 0: in no layer
  std::vector<std::string> entries;        // UpgradeEntries, to add to the plan
  size_t cells = 0;
  // The plan with the set upgraded: errors of the final hidden state and, once
  // they are measured, of the logits.
  double rel_l2 = 0;
  std::optional<double> kl;
  // The set alone under the plan, the reference everywhere else.
  std::optional<double> alone_rel_l2, alone_kl;
};

struct ErrorSets {
  // Whether no repair of the repair map halves the plan's error that is of one
  // cell, or of one op or kernel in all layers.
  bool saturated = false;
  std::vector<GroupEffect> groups;  // [groups that can be upgraded]
  // Of every group that halves the error in all layers, its shortest range that
  // does, without ops that it does not need; the fewest cells first.
  std::vector<ErrorSet> halving;
  // The group of the first of these in the range beyond which upgrading more of
  // it gains next to nothing: what the error comes from, rather than what
  // suffices to be rid of half. None if that is all ops in all layers.
  std::optional<ErrorSet> whole;
  std::string stopped_in;  // what was not finished; empty if all was
};

// Finds sets by what their upgrade leaves of the plan's error, against the
// reference; `attribution` has its repair map. Upgrades take the first of the
// strategies that is one, else the most accurate; where the reference is not
// the oracle, its own. Nothing is found of a plan without an error of the final
// hidden state, or with one that is no number. Being stopped is no error.
absl::StatusOr<ErrorSets> FindSets(const Run& run, const Baseline& baseline,
                                   const Attribution& attribution,
                                   const std::vector<Strategy>& strategies);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ERROR_SETS_H_
