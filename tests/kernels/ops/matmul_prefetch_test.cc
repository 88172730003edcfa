#include "kernels/ops/matmul_prefetch.h"

#include <cstddef>
#include <cstdint>
#include <set>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

constexpr uintptr_t kB = uintptr_t{1} << 40;
constexpr uintptr_t kA = uintptr_t{1} << 20;

// The cache lines that a tile of so many steps fetches.
std::set<uintptr_t> LinesOf(const TilePrefetch& tile, size_t steps) {
  std::set<uintptr_t> lines;
  PrefetchWalk walk(tile);
  for (size_t i = 0; i < steps; ++i) lines.insert(walk.Next() / kCacheLine);
  return lines;
}

size_t MissingLines(const std::set<uintptr_t>& lines, uintptr_t from,
                    size_t bytes) {
  size_t missing = 0;
  for (uintptr_t line = from / kCacheLine; line * kCacheLine < from + bytes;
       ++line) {
    missing += lines.count(line) == 0;
  }
  return missing;
}

TEST(PrefetchWalkTest, TakesBothStreamsInTurn) {
  // Streams before and after one another, and one as two halves.
  for (const uintptr_t second : {kA, kB + 21, kB + (kB - kA)}) {
    PrefetchWalk walk({kB, second, 42});
    for (size_t i = 0; i < 100; ++i) {
      EXPECT_EQ(walk.Next(), (i % 2 == 0 ? kB : second) + i / 2 * 42);
    }
  }
}

// A panel of f32 or bf16.
PanelPrefetch PrefetchOf(size_t row_tiles, size_t columns, size_t tile_rows,
                         size_t steps, size_t b_bytes) {
  PanelPrefetch prefetch;
  prefetch.tiles = row_tiles * columns;
  prefetch.steps = steps;
  prefetch.b = kB;
  prefetch.b_step_bytes = 32 * b_bytes;
  prefetch.widened_step_bytes = 32 * sizeof(float);
  prefetch.a = kA;
  prefetch.a_tiles = row_tiles;
  prefetch.a_step_bytes = tile_rows * sizeof(float);
  prefetch.a_tile_bytes = 8 * steps * prefetch.a_step_bytes;
  return prefetch;
}

TEST(PanelPrefetchTest, TilesFetchAllOfTheNextPanel) {
  for (const size_t steps : {64, 895, 1216}) {
    for (const size_t b_bytes : {2, 4}) {
      for (size_t tiles = 2; tiles < 40; ++tiles) {
        for (const bool with_a : {false, true}) {
          PanelPrefetch prefetch = PrefetchOf(tiles, 1, 14, steps, b_bytes);
          if (!with_a) prefetch.a_tiles = 0;
          for (size_t panel = 0; panel < 4; ++panel) {
            std::set<uintptr_t> lines;
            for (size_t tile = 0; tile < tiles; ++tile) {
              lines.merge(LinesOf(prefetch.Of(panel * tiles + tile), steps));
            }
            EXPECT_EQ(MissingLines(lines, kB, steps * 32 * b_bytes), 0)
                << tiles << " tiles of " << steps << " steps, panel " << panel;
          }
        }
      }
    }
  }
}

TEST(PanelPrefetchTest, FewTilesFetchOnlyThePanel) {
  const auto fetches_a = [](size_t tiles) {
    const TilePrefetch tile = PrefetchOf(tiles, 1, 14, 1216, 4).Of(0);
    return *LinesOf(tile, 1216).begin() < kB / kCacheLine;
  };
  EXPECT_FALSE(fetches_a(1));
  EXPECT_FALSE(fetches_a(3));
  EXPECT_TRUE(fetches_a(4));
}

TEST(PanelPrefetchTest, GroupsFetchAllOfTheNextBlockOfA) {
  constexpr size_t kSteps = 1216;
  const auto missing = [](size_t row_tiles, size_t columns, size_t tile_rows,
                          size_t panels, size_t b_bytes) {
    const PanelPrefetch prefetch =
        PrefetchOf(row_tiles, columns, tile_rows, kSteps, b_bytes);
    std::set<uintptr_t> lines;
    for (size_t tile = 0; tile < panels * prefetch.tiles; ++tile) {
      lines.merge(LinesOf(prefetch.Of(tile), kSteps));
    }
    size_t count = 0;
    for (size_t tile = 0; tile < row_tiles; ++tile) {
      count += MissingLines(lines, kA + tile * prefetch.a_tile_bytes,
                            kSteps * prefetch.a_step_bytes);
    }
    return count;
  };
  for (const size_t b_bytes : {2, 4}) {
    // As 512 rows are divided for AVX-512, AVX2 and NEON, in groups of 4.
    EXPECT_EQ(missing(7, 1, 14, 4, b_bytes), 0);
    EXPECT_EQ(missing(8, 1, 14, 4, b_bytes), 0);
    EXPECT_EQ(missing(17, 2, 6, 4, b_bytes), 0);
    EXPECT_EQ(missing(8, 4, 14, 4, b_bytes), 0);
    // Never more of A than of the panels.
    EXPECT_GT(missing(8, 1, 14, 2, b_bytes), 0);
  }
}

}  // namespace
}  // namespace ulpscope
