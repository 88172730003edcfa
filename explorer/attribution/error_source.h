#ifndef EXPLORER_ATTRIBUTION_ERROR_SOURCE_H_
#define EXPLORER_ATTRIBUTION_ERROR_SOURCE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/attribution_parts.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

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
  // The standard error of squared_share, the positions taken for repetitions;
  // none of fewer than two positions with an error.
  std::optional<double> squared_share_error = {};

  // Whether squared_share can be told from none.
  bool distinguishable() const;
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
  // Whether the source's ops are adds of the stream, which hold the value in
  // all layers where it is; other ops only make it, or act on what it did.
  bool rounded = false;
  // That they round it to, in the plan or, if that is coarser, in the
  // reference.
  Format format = Format::kF64;
  double spacing = 0;  // of that format at the value
};

// Ops of one layer that have a part in what goes through the channel too.
struct SourcePart {
  size_t layer = 0;
  std::vector<Op> ops;  // the largest part first
  double squared_share = 0;
};

struct OpGain {
  Op op = Op::kEmbed;
  // Repair's, of the op under the reference in all layers.
  double gain = 0;
  double moved = 0;
};

// A test of the verdict: the plan with some of the source upgraded, or, where
// the reference is not the oracle, under the reference.
enum class CureScope {
  kSource,   // its ops in its layers, and until_removal
  kOps,      // its ops in all layers
  kChannel,  // these, and `makes` and `removes`
};

struct Cure {
  CureScope scope = CureScope::kSource;
  Strategy strategy;  // ops that do not take it take their best one
  std::vector<std::string> entries;  // UpgradeEntries
  double rel_l2 = 0;                 // of the final hidden state, after it
};

// The source's ops by themselves: the reference in all others.
struct Isolated {
  double rel_l2 = 0;  // of the final hidden state, under the plan
  struct Upgraded {
    Strategy strategy;
    double rel_l2 = 0;
  };
  std::vector<Upgraded> upgraded;  // under better strategies, as of Cure
};

// Where most of the error comes from.
struct ErrorSource {
  std::vector<Op> ops;                     // the largest part first
  size_t first_layer = 0, last_layer = 0;  // 0: in no layer
  double squared_share = 0;                // OpShare, of ops and layers
  double share = 0;
  std::optional<double> squared_share_error;
  std::optional<SourceChannel> channel;
  // Of a massive activation that the source rounds, if they have a part worth
  // naming: other ops of the layers that make it and that remove it; and the
  // source's ops in the layer that removes it, up to the add that does.
  std::optional<SourcePart> makes, removes, until_removal;
  std::vector<OpGain> gains;         // of its ops
  std::optional<Isolated> isolated;  // explorer/attribution/cure.h
  std::vector<Cure> cures;           // the same
};

// Every op's share, the largest first; ops without any are left out.
std::vector<OpShare> SharesOfOps(const std::vector<Cause>& causes);

// final_norm or lm_head, if it has half of the logits' squared errors. What is
// not known of other cells counts as nothing: more of them never make a head.
std::optional<OpShare> FindHead(const std::vector<Cause>& causes);

// sqrt(sum |c|^2) / |the reference's final hidden state|.
double NormOfSquares(const std::vector<Cause>& causes);

// None if no op and no group of ops has half of the squared errors. All causes
// are finished; `phenomena` may be null.
std::optional<ErrorSource> FindSource(const Plan& plan, const Plan& reference,
                                      const Attribution& attribution,
                                      const Phenomena* phenomena);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ERROR_SOURCE_H_
