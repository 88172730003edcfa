#include "explorer/sweep/shard.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;

using Units = std::vector<CheckpointUnits>;

const std::vector<Units>& Cases() {
  static const auto* cases = new std::vector<Units>{
      {},
      {{0, 0}},
      {{1, 5}},
      {{54, 1}},
      {{3, 1}, {3, 1}, {3, 1}},
      {{100, 10}, {1, 0.01}, {20, 1000}},
      {{7, 0}, {9, 0}},
      {{0, 0}, {12, 3}, {0, 0}, {5, 40}, {0, 0}},
      {{1, 1}, {1, 100}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
      {{1000, 1e18}, {17, 1}}};
  return *cases;
}

size_t WithUnits(const Units& units) {
  return static_cast<size_t>(
      std::count_if(units.begin(), units.end(),
                    [](const CheckpointUnits& c) { return c.units > 0; }));
}

TEST(ShardTest, EveryUnitIsInExactlyOneShard) {
  for (const Units& units : Cases()) {
    for (size_t count = 1; count <= 130; ++count) {
      std::vector<std::vector<int>> times;
      for (const auto& c : units) times.emplace_back(c.units, 0);
      for (size_t index = 0; index < count; ++index) {
        const auto ranges = UnitsOf(units, {index, count});
        ASSERT_EQ(ranges.size(), units.size());
        for (size_t c = 0; c < units.size(); ++c) {
          ASSERT_LE(ranges[c].begin, ranges[c].end);
          ASSERT_LE(ranges[c].end, units[c].units);
          for (size_t u = ranges[c].begin; u < ranges[c].end; ++u) {
            ++times[c][u];
          }
        }
      }
      for (const auto& of_checkpoint : times) {
        for (const int n : of_checkpoint) ASSERT_EQ(n, 1) << count;
      }
    }
  }
}

TEST(ShardTest, WithEnoughShardsEachOpensOneCheckpoint) {
  for (const Units& units : Cases()) {
    for (size_t count = WithUnits(units); count <= 130; ++count) {
      if (count == 0) continue;
      std::pair<size_t, size_t> last = {0, 0};
      for (size_t index = 0; index < count; ++index) {
        const auto ranges = UnitsOf(units, {index, count});
        size_t opened = 0;
        for (size_t c = 0; c < units.size(); ++c) {
          if (ranges[c].size() == 0) continue;
          ++opened;
          // And they follow each other.
          const std::pair<size_t, size_t> begin = {c, ranges[c].begin};
          EXPECT_GE(begin, last);
          last = {c, ranges[c].end};
        }
        EXPECT_LE(opened, 1u) << count;
      }
    }
  }
}

TEST(ShardTest, WithFewShardsEachHasWholeNeighbours) {
  for (const Units& units : Cases()) {
    for (size_t count = 1; count < WithUnits(units); ++count) {
      for (size_t index = 0; index < count; ++index) {
        const auto ranges = UnitsOf(units, {index, count});
        std::vector<size_t> taken;
        for (size_t c = 0; c < units.size(); ++c) {
          if (ranges[c].size() == 0) continue;
          EXPECT_EQ(ranges[c].size(), units[c].units);
          taken.push_back(c);
        }
        for (size_t i = 1; i < taken.size(); ++i) {
          for (size_t c = taken[i - 1] + 1; c < taken[i]; ++c) {
            EXPECT_EQ(units[c].units, 0u);
          }
        }
      }
    }
  }
}

TEST(ShardTest, SharesOfACheckpointDifferByOneUnitAtMost) {
  for (const size_t count : {1, 2, 3, 7, 53, 54, 55, 200}) {
    std::set<size_t> sizes;
    for (size_t index = 0; index < count; ++index) {
      sizes.insert(UnitsOf(Units{{54, 1}}, {index, count})[0].size());
    }
    EXPECT_LE(*sizes.rbegin() - *sizes.begin(), 1u) << count;
  }
}

TEST(ShardTest, ShardsGoWhereTheCostIs) {
  // A quarter and three quarters of the cost, of as many units.
  size_t shards[2] = {};
  for (size_t index = 0; index < 8; ++index) {
    const auto ranges = UnitsOf(Units{{80, 1}, {80, 3}}, {index, 8});
    for (size_t c = 0; c < 2; ++c) shards[c] += ranges[c].size() > 0 ? 1 : 0;
  }
  EXPECT_THAT(shards, ElementsAre(2, 6));
  // No more than there are units, however dear they are.
  shards[0] = shards[1] = 0;
  for (size_t index = 0; index < 8; ++index) {
    const auto ranges = UnitsOf(Units{{80, 1}, {3, 1e9}}, {index, 8});
    for (size_t c = 0; c < 2; ++c) shards[c] += ranges[c].size() > 0 ? 1 : 0;
  }
  EXPECT_THAT(shards, ElementsAre(5, 3));
}

}  // namespace
}  // namespace ulpscope
