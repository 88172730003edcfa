#include "explorer/attribution/set_groups.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {

std::vector<OpGroup> OpGroupsOf(const ModelConfig& config) {
  std::vector<Op> computed;
  for (const Cell& cell : CellsOf(config)) {
    if (cell.op != Op::kFinalNorm && cell.op != Op::kLmHead &&
        !absl::c_linear_search(computed, cell.op)) {
      computed.push_back(cell.op);
    }
  }
  const std::vector<Op> scores = {Op::kQProj, Op::kKProj,  Op::kQNorm,
                                  Op::kKNorm, Op::kRope,   Op::kKvK,
                                  Op::kQk,    Op::kSoftmax};
  const std::vector<Op> values = {Op::kVProj, Op::kKvV, Op::kAv, Op::kOProj};
  const std::vector<Op> stream = {Op::kEmbed, Op::kAttnResidual,
                                  Op::kMlpResidual};
  const std::vector<Op> norms = {Op::kInputNorm, Op::kPostNorm};
  const auto with = [](std::vector<Op> ops, const std::vector<Op>& more) {
    ops.insert(ops.end(), more.begin(), more.end());
    return ops;
  };
  const std::pair<const char*, std::vector<Op>> several[] = {
      {"attention scores", scores},
      {"attention scores with their norm", with(scores, {Op::kInputNorm})},
      {"attention values", values},
      {"attention", with(with(scores, values), {Op::kInputNorm})},
      {"MLP",
       {Op::kPostNorm, Op::kGateProj, Op::kUpProj, Op::kSwiGlu, Op::kDownProj}},
      {"residual stream", stream},
      {"norms", with(norms, {Op::kQNorm, Op::kKNorm})},
      {"residual stream and norms", with(stream, norms)},
      {"layers", computed}};
  std::vector<OpGroup> groups;
  for (const Op op : computed)
    groups.push_back({std::string(OpName(op)), {op}});
  for (const auto& [name, ops] : several) {
    OpGroup group = {name, {}};
    for (const Op op : computed) {
      if (absl::c_linear_search(ops, op)) group.ops.push_back(op);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace ulpscope
