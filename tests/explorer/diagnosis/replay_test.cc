// Residuals of candidates against a trace, by plain loops over what each shows.

#include "explorer/diagnosis/replay.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/points.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/decoder/kept_outputs.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

constexpr const char* kModel = "synthetic:tiny-qwen3";
const std::vector<int32_t> kTokens = {97, 1, 130, 299, 0, 5};

// The values that a candidate shows of a point, and whether it does, in the
// trace's shape: of scores, zero behind the position.
bool ValueOf(const KeptOutputs& kept, size_t s, const Point& point, size_t row,
             size_t col, double& value) {
  const size_t positions = kTokens.size();
  const bool scores = IsScores(point.op);
  const size_t position =
      scores ? row % positions : point.tensor->first_position + row;
  if (point.op == Op::kQk && col > position) return false;
  const auto& outputs = kept.outputs[s];
  auto it = outputs.lower_bound(
      {point.layer, point.op, scores ? position : size_t{0}});
  if (it == outputs.end() || std::get<0>(it->first) != point.layer ||
      std::get<1>(it->first) != point.op) {
    return false;
  }
  const size_t first = std::get<2>(it->first);
  const KeptOutputs::Output& output = it->second;
  if (scores ? first != position : position >= first + output.rows) {
    return false;
  }
  const size_t r = scores ? row / positions : position - first;
  value = col < output.cols ? output.values[r * output.cols + col] : 0;
  return true;
}

bool Same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

struct Expected {
  Residual residual;
  void Add(double theirs, double ours, double first, bool usual, double unit) {
    ++residual.elements;
    if (Same(theirs, ours)) ++residual.identical;
    const bool finite = std::isfinite(theirs) && std::isfinite(ours);
    if (!finite && !Same(theirs, ours)) {
      ++residual.nonfinite;
      residual.theirs_nonfinite += !std::isfinite(theirs);
    }
    for (Residual::Part* part : {&residual.all, &residual.usual}) {
      if (part == &residual.usual && !usual) continue;
      if (finite) part->squares += (theirs - ours) * (theirs - ours);
      const double own = ours - first;
      // Where theirs is not finite nothing is to be allowed for.
      if (!std::isfinite(own) || !std::isfinite(theirs)) continue;
      part->own_squares += own * own;
      const double noise = std::max(own * own, unit * ours * unit * ours / 3);
      part->noise_squares += noise;
      part->noise_quartic += noise * noise;
    }
  }
};

void ExpectNear(double got, double expected) {
  // Two orders of n < 2^12 terms.
  EXPECT_NEAR(got, expected, std::fabs(expected) * 0x1p-40);
}

void ExpectSame(const Residual& got, const Residual& expected) {
  EXPECT_EQ(got.elements, expected.elements);
  EXPECT_EQ(got.identical, expected.identical);
  EXPECT_EQ(got.theirs_nonfinite, expected.theirs_nonfinite);
  EXPECT_EQ(got.nonfinite, expected.nonfinite);
  EXPECT_EQ(got.rows_moved, expected.rows_moved);
  EXPECT_EQ(got.rows_hit, expected.rows_hit);
  const auto part = [](const Residual::Part& a, const Residual::Part& b) {
    ExpectNear(a.squares, b.squares);
    ExpectNear(a.own_squares, b.own_squares);
    ExpectNear(a.noise_squares, b.noise_squares);
    ExpectNear(a.noise_quartic, b.noise_quartic);
  };
  part(got.all, expected.all);
  part(got.usual, expected.usual);
}

class ReplayTest : public testing::Test {
 protected:
  Plan PlanOf(const std::string& text) const {
    return *Plan::Parse(text, Opened(kModel).weights.layers.size());
  }

  // A trace with an element that stands out, some that are not finite, and
  // logits of the last positions.
  static ReferenceTrace SpoiledTrace(size_t logits) {
    ReferenceTrace trace =
        TraceOf(kModel, "torch-bf16", kTokens, TraceKind::kOps, true);
    const auto rows = [&trace](size_t layer, Op op) {
      return trace.outputs.at({layer, op}).rows.view();
    };
    rows(3, Op::kOProj).Row(1)[7] = 1e4;
    rows(6, Op::kDownProj).Row(2)[3] = std::nan("");
    rows(8, Op::kUpProj).Row(0)[0] = std::numeric_limits<double>::infinity();
    TracedTensor& head = trace.outputs.at({0, Op::kLmHead});
    head.first_position = kTokens.size() - logits;
    head.rows = head.rows.Slice(head.first_position, logits);
    return trace;
  }

  std::vector<Candidate> Candidates(const GivenOutputs& given) const {
    Variant neighbours;
    neighbours.rope_pairs = RopePairs::kNeighbours;
    Variant after;
    after.qk_norm = QkNorm::kAfterRope;
    return {{PlanOf("oracle"), {}, &given},
            {PlanOf("f32"), {}, &given},
            {PlanOf("torch-bf16"), {}, &given},
            {PlanOf("torch-bf16"), neighbours, &given},
            {PlanOf("torch-f16"), after, &given},
            {PlanOf("torch-bf16"), {}, nullptr},
            {PlanOf("matmul=bf16"), {}, &given}};
  }

  absl::StatusOr<Residuals> Measure(const AlignedTrace& trace,
                                    const std::vector<Candidate>& candidates,
                                    size_t memory) {
    TestMonitor monitor;
    const ReplaySetting setting = {kTokens, memory, monitor, nullptr,
                                   parallel_};
    return MeasureCandidates(setting, Opened(kModel).weights, trace, candidates,
                             "test");
  }

  Parallel parallel_{2};
};

TEST_F(ReplayTest, IsWhatAPlainLoopFinds) {
  for (const size_t logits : {size_t{1}, size_t{2}, kTokens.size()}) {
    SCOPED_TRACE(logits);
    const ReferenceTrace trace = SpoiledTrace(logits);
    const AlignedTrace aligned = Aligned(trace, 8, 0, true);
    const std::vector<Candidate> candidates = Candidates(aligned);
    const auto residuals = Measure(aligned, candidates, SIZE_MAX);
    ASSERT_THAT(residuals, IsOk());
    ASSERT_EQ(residuals->size(), candidates.size());

    KeptOutputs kept(candidates.size());
    std::vector<Stream> streams;
    for (const Candidate& candidate : candidates) {
      Stream stream = {candidate.plan, kTokens};
      stream.variant = candidate.variant;
      stream.given = candidate.given;
      streams.push_back(stream);
    }
    LockstepOptions options;
    options.logits = Logits::kAll;
    ASSERT_THAT(
        RunLockstep(Opened(kModel).weights, streams, options, kept, parallel_),
        IsOk());
    size_t outstanding = 0, rows_moved = 0, rows_hit = 0;
    for (size_t i = 0; i < aligned.points().size(); ++i) {
      const Point& point = aligned.points()[i];
      const Matrix<double> theirs = point.tensor->rows.view();
      for (size_t s = 0; s < candidates.size(); ++s) {
        SCOPED_TRACE(absl::StrCat(s, " ", OpName(point.op), "@", point.layer));
        const double unit =
            point.op == Op::kEmbed
                ? 0
                : UnitRoundoff(candidates[s]
                                   .plan.Get(point.layer, point.op)
                                   .info()
                                   .result);
        Expected expected;
        for (size_t r = 0; r < theirs.rows; ++r) {
          size_t moved = 0, hit = 0;
          for (size_t c = 0; c < theirs.cols; ++c) {
            double ours, first, second;
            if (!ValueOf(kept, s, point, r, c, ours)) continue;
            ASSERT_TRUE(ValueOf(kept, 0, point, r, c, first));
            ASSERT_TRUE(ValueOf(kept, 1, point, r, c, second));
            const double x = theirs.Row(r)[c];
            const bool usual = std::fabs(x) < point.stands_out_from[r];
            outstanding += usual ? 0 : 1;
            expected.Add(x, ours, first, usual, unit);
            if (Same(ours, second)) continue;
            ++moved;
            if (Same(x, ours)) ++hit;
          }
          if (moved > 0) ++expected.residual.rows_moved;
          if (moved > 0 && 10 * hit >= 9 * moved) ++expected.residual.rows_hit;
        }
        EXPECT_GT(expected.residual.elements, 0u);
        // The first is shown before the second, with which rows are compared.
        if (s == 0) {
          expected.residual.rows_moved = expected.residual.rows_hit = 0;
        }
        ExpectSame((*residuals)[s][i], expected.residual);
        rows_moved += expected.residual.rows_moved;
        rows_hit += expected.residual.rows_hit;
      }
    }
    EXPECT_GT(outstanding, 0u);
    EXPECT_GT(rows_hit, 0u);
    EXPECT_LT(rows_hit, rows_moved);
  }
}

// However many passes it takes, all are compared with the first two.
TEST_F(ReplayTest, PassesDoNotMatter) {
  const ReferenceTrace trace = SpoiledTrace(2);
  const AlignedTrace aligned = Aligned(trace, 8, 0, true);
  const std::vector<Candidate> candidates = Candidates(aligned);
  const auto at_once = Measure(aligned, candidates, SIZE_MAX);
  ASSERT_THAT(at_once, IsOk());
  for (const size_t memory : {size_t{1}, size_t{400000}, size_t{800000}}) {
    const auto residuals = Measure(aligned, candidates, memory);
    ASSERT_THAT(residuals, IsOk());
    ASSERT_EQ(residuals->size(), candidates.size());
    for (size_t s = 0; s < candidates.size(); ++s) {
      ASSERT_EQ((*residuals)[s].size(), aligned.points().size());
      for (size_t i = 0; i < aligned.points().size(); ++i) {
        SCOPED_TRACE(absl::StrCat(memory, " ", s, " ", i));
        ExpectSame((*residuals)[s][i], (*at_once)[s][i]);
      }
    }
  }
}

TEST_F(ReplayTest, OneOrTwoCandidatesAreEnough) {
  const ReferenceTrace trace = SpoiledTrace(2);
  const AlignedTrace aligned = Aligned(trace, 8, 0, true);
  const std::vector<Candidate> all = Candidates(aligned);
  for (const size_t memory : {size_t{1}, SIZE_MAX}) {
    const auto one = Measure(aligned, {all[2]}, memory);
    ASSERT_THAT(one, IsOk());
    ASSERT_EQ(one->size(), 1u);
    for (const Residual& r : one->front()) {
      EXPECT_EQ(r.all.own_squares, 0);
    }
    const auto two = Measure(aligned, {all[2], all[1]}, memory);
    ASSERT_THAT(two, IsOk());
    ASSERT_EQ(two->size(), 2u);
  }
}

TEST_F(ReplayTest, Stops) {
  const ReferenceTrace trace = SpoiledTrace(2);
  const AlignedTrace aligned = Aligned(trace, 8, 0, true);
  const std::vector<Candidate> candidates = Candidates(aligned);
  TestMonitor stops(0);
  const ReplaySetting setting = {kTokens, SIZE_MAX, stops, nullptr, parallel_};
  EXPECT_THAT(MeasureCandidates(setting, Opened(kModel).weights, aligned,
                                candidates, "test"),
              StatusIs(absl::StatusCode::kCancelled));
}

// Of all passes together, from 0 to 1.
TEST_F(ReplayTest, ProgressOnlyGrows) {
  const ReferenceTrace trace = SpoiledTrace(2);
  const AlignedTrace aligned = Aligned(trace, 8, 0, true);
  std::vector<double> shares;
  TestMonitor monitor;
  const ReplaySetting setting = {
      kTokens, 1, monitor,
      [&shares](double share, absl::string_view what) {
        EXPECT_EQ(what, "test");
        shares.push_back(share);
      },
      parallel_};
  ASSERT_THAT(MeasureCandidates(setting, Opened(kModel).weights, aligned,
                                Candidates(aligned), "test"),
              IsOk());
  ASSERT_FALSE(shares.empty());
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_GE(shares.front(), 0);
  EXPECT_EQ(shares.back(), 1);
}

}  // namespace
}  // namespace ulpscope
