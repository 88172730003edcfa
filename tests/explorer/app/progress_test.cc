#include "explorer/app/progress.h"

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

TEST(ProgressTest, BytesAreInTheUnitOfTheirTotal) {
  EXPECT_EQ(DoneText(Counted::kBytes, 312'400'000, 1'117'900'000),
            "312 of 1,117 MB");
  EXPECT_EQ(DoneText(Counted::kBytes, 0, 10'000'000), "0 of 10 MB");
  EXPECT_EQ(DoneText(Counted::kBytes, 1'200'999, 9'999'999),
            "1,200 of 9,999 kB");
  EXPECT_EQ(DoneText(Counted::kBytes, 1'234'567'000'000, 2'000'000'000'000),
            "1,234,567 of 2,000,000 MB");
}

TEST(ProgressTest, ItemsAreCounted) {
  EXPECT_EQ(DoneText(Counted::kItems, 1200, 15000), "1200 of 15000");
}

}  // namespace
}  // namespace ulpscope
