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
