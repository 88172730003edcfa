#include "model/decoder/activations.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

Rows Filled(size_t rows, size_t cols, double value) {
  const Rows block = Rows::Allocate(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) block.data()[i] = value;
  return block;
}

// Whatever the hash says, outputs are one only if all their bits are.
TEST(ActivationsTest, SameBitsLooksAtEveryValueAndAtTheShape) {
  for (const size_t cols : {1, 3, 4, 7, 32}) {
    const Rows a = Filled(2, cols, 1.5);
    for (size_t i = 0; i < 2 * cols; ++i) {
      const Rows b = Filled(2, cols, 1.5);
      EXPECT_TRUE(a.SameBits(b));
      EXPECT_EQ(a.Hash(), b.Hash());
      b.data()[i] = 1.5 + 0x1p-52;
      EXPECT_FALSE(a.SameBits(b));
      EXPECT_NE(a.Hash(), b.Hash());
    }
  }
  EXPECT_FALSE(Filled(2, 3, 1).SameBits(Filled(3, 2, 1)));
  EXPECT_FALSE(Filled(1, 2, 0.0).SameBits(Filled(1, 2, -0.0)));
}

TEST(ActivationsTest, SlicesShareTheBlockAndKeepIt) {
  Rows slice;
  {
    const Rows block = Filled(4, 3, 0);
    for (size_t i = 0; i < 12; ++i) block.data()[i] = static_cast<double>(i);
    slice = block.Slice(1, 2);
    EXPECT_EQ(slice.data(), block.data() + 3);
  }
  EXPECT_EQ(slice.rows(), 2u);
  EXPECT_EQ(slice.bytes(), 6 * sizeof(double));
  EXPECT_EQ(slice.view().Row(1)[2], 8);
}

// Values differ in few bits, often only in their highest ones.
TEST(ActivationsTest, HashesOfSmallChangesDiffer) {
  std::set<uint64_t> hashes;
  size_t count = 0;
  for (size_t i = 0; i < 32; ++i) {
    for (int e = 0; e < 40; ++e) {
      const Rows rows = Filled(1, 32, 0);
      rows.data()[i] = static_cast<double>(uint64_t{1} << e);
      hashes.insert(rows.Hash());
      ++count;
    }
  }
  EXPECT_EQ(hashes.size(), count);
}

TEST(RowsPoolTest, FreedBlocksAreGivenOutAgain) {
  constexpr size_t kBlock = 4 * 8 * sizeof(double);
  RowsPool pool;
  const Rows other = pool.Allocate(4, 8);
  Rows first = pool.Allocate(4, 8), more = pool.Allocate(4, 8);
  const Rows last = pool.Allocate(4, 8);
  const double* const data = first.data();
  Rows slice = first.Slice(1, 2);
  more = first = Rows();
  EXPECT_EQ(pool.kept_bytes(), 0u);  // the slice has it; too much is in use
  slice = Rows();
  EXPECT_EQ(pool.kept_bytes(), kBlock);
  const Rows smaller = pool.Allocate(1, 4);  // of another size
  EXPECT_NE(smaller.data(), data);
}

TEST(RowsPoolTest, AtMostThreeQuartersOfTheMostInUse) {
  constexpr size_t kBlock = 16 * sizeof(double);
  RowsPool pool;
  std::vector<Rows> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(pool.Allocate(2, 8));
  blocks.pop_back();
  EXPECT_EQ(pool.kept_bytes(), 0u);  // three of four are in use
  const double* const data = blocks.back().data();
  blocks.pop_back();
  EXPECT_EQ(pool.kept_bytes(), kBlock);
  blocks.push_back(pool.Allocate(8, 2));  // the same size
  EXPECT_EQ(blocks.back().data(), data);
  EXPECT_EQ(pool.kept_bytes(), 0u);
  blocks.clear();
  EXPECT_EQ(pool.kept_bytes(), 3 * kBlock);
  pool.Trim();
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(RowsPoolTest, BlocksMayOutliveIt) {
  Rows rows;
  {
    RowsPool pool;
    rows = pool.Allocate(2, 2);
  }
  rows.data()[3] = 1;
  EXPECT_EQ(rows.data()[3], 1);
}

}  // namespace
}  // namespace ulpscope
