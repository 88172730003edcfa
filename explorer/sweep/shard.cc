#include "explorer/sweep/shard.h"

#include <algorithm>
#include <cstddef>
#include <queue>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {
namespace {

// How many shards each checkpoint gets, of which there are enough. After one
// for each, the next one goes where a shard has most to do (D'Hondt's method).
std::vector<size_t> ShardsOf(absl::Span<const CheckpointUnits> checkpoints,
                             size_t count) {
  std::vector<size_t> shards(checkpoints.size(), 0);
  // Cost of a shard, and of equal ones the first checkpoint.
  std::priority_queue<std::pair<double, ptrdiff_t>> most;
  const auto add = [&](size_t c) {
    ++shards[c];
    --count;
    if (shards[c] == checkpoints[c].units) return;
    most.emplace(checkpoints[c].cost / static_cast<double>(shards[c]),
                 -static_cast<ptrdiff_t>(c));
  };
  for (size_t c = 0; c < checkpoints.size(); ++c) {
    if (checkpoints[c].units > 0) add(c);
  }
  while (count > 0 && !most.empty()) {
    const size_t c = static_cast<size_t>(-most.top().second);
    most.pop();
    add(c);
  }
  return shards;
}

}  // namespace

std::vector<UnitRange> UnitsOf(absl::Span<const CheckpointUnits> checkpoints,
                               const Shard& shard) {
  std::vector<UnitRange> ranges(checkpoints.size());
  size_t with_units = 0;
  double total = 0;
  for (const CheckpointUnits& checkpoint : checkpoints) {
    if (checkpoint.units == 0) continue;
    ++with_units;
    total += checkpoint.cost;
  }
  if (shard.count >= with_units) {
    const std::vector<size_t> shards = ShardsOf(checkpoints, shard.count);
    size_t first = 0;
    for (size_t c = 0; c < checkpoints.size(); first += shards[c++]) {
      if (shard.index < first || shard.index >= first + shards[c]) continue;
      const size_t i = shard.index - first, units = checkpoints[c].units;
      // The first units % shards of them have one more.
      const size_t least = units / shards[c], more = units % shards[c];
      const size_t begin = i * least + std::min(i, more);
      ranges[c] = {begin, begin + least + (i < more ? 1 : 0)};
    }
    return ranges;
  }
  // A checkpoint is the shard's in whose share of the cost its middle lies.
  double before = 0;
  size_t checkpoints_before = 0;
  for (size_t c = 0; c < checkpoints.size(); ++c) {
    const CheckpointUnits& checkpoint = checkpoints[c];
    if (checkpoint.units == 0) continue;
    const double share = total > 0 ? (before + checkpoint.cost / 2) / total
                                   : static_cast<double>(checkpoints_before) /
                                         static_cast<double>(with_units);
    const size_t owner =
        std::min(static_cast<size_t>(share * static_cast<double>(shard.count)),
                 shard.count - 1);
    if (owner == shard.index) ranges[c] = {0, checkpoint.units};
    before += checkpoint.cost;
    ++checkpoints_before;
  }
  return ranges;
}

}  // namespace ulpscope
