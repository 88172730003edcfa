#include "explorer/diagnosis/alignment.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
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
using ::absl_testing::StatusIs;
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
    auto alignment = AlignmentOf(trace, monitor);
    EXPECT_THAT(alignment, IsOk());
    return alignment.ok() ? *std::move(alignment) : Alignment();
  }
  absl::StatusOr<Alignment> AlignmentOf(const ReferenceTrace& trace,
                                        TestMonitor& monitor) {
    const ReplaySetting setting = {trace.tokens, SIZE_MAX, monitor, nullptr,
                                   parallel_};
    const auto values = TracedValues::Of(trace, monitor, parallel_);
    if (!values.ok()) return values.status();
    return Align(setting, Opened(kModel).weights, *values);
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

// Which looks at all of the vocabulary: whoever waits is asked on the way, and
// nothing more is looked at once told to stop.
TEST_F(AlignmentTest, LookingForTokensStops) {
  constexpr size_t kPositions = 512;
  std::vector<int32_t> tokens(kPositions);
  for (size_t i = 0; i < kPositions; ++i) {
    tokens[i] = static_cast<int32_t>(i % 300);
  }
  ReferenceTrace trace =
      TraceOf(kModel, "f32", tokens, TraceKind::kStatesFile, false);
  // Without other states there is little else to do.
  trace.states.erase(std::next(trace.states.begin()), trace.states.end());
  TestMonitor as_it_is;
  ASSERT_THAT(AlignmentOf(trace, as_it_is), IsOk());
  const Matrix<double> rows = trace.states.at(0).rows.view();
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t c = 0; c < rows.cols; ++c) rows.Row(r)[c] *= 8;
  }
  TestMonitor scaled;
  const auto alignment = AlignmentOf(trace, scaled);
  ASSERT_THAT(alignment, IsOk());
  EXPECT_EQ(alignment->other_tokens.size(), kPositions);
  // 2^22 values at once on each of two threads, of 300 tokens with 64 channels
  // against each position and once more.
  const size_t at_once = 2 * ((size_t{1} << 22) / (64 * (kPositions + 1)));
  const size_t pieces = (300 + at_once - 1) / at_once;
  ASSERT_GT(pieces, 1u);
  EXPECT_EQ(scaled.asked(), as_it_is.asked() + pieces);
  for (size_t piece = 0; piece < pieces; ++piece) {
    TestMonitor stops(as_it_is.asked() + piece);
    EXPECT_THAT(AlignmentOf(trace, stops),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(stops.asked(), as_it_is.asked() + piece + 1);
  }
}

}  // namespace
}  // namespace ulpscope
