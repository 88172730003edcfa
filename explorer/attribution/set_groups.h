#ifndef EXPLORER_ATTRIBUTION_SET_GROUPS_H_
#define EXPLORER_ATTRIBUTION_SET_GROUPS_H_

#include <string>
#include <vector>

#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Ops that people think of together, and kernels fuse: "attention scores".
struct OpGroup {
  std::string name;     // of a single op its own
  std::vector<Op> ops;  // as they run
};

// Those that the model computes: each op that is in every layer, and the
// embedding, by itself; then groups of several.
std::vector<OpGroup> OpGroupsOf(const ModelConfig& config);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_SET_GROUPS_H_
