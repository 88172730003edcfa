#ifndef EXPLORER_SWEEP_SHARD_H_
#define EXPLORER_SWEEP_SHARD_H_

#include <cstddef>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {

// One of `count` processes that divide work among them; index < count.
struct Shard {
  size_t index = 0;
  size_t count = 1;
};

// Consecutive units, [begin, end).
struct UnitRange {
  size_t begin = 0, end = 0;

  size_t size() const { return end - begin; }
};

// The units of one checkpoint, and what all of them cost, in any unit that is
// the same for all checkpoints: at least 0, and finite.
struct CheckpointUnits {
  size_t units = 0;
  double cost = 0;
};

// [checkpoints]: the units that are the shard's. Of all shards of a count, each
// unit is one's. With as many shards as checkpoints that have any units, or
// more, a shard has units of one checkpoint, or none where there are more
// shards than units; each checkpoint has shards as its cost asks for, whose
// shares of its units differ by one at most. With fewer, a shard has whole
// checkpoints, that are neighbours. Depends on nothing but its arguments: every
// process finds its own part, whatever became of the others.
std::vector<UnitRange> UnitsOf(absl::Span<const CheckpointUnits> checkpoints,
                               const Shard& shard);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_SHARD_H_
