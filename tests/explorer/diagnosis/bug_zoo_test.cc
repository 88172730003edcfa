// The diagnosis of traces that transformers wrote, correct and with bugs that
// were patched into it (tools/make_bug_zoo.py): every bug by its name, and
// nothing else.

#include "tests/explorer/diagnosis/bug_zoo.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "explorer/diagnosis/diagnosis.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::UnorderedElementsAreArray;

// Of what a trace has, the part that is diagnosed.
enum class Traced { kAllOps, kHiddenStates };

class BugZooTest : public testing::TestWithParam<ZooTrace> {
 protected:
  // A trace's diagnosis. What goes wrong is a failed expectation.
  Diagnosis Diagnosed(Traced traced) {
    const ZooTrace& zoo = GetParam();
    Parallel parallel(2);
    const auto checkpoint = OpenCheckpoint(zoo.checkpoint);
    EXPECT_THAT(checkpoint, IsOk());
    if (!checkpoint.ok()) return {};
    const auto weights =
        LoadWeights(*checkpoint, parallel, [](size_t, size_t) {});
    EXPECT_THAT(weights, IsOk());
    auto trace = LoadReferenceTrace(zoo.file, "", checkpoint->config, {});
    EXPECT_THAT(trace, IsOk());
    if (!weights.ok() || !trace.ok()) return {};
    if (traced == Traced::kHiddenStates) {
      for (auto it = trace->outputs.begin(); it != trace->outputs.end();) {
        const Op op = it->first.second;
        const bool kept = op == Op::kEmbed || op == Op::kMlpResidual ||
                          op == Op::kFinalNorm || op == Op::kLmHead;
        it = kept ? std::next(it) : trace->outputs.erase(it);
      }
      trace->scores.clear();
    }
    auto diagnosis = Diagnose(RunOf(*weights, parallel), *checkpoint,
                              Plan(weights->layers.size()), *trace);
    EXPECT_THAT(diagnosis, IsOk());
    return diagnosis.ok() ? *std::move(diagnosis) : Diagnosis();
  }

  // Ids of what was found, but for rounding, which is no bug.
  static std::vector<std::string> Found(const Diagnosis& diagnosis) {
    std::vector<std::string> ids;
    for (const DiagnosedCause& cause : diagnosis.causes) {
      if (cause.kind != CauseKind::kRounding) ids.push_back(cause.id);
    }
    return ids;
  }

  // "f32" of float32. transformers runs norms, the softmax and RoPE in float32
  // even of a float64 model, unless the zoo keeps it from that.
  static std::string ArithmeticOf(const ZooTrace& zoo) {
    if (absl::StrContains(zoo.name, "throughout")) return "f64";
    return zoo.dtype == "float64"    ? "torch-f64"
           : zoo.dtype == "float32"  ? "f32"
           : zoo.dtype == "bfloat16" ? "torch-bf16"
                                     : "torch-f16";
  }

  // Rotations by equal angles more cancel in the scores: states and logits are
  // the correct model's but for rounding. (In bf16 its flips may tell.)
  static bool CannotShowInStates(const ZooTrace& zoo) {
    return zoo.bugs == std::vector<std::string>{"positions_plus_one"} ||
           zoo.bugs == std::vector<std::string>{"qk_rows_neighbours"};
  }

  // Other orders of rows are other pairs that RoPE rotates, to the states.
  static std::vector<std::string> SeenInStates(std::vector<std::string> bugs) {
    for (std::string& bug : bugs) {
      if (bug == "qk_rows_unpermuted") bug = "rope_neighbours";
      if (bug == "k_rows_from_q_heads") bug = "k_rows_as_q_heads";
    }
    return bugs;
  }

  // A factor is read off the op's own output: of a layer's, nothing tells it.
  static bool CannotBeToldFromStates(const ZooTrace& zoo) {
    return zoo.bugs.size() == 1 && absl::StrContains(zoo.bugs[0], "_scaled") &&
           !absl::StartsWith(zoo.bugs[0], "logits");
  }
};

TEST_P(BugZooTest, NamesWhatIsInIt) {
  const ZooTrace& zoo = GetParam();
  const Diagnosis d = Diagnosed(Traced::kAllOps);
  EXPECT_THAT(Found(d), UnorderedElementsAreArray(zoo.bugs));
  EXPECT_EQ(d.arithmetic.name, ArithmeticOf(zoo));
  EXPECT_FALSE(d.arithmetic.stored_rounded);
  EXPECT_EQ(d.explained(), !zoo.outside);
}

TEST_P(BugZooTest, NamesItFromHiddenStatesAlone) {
  const ZooTrace& zoo = GetParam();
  const Diagnosis d = Diagnosed(Traced::kHiddenStates);
  if (CannotShowInStates(zoo)) {
    EXPECT_THAT(Found(d), testing::IsSubsetOf(zoo.bugs));
  } else if (CannotBeToldFromStates(zoo)) {
    EXPECT_THAT(Found(d), testing::IsEmpty());
  } else {
    EXPECT_THAT(Found(d), UnorderedElementsAreArray(SeenInStates(zoo.bugs)));
  }
  EXPECT_EQ(d.arithmetic.name, ArithmeticOf(zoo));
  EXPECT_EQ(d.explained(), !zoo.outside && !CannotBeToldFromStates(zoo));
}

// Where transformers' own output first differs from the correct model's.
TEST_P(BugZooTest, FindsWhereItFirstDiffers) {
  const ZooTrace& zoo = GetParam();
  const Diagnosis d = Diagnosed(Traced::kAllOps);
  if (zoo.first_op.empty()) {
    EXPECT_FALSE(d.first_difference.has_value());
    return;
  }
  if (zoo.outside) {
    ASSERT_TRUE(d.first_unexplained.has_value());
    const PointResult& first = d.points[*d.first_unexplained];
    EXPECT_EQ(OpName(first.op), zoo.first_op);
    EXPECT_EQ(first.layer, zoo.first_layer);
    return;
  }
  // The first that one concerns; beyond rounding it may differ only later.
  const auto first = std::find_if(d.causes.begin(), d.causes.end(),
                                  [](const DiagnosedCause& cause) {
                                    return cause.kind != CauseKind::kRounding;
                                  });
  ASSERT_NE(first, d.causes.end());
  EXPECT_EQ(first->first_layer, zoo.first_layer);
  if (!zoo.has_ops) return;
  // Rows of q_proj are in another order, and right.
  const bool begins_later = first->id == "k_rows_as_q_heads";
  EXPECT_EQ(OpName(first->first_op), begins_later ? "k_proj" : zoo.first_op);
}

// By the replay of the trace's own values, and by runs from the tokens on.
TEST_P(BugZooTest, ConfirmsItTwice) {
  const Diagnosis d = Diagnosed(Traced::kAllOps);
  for (const DiagnosedCause& cause : d.causes) {
    SCOPED_TRACE(cause.id);
    if (cause.kind == CauseKind::kRounding) continue;
    EXPECT_LT(cause.replay_with.value(), cause.replay_without.value());
    EXPECT_GT(cause.points, 0u);
    EXPECT_FALSE(cause.what.empty());
    EXPECT_FALSE(cause.advice.empty());
    if (cause.kind == CauseKind::kComparison) continue;
    EXPECT_LE(cause.replay_with.value(), 1);
    // Positions that are all one too large cancel in the run.
    if (cause.id == "positions_plus_one") continue;
    // Nor does a run tell of a cause behind which the trace is not finite.
    if (!cause.run_without.has_value()) {
      EXPECT_GT(d.points.back().nonfinite, 0u);
      continue;
    }
    EXPECT_LT(cause.run_with.value(), cause.run_without.value());
    EXPECT_GT(cause.removed.value(), 0.9);
  }
}

// The error table of any trace: its shares are of something, and all of it.
TEST_P(BugZooTest, SharesOfARowAddUp) {
  const Diagnosis d = Diagnosed(Traced::kAllOps);
  ASSERT_FALSE(d.rows.empty());
  for (const ErrorRow& row : d.rows) {
    EXPECT_EQ(row.shares.has_value(), std::isfinite(row.error.rmse));
    if (!row.shares.has_value()) continue;
    const ErrorShares& s = *row.shares;
    double sum = 0;
    for (const double share : {s.comparison, s.rounding, s.difference, s.own,
                               s.inherited, s.cancellation}) {
      EXPECT_GE(share, 0) << row.layer;
      sum += share;
    }
    // Of no error there are none.
    if (row.error.rmse == 0) continue;
    EXPECT_NEAR(sum, 1, 16 * 0x1p-53) << row.layer;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Zoo, BugZooTest, testing::ValuesIn(BugZoo()), [](const auto& param_info) {
      return absl::StrReplaceAll(
          param_info.param.name,
          {{"-", "_"}, {"+", "_and_"}, {"@", "_at_"}, {".", "_"}});
    });

// The catalogue is in the zoo, each architecture and dtype where it makes
// sense.
TEST(BugZoo, HasTheCatalogue) {
  const std::vector<ZooTrace> zoo = BugZoo();
  std::set<std::string> singles;
  size_t correct = 0, pairs = 0, outside = 0;
  for (const ZooTrace& trace : zoo) {
    if (trace.outside) {
      ++outside;
    } else if (trace.bugs.empty()) {
      ++correct;
    } else if (trace.bugs.size() == 2) {
      ++pairs;
    } else {
      singles.insert(trace.bugs.front());
    }
  }
  EXPECT_GE(correct, 10u);
  EXPECT_GE(pairs, 10u);
  EXPECT_GE(outside, 5u);
  EXPECT_GE(singles.size(), 67u);
}

}  // namespace
}  // namespace ulpscope
