#include "explorer/diagnosis/chance.h"

#include <cstddef>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

// The tails are counted by hand: of 64 hypotheses, each hitting a row with
// probability 1/8.

TEST(HitsMoreThanChance, NeedsSixRowsIfAllAreHit) {
  EXPECT_FALSE(HitsMoreThanChance(0, 0));
  for (size_t rows = 1; rows <= 5; ++rows) {
    EXPECT_FALSE(HitsMoreThanChance(rows, rows)) << rows;  // 5: 2^6 / 2^15
  }
  for (size_t rows = 6; rows <= 40; ++rows) {
    EXPECT_TRUE(HitsMoreThanChance(rows, rows)) << rows;  // 6: 2^6 / 2^18
  }
}

TEST(HitsMoreThanChance, NeedsMoreRowsIfSomeAreMissed) {
  // 64 (28 x 49 + 8 x 7 + 1) / 8^8 = 0.0055
  EXPECT_FALSE(HitsMoreThanChance(6, 8));
  // 64 (36 x 49 + 9 x 7 + 1) / 8^9 = 0.00087
  EXPECT_TRUE(HitsMoreThanChance(7, 9));
}

TEST(HitsMoreThanChance, NeedsThreeQuartersOfTheRows) {
  EXPECT_FALSE(HitsMoreThanChance(0, 100));
  EXPECT_FALSE(HitsMoreThanChance(74, 100));
  EXPECT_TRUE(HitsMoreThanChance(75, 100));
  EXPECT_FALSE(HitsMoreThanChance(2999, 4000));
  EXPECT_TRUE(HitsMoreThanChance(3000, 4000));
}

}  // namespace
}  // namespace ulpscope
