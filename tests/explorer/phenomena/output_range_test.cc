#include "explorer/phenomena/output_range.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/matrix.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

OutputRange RangeOf(const std::vector<double>& values, size_t rows = 1) {
  OutputRange range;
  range.Add({values.data(), rows, values.size() / rows});
  return range;
}

TEST(OutputRangeTest, HeadroomIsInBitsToTheLargestNumber) {
  EXPECT_EQ(RangeOf({1, -65504, 2}).F16().headroom, 0);
  EXPECT_EQ(RangeOf({65504.0 / 8}).F16().headroom, 3);
  EXPECT_EQ(RangeOf({2 * 65504.0}).F16().headroom, -1);
  // (2 - 2^-7) 2^127 and (2 - 2^-23) 2^127.
  EXPECT_EQ(RangeOf({std::ldexp(255, 120)}).BF16().headroom, 0);
  EXPECT_EQ(RangeOf({-std::ldexp(255, 118)}).BF16().headroom, 2);
  EXPECT_EQ(RangeOf({std::ldexp(16777215, 104)}).F32().headroom, 0);
  EXPECT_EQ(RangeOf({std::ldexp(16777215, 109)}).F32().headroom, -5);
}

TEST(OutputRangeTest, UnderflowIsTheShareBelowTheSmallestNormal) {
  const OutputRange range = RangeOf({0, 0x1p-14, -0x1p-15, 1, 0, 0x1p-24}, 2);
  EXPECT_EQ(range.largest, 1);
  EXPECT_EQ(range.smallest, 0x1p-24);
  EXPECT_EQ(range.nonzero, 4u);
  EXPECT_EQ(range.F16().underflow, 0.5);
  EXPECT_EQ(range.F32().underflow, 0);
  const OutputRange tiny = RangeOf({0x1p-126, -0x1.FFp-127, 1, 2});
  EXPECT_EQ(tiny.F16().underflow, 0.5);
  EXPECT_EQ(tiny.BF16().underflow, 0.25);
  EXPECT_EQ(tiny.F32().underflow, 0.25);
}

TEST(OutputRangeTest, ZerosHaveEndlessHeadroom) {
  const OutputRange range = RangeOf({0, -0.0, 0});
  EXPECT_EQ(range.largest, 0);
  EXPECT_EQ(range.smallest, kInf);
  EXPECT_EQ(range.F16().headroom, kInf);
  EXPECT_EQ(range.F16().underflow, 0);
}

TEST(OutputRangeTest, CallsAddUp) {
  OutputRange range;
  const std::vector<double> first = {3, 1e-9}, second = {-7, 5};
  range.Add({first.data(), 1, 2});
  range.Add({second.data(), 2, 1});
  EXPECT_EQ(range.largest, 7);
  EXPECT_EQ(range.smallest, 1e-9);
  EXPECT_EQ(range.F16().underflow, 0.25);
}

TEST(OutputRangeTest, RowsApartAreReadAsRows) {
  const std::vector<double> padded = {1, 99, 2, 99};
  OutputRange range;
  range.Add({padded.data(), 2, 1, 2});
  EXPECT_EQ(range.largest, 2);
}

TEST(OutputRangeTest, NaNShowsAndStays) {
  for (size_t at = 0; at < 3; ++at) {
    std::vector<double> values = {4, 2, 8};
    values[at] = kNaN;
    const OutputRange range = RangeOf(values);
    EXPECT_TRUE(std::isnan(range.largest)) << at;
    EXPECT_TRUE(std::isnan(range.F16().headroom)) << at;
    EXPECT_TRUE(std::isnan(range.F32().headroom)) << at;
    EXPECT_EQ(range.smallest, at == 1 ? 4 : 2) << at;
  }
}

TEST(OutputRangeTest, InfinityOverflowsEverything) {
  const OutputRange range = RangeOf({1, -kInf});
  EXPECT_EQ(range.largest, kInf);
  EXPECT_EQ(range.F16().headroom, -kInf);
  EXPECT_EQ(range.F32().headroom, -kInf);
}

}  // namespace
}  // namespace ulpscope
