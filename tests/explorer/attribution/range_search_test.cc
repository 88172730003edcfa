#include "explorer/attribution/range_search.h"

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

// The error is what of these layers a range does not hold.
struct Needed {
  size_t size, begin, end;

  double Error(const IndexRange& range) const {
    double error = 0;
    for (size_t i = begin; i < end; ++i) {
      if (i < range.begin || i >= range.end) error += 1;
    }
    return error;
  }
};

TEST(RangeSearchTest, FindsWhatIsNeeded) {
  Random random(1);
  std::vector<Needed> needed = {{1, 0, 1}, {2, 1, 2}, {24, 0, 24}};
  for (int i = 0; i < 100; ++i) {
    const size_t size = 1 + random.Below(40);
    const size_t begin = random.Below(size);
    needed.push_back({size, begin, begin + 1 + random.Below(size - begin)});
  }
  std::vector<RangeTask> tasks;
  for (const Needed& n : needed) tasks.push_back({n.size, 0, 0});
  size_t passes = 0;
  const auto found =
      ShortestRanges(tasks, [&](const std::vector<TaskRange>& ranges) {
        ++passes;
        std::vector<double> errors;
        for (const TaskRange& range : ranges) {
          EXPECT_LT(range.range.begin, range.range.end);
          EXPECT_LE(range.range.end, needed[range.task].size);
          errors.push_back(needed[range.task].Error(range.range));
        }
        return absl::StatusOr<std::vector<double>>(errors);
      });
  ASSERT_THAT(found, IsOk());
  for (size_t i = 0; i < needed.size(); ++i) {
    EXPECT_EQ((*found)[i].range.begin, needed[i].begin);
    EXPECT_EQ((*found)[i].range.end, needed[i].end);
    EXPECT_EQ((*found)[i].error, 0);
  }
  // Five parts of 40 layers are at most one after three rounds, of each end.
  EXPECT_LE(passes, 6u);
}

// With a limit some of the needed layers may be left out, but never more.
TEST(RangeSearchTest, KeepsTheLimit) {
  const Needed needed = {24, 4, 16};
  for (const double limit : {0.0, 1.0, 5.0, 11.0}) {
    const auto found = ShortestRanges(
        {{24, limit, 0}}, [&](const std::vector<TaskRange>& ranges) {
          std::vector<double> errors;
          for (const TaskRange& r : ranges) {
            errors.push_back(needed.Error(r.range));
          }
          return absl::StatusOr<std::vector<double>>(errors);
        });
    ASSERT_THAT(found, IsOk());
    const KeptRange& kept = (*found)[0];
    EXPECT_EQ(kept.error, limit);
    EXPECT_EQ(kept.range.end - kept.range.begin,
              12 - static_cast<size_t>(limit));
  }
}

// What a short range wins and longer ones lose again is not taken.
TEST(RangeSearchTest, LuckIsNotTaken) {
  const Needed needed = {6, 0, 5};
  const auto found =
      ShortestRanges({{6, 0, 0}}, [&](const std::vector<TaskRange>& ranges) {
        std::vector<double> errors;
        for (const TaskRange& r : ranges) {
          const bool lucky = r.range.end - r.range.begin == 2;
          errors.push_back(lucky ? 0 : needed.Error(r.range));
        }
        return absl::StatusOr<std::vector<double>>(errors);
      });
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ((*found)[0].range.end - (*found)[0].range.begin, 5u);
}

// The shorter of what the two orders of the ends come to, and of equally short
// ones the one with less error.
TEST(RangeSearchTest, TheOrderOfTheEndsIsTheBetterOne) {
  // Layers 0 and 1 together, or any range to the last one that is so long.
  const auto search = [](size_t needed_at_end, double error_at_end) {
    return ShortestRanges({{8, 0.5, 0}}, [&](const auto& ranges) {
      std::vector<double> errors;
      for (const TaskRange& r : ranges) {
        const bool at_end =
            r.range.end == 8 && r.range.end - r.range.begin >= needed_at_end;
        const bool at_begin = r.range.begin == 0 && r.range.end >= 2;
        errors.push_back(at_end ? error_at_end : at_begin ? 0.25 : 1);
      }
      return absl::StatusOr<std::vector<double>>(errors);
    });
  };
  for (const size_t needed : {size_t{1}, size_t{4}}) {
    const auto found = search(needed, 0);
    ASSERT_THAT(found, IsOk());
    const IndexRange& range = (*found)[0].range;
    EXPECT_EQ(range.begin, needed == 1 ? 7u : 0u);
    EXPECT_EQ(range.end, needed == 1 ? 8u : 2u);
  }
  for (const double error : {0.125, 0.375}) {
    const auto found = search(2, error);
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ((*found)[0].range.begin, error < 0.25 ? 6u : 0u);
    EXPECT_EQ((*found)[0].error, error < 0.25 ? error : 0.25);
  }
}

TEST(RangeSearchTest, PassesOnWhyItEnded) {
  const auto found =
      ShortestRanges({{8, 0, 0}}, [](const std::vector<TaskRange>&) {
        return absl::StatusOr<std::vector<double>>(
            absl::CancelledError("stopped"));
      });
  EXPECT_THAT(found, StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ulpscope
