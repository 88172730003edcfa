#include "explorer/diagnosis/alignment.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::IsEmpty;

constexpr const char* kModel = "synthetic:tiny";
constexpr size_t kLayers = 8;

std::vector<int32_t> Counting(size_t n) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(i));
  return tokens;
}

class AlignmentTest : public testing::Test {
 protected:
  Alignment AlignmentOf(const ReferenceTrace& trace) {
    TestMonitor monitor;
    const ReplaySetting setting = {trace.tokens, SIZE_MAX, monitor, nullptr,
                                   parallel_};
    auto alignment = Align(setting, Opened(kModel).weights, trace);
    EXPECT_THAT(alignment, IsOk());
    return alignment.ok() ? *std::move(alignment) : Alignment();
  }

  static double MismatchOf(const Alignment& alignment, int shift) {
    for (const Alignment::Shift& tried : alignment.shifts) {
      if (tried.shift == shift) return tried.mismatch;
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  Parallel parallel_{2};
};

// An exact trace is its own replay, but for the angles' rounding to f32.
TEST_F(AlignmentTest, MeasuresEveryShift) {
  for (const bool normed : {false, true}) {
    const ReferenceTrace trace =
        TraceOf(kModel, "oracle", Counting(5), TraceKind::kStatesFile, normed);
    const Alignment alignment = AlignmentOf(trace);
    ASSERT_EQ(alignment.shifts.size(), 5u);
    EXPECT_EQ(alignment.shifts.front().shift, 0);
    EXPECT_EQ(alignment.shifts.front().layers, kLayers + 1);
    EXPECT_LT(MismatchOf(alignment, 0), 0x1p-40);
    // Unrelated updates are sqrt(2) apart if they are of a size.
    for (const int shift : {-2, -1, 1, 2}) {
      EXPECT_GT(MismatchOf(alignment, shift), 0.5) << shift;
    }
    EXPECT_EQ(alignment.state_shift, 0);
    EXPECT_EQ(alignment.last_state_normed, normed);
    ASSERT_TRUE(alignment.last_state.has_value());
    EXPECT_EQ(alignment.last_state->index, kLayers);
    const auto& last = *alignment.last_state;
    EXPECT_LT(normed ? last.normed : last.raw, 0x1p-40);
    EXPECT_GT(normed ? last.raw : last.normed, 0.1);
    EXPECT_THAT(alignment.other_tokens, IsEmpty());
  }
}

// With a state before it alone, the last one must not spoil the shift.
TEST_F(AlignmentTest, TheLastStateFitsNormedOrNot) {
  for (const bool normed : {false, true}) {
    ReferenceTrace trace =
        TraceOf(kModel, "oracle", Counting(5), TraceKind::kStatesFile, normed);
    trace.states.erase(trace.states.begin(), trace.states.find(kLayers - 1));
    const Alignment alignment = AlignmentOf(trace);
    ASSERT_FALSE(alignment.shifts.empty());
    EXPECT_EQ(alignment.shifts.front().shift, 0);
    EXPECT_EQ(alignment.shifts.front().layers, 1u);
    EXPECT_LT(MismatchOf(alignment, 0), 0x1p-40);
    EXPECT_EQ(alignment.state_shift, 0);
    EXPECT_EQ(alignment.last_state_normed, normed);
  }
}

// All ops, and no list: there is nothing to be shifted.
TEST_F(AlignmentTest, OutputsOfModulesAreWhereTheyAre) {
  ReferenceTrace trace =
      TraceOf(kModel, "f32", Counting(5), TraceKind::kOps, true);
  trace.states.clear();
  const Alignment alignment = AlignmentOf(trace);
  EXPECT_THAT(alignment.shifts, IsEmpty());
  EXPECT_EQ(alignment.state_shift, 0);
  EXPECT_FALSE(alignment.last_state_normed);
  EXPECT_FALSE(alignment.last_state.has_value());
}

// bf16's rounding of an embedding is no other token; what is in no row of the
// table is none that has a name.
TEST_F(AlignmentTest, FindsTheTokensThatWereRun) {
  constexpr size_t kPositions = 20;
  ReferenceTrace trace = TraceOf(kModel, "f32", Counting(kPositions),
                                 TraceKind::kStatesFile, false);
  const Matrix<double> rows = trace.states.at(0).rows.view();
  for (size_t c = 0; c < rows.cols; ++c) {
    rows.Row(0)[c] *= 1 + UnitRoundoff(Format::kBF16);
    rows.Row(1)[c] *= 1.5;
  }
  for (size_t i = 2; i < kPositions; ++i) trace.tokens[i] += 100;
  const Alignment alignment = AlignmentOf(trace);
  const auto& other = alignment.other_tokens;
  ASSERT_EQ(other.size(), kPositions - 1);
  EXPECT_EQ(other[0].position, 1u);
  EXPECT_EQ(other[0].token, 1);
  EXPECT_EQ(other[0].found, -1);
  for (size_t i = 2; i < kPositions; ++i) {
    EXPECT_EQ(other[i - 1].position, i);
    EXPECT_EQ(other[i - 1].token, static_cast<int32_t>(i) + 100);
    EXPECT_EQ(other[i - 1].found, static_cast<int32_t>(i));
  }
}

}  // namespace
}  // namespace ulpscope
