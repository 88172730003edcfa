// The diagnosis of our own traces, as they were dumped and with changes.

#include "explorer/diagnosis/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/report/diagnosis_json.h"
#include "explorer/report/run_info.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/rounding.h"
#include "model/architecture/variant.h"
#include "model/decoder/activations.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kLayers = 8;  // of both models

const std::vector<int32_t> kTokens = {97, 1, 130, 299, 0};
const char* const kModels[] = {"synthetic:tiny", "synthetic:tiny-qwen3"};

// Every tensor of the trace.
template <typename Fn>
void ForEachTensor(ReferenceTrace& trace, const Fn& fn) {
  for (auto& [place, tensor] : trace.outputs) fn(tensor);
  for (auto& [place, tensor] : trace.scores) fn(tensor);
  for (auto& [index, tensor] : trace.states) fn(tensor);
}

// Every value of a tensor.
template <typename Fn>
void ForEachValue(TracedTensor& tensor, const Fn& fn) {
  const Matrix<double> rows = tensor.rows.view();
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t c = 0; c < rows.cols; ++c) fn(rows.Row(r)[c]);
  }
}

// What it is after, where a trace has a list of states alone.
void KeepStates(ReferenceTrace& trace, const std::vector<size_t>& indices) {
  trace.outputs.clear();
  trace.scores.clear();
  for (auto it = trace.states.begin(); it != trace.states.end();) {
    const bool kept =
        std::find(indices.begin(), indices.end(), it->first) != indices.end();
    it = kept ? std::next(it) : trace.states.erase(it);
  }
}

// Of a diagnosis that ran to its end.
std::string FirstUnexplained(const Diagnosis& d) {
  if (!d.first_unexplained.has_value()) return "";
  const PointResult& point = d.points[*d.first_unexplained];
  return absl::StrCat(OpName(point.op), "@", point.layer);
}

void ExpectCorrect(const Diagnosis& d) {
  EXPECT_THAT(FoundIn(d), IsEmpty());
  EXPECT_EQ(FirstUnexplained(d), "");
  EXPECT_FALSE(d.first_difference.has_value());
  EXPECT_EQ(d.alignment.state_shift, 0);
  EXPECT_THAT(d.alignment.other_tokens, IsEmpty());
  EXPECT_EQ(d.stopped_in, "");
}

struct Own {
  const char* model;
  const char* plan;
  TraceKind kind;
  bool normed;
};

std::string NameOf(const testing::TestParamInfo<Own>& info) {
  const Own& own = info.param;
  const char* const kind = own.kind == TraceKind::kOps          ? "ops"
                           : own.kind == TraceKind::kStatesFile ? "states"
                                                                : "folder";
  return absl::StrReplaceAll(absl::StrCat(own.model, "_", own.plan, "_", kind,
                                          own.normed ? "_normed" : "_raw"),
                             {{"synthetic:", ""}, {"-", "_"}});
}

std::vector<Own> OwnTraces() {
  std::vector<Own> all;
  for (const char* model : kModels) {
    for (const char* plan : {"f32", "torch-bf16", "torch-f16", "oracle"}) {
      for (const TraceKind kind :
           {TraceKind::kOps, TraceKind::kStatesFile, TraceKind::kFolder}) {
        for (const bool normed : {false, true}) {
          all.push_back({model, plan, kind, normed});
        }
      }
    }
  }
  return all;
}

class OwnTraceTest : public testing::TestWithParam<Own> {};

// No implementation difference. The folder's values are f32 whatever made them:
// of f64 that is what f32 explains.
TEST_P(OwnTraceTest, IsExplained) {
  const Own& own = GetParam();
  const ReferenceTrace trace =
      TraceOf(own.model, own.plan, kTokens, own.kind, own.normed);
  const Diagnosis d = DiagnosisOf(own.model, trace);
  const bool f64 = std::string(own.plan) == "oracle";
  EXPECT_EQ(d.arithmetic.name, !f64                             ? own.plan
                               : own.kind == TraceKind::kFolder ? "f32"
                                                                : "f64");
  EXPECT_FALSE(d.arithmetic.stored_rounded);
  EXPECT_EQ(d.alignment.state_shift, 0);
  EXPECT_EQ(d.alignment.last_state_normed, own.normed);
  // A file of ops has the true state as well.
  if (own.normed && own.kind != TraceKind::kOps) {
    EXPECT_THAT(FoundIn(d), ElementsAre("last_state_normed"));
  } else {
    EXPECT_THAT(FoundIn(d), IsEmpty());
  }
  EXPECT_TRUE(d.explained()) << FirstUnexplained(d);
  EXPECT_FALSE(d.differs());
  EXPECT_FALSE(d.first_difference.has_value());
  EXPECT_EQ(d.positions, kTokens.size());
  EXPECT_EQ(d.num_layers, kLayers);
  for (const PointResult& point : d.points) {
    EXPECT_FALSE(point.differs) << point.name;
    EXPECT_LE(point.distance, point.allowed) << point.name;
    EXPECT_EQ(point.nonfinite, 0u) << point.name;
  }
  ASSERT_FALSE(d.arithmetic.presets.empty());
  EXPECT_EQ(d.arithmetic.presets.front().name, d.arithmetic.name);
  EXPECT_EQ(d.arithmetic.presets.front().points_explained, d.points.size());
  EXPECT_EQ(d.states.size(), kLayers + 1 + (own.kind == TraceKind::kOps));
}

INSTANTIATE_TEST_SUITE_P(Traces, OwnTraceTest, testing::ValuesIn(OwnTraces()),
                         NameOf);

// Given the inputs that it had, an op computes its bits again; but the angles
// of the preset are those of transformers.
TEST(DiagnosisTest, ReplaysHaveTheBitsOfOurOwnTrace) {
  for (const char* plan : {"f32", "torch-bf16", "torch-f16"}) {
    const ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kOps, true);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    ASSERT_EQ(d.points.size(), kLayers * 16 + 3);
    for (const PointResult& point : d.points) {
      SCOPED_TRACE(absl::StrCat(plan, " ", point.name));
      if (point.op == Op::kRope) continue;
      EXPECT_EQ(point.distance, 0);
      EXPECT_EQ(point.identical, 1);
      EXPECT_EQ(point.identical_with_causes, 1);
      EXPECT_EQ(point.closest, plan);
    }
  }
}

// Of our own trace the angles are exact, of the preset's they are f32: a
// difference that grows with the position, and is rounding all the same.
TEST(DiagnosisTest, ManyPositionsAreNoDifference) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 100; ++i) tokens.push_back(i * 37 % 300);
  const ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", tokens, TraceKind::kOps, false);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ExpectCorrect(d);
  EXPECT_EQ(d.arithmetic.name, "f32");
}

// The 2-norm of a - b.
double Distance(const TracedTensor& a, const TracedTensor& b) {
  double squares = 0;
  for (size_t r = 0; r < a.rows.rows(); ++r) {
    for (size_t c = 0; c < a.rows.view().cols; ++c) {
      const double d = a.rows.view().Row(r)[c] - b.rows.view().Row(r)[c];
      squares += d * d;
    }
  }
  return std::sqrt(squares);
}

// Sums of n < 2^10 squares in two orders differ by 2 n roundings at most.
double SumTolerance(double expected) { return expected * 0x1p-42; }

TEST(DiagnosisTest, DistancesAreThoseOfFreeRuns) {
  const auto dumped = [](const char* plan) {
    return TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kStatesFile,
                   false);
  };
  const ReferenceTrace oracle = dumped("oracle");
  const ReferenceTrace ours = dumped("f32");
  const ReferenceTrace theirs = dumped("torch-bf16");
  const Diagnosis d = DiagnosisOf("synthetic:tiny", theirs);
  ASSERT_EQ(d.states.size(), kLayers + 1);
  for (size_t n = 0; n <= kLayers; ++n) {
    SCOPED_TRACE(n);
    const StateDistance& state = d.states[n];
    EXPECT_EQ(state.layer, n);
    EXPECT_FALSE(state.normed);
    TracedTensor zero;
    const Matrix<double> theirs_rows = theirs.states.at(n).rows.view();
    zero.rows = Rows::Allocate(theirs_rows.rows, theirs_rows.cols);
    ForEachValue(zero, [](double& x) { x = 0; });
    const double norm = Distance(theirs.states.at(n), zero);
    const auto expect = [&](double got, const ReferenceTrace& a,
                            const ReferenceTrace& b) {
      const double expected = Distance(a.states.at(n), b.states.at(n)) / norm;
      EXPECT_NEAR(got, expected, SumTolerance(expected));
    };
    expect(state.trace_to_oracle, theirs, oracle);
    expect(state.trace_to_ours, theirs, ours);
    expect(state.ours_to_oracle, ours, oracle);
  }
}

// Of the embedding all have the same bits.
TEST(DiagnosisTest, SaysWhoIsNearerToTheOracle) {
  for (const char* model : kModels) {
    const auto nearer = [&](const char* theirs, const char* ours) {
      const ReferenceTrace trace =
          TraceOf(model, theirs, kTokens, TraceKind::kFolder, true);
      return DiagnosisOf(model, trace, {}, ours).nearer_to_oracle;
    };
    EXPECT_EQ(nearer("torch-bf16", "f32"), -1);
    EXPECT_EQ(nearer("f32", "torch-bf16"), 1);
    EXPECT_EQ(nearer("f32", "f32"), 0);
    EXPECT_EQ(nearer("torch-bf16", "torch-bf16"), 0);
  }
}

// A value that is none, in one place: it is named, no cause is, and what it
// spreads to does not crash.
TEST(DiagnosisTest, OneNaNIsUnexplained) {
  for (const double value : {kNaN, kInfinity, -kInfinity}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
    trace.outputs.at({4, Op::kUpProj}).rows.view().Row(1)[3] = value;
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "up_proj@4");
    EXPECT_EQ(d.arithmetic.name, "f32");
    size_t nonfinite = 0;
    for (const PointResult& point : d.points) nonfinite += point.nonfinite;
    EXPECT_EQ(nonfinite, 1u);
    ASSERT_TRUE(d.first_unexplained.has_value());
    EXPECT_EQ(d.points[*d.first_unexplained].distance, kInfinity);
  }
}

TEST(DiagnosisTest, ALayerOfNaNIsUnexplained) {
  for (const double value : {kNaN, kInfinity}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kFolder, false);
    ForEachValue(trace.states.at(3), [value](double& x) { x = value; });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "mlp_residual@3");
    EXPECT_EQ(d.alignment.state_shift, 0);
  }
}

TEST(DiagnosisTest, NothingButNaNIsUnexplained) {
  for (const TraceKind kind : {TraceKind::kOps, TraceKind::kFolder}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, kind, false);
    ForEachTensor(trace, [](TracedTensor& tensor) {
      ForEachValue(tensor, [](double& x) { x = kNaN; });
    });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "embed@0");
    EXPECT_EQ(d.stopped_in, "");
  }
}

// What is left says where it is: nothing is taken for another layer's.
TEST(DiagnosisTest, MissingStatesAreNoDifference) {
  const std::vector<size_t> lists[] = {
      {0, 2, 4, 6, 8}, {1, 3, 5, 7}, {2, 4, 6}, {0}, {1}, {2}, {4}, {8},
      {5, 6},          {0, 8}};
  for (const char* plan : {"f32", "torch-bf16"}) {
    for (const std::vector<size_t>& kept : lists) {
      SCOPED_TRACE(absl::StrCat(plan, " ", testing::PrintToString(kept)));
      ReferenceTrace trace = TraceOf("synthetic:tiny", plan, kTokens,
                                     TraceKind::kStatesFile, false);
      KeepStates(trace, kept);
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      ExpectCorrect(d);
      EXPECT_EQ(d.points.size(), kept.size());
      if (kept.back() > 0) {
        EXPECT_EQ(d.arithmetic.name, plan);
      }
    }
  }
}

TEST(DiagnosisTest, ALastStateAloneIsNamedNormed) {
  ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16", kTokens,
                                 TraceKind::kFolder, true);
  KeepStates(trace, {8});
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  EXPECT_THAT(FoundIn(d), ElementsAre("last_state_normed"));
  EXPECT_TRUE(d.explained());
}

TEST(DiagnosisTest, LogitsOfTheLastPositionAreEnough) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, true);
    KeepStates(trace, {});
    TracedTensor logits = trace.outputs[{0, Op::kLmHead}];
    const ReferenceTrace full =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kOps, true);
    logits = full.outputs.at({0, Op::kLmHead});
    logits.first_position = kTokens.size() - 1;
    logits.rows = logits.rows.Slice(kTokens.size() - 1, 1);
    trace.outputs[{0, Op::kLmHead}] = logits;
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    ExpectCorrect(d);
    EXPECT_EQ(d.arithmetic.name, plan);
    ASSERT_EQ(d.points.size(), 1u);
    EXPECT_EQ(d.points[0].elements, logits.rows.view().cols);
    EXPECT_THAT(d.rows, IsEmpty());
  }
}

TEST(DiagnosisTest, OtherTokensAreNamed) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
  trace.tokens[2] = 131;
  trace.tokens[4] = 7;
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_THAT(FoundIn(d), ElementsAre("other_tokens"));
  const auto& other = d.alignment.other_tokens;
  ASSERT_EQ(other.size(), 2u);
  EXPECT_EQ(other[0].position, 2u);
  EXPECT_EQ(other[0].token, 131);
  EXPECT_EQ(other[0].found, 130);
  EXPECT_EQ(other[1].position, 4u);
  EXPECT_EQ(other[1].token, 7);
  EXPECT_EQ(other[1].found, 0);
  EXPECT_EQ(d.causes[0].points, 2u);
  EXPECT_EQ(d.causes[0].kind, CauseKind::kComparison);
  EXPECT_FALSE(d.differs());
}

// hidden_states[n] is what was after layer n + shift.
ReferenceTrace Shifted(const char* plan, int shift, bool normed) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, normed);
  std::map<size_t, TracedTensor> states;
  for (const auto& [index, tensor] : trace.states) {
    const int to = static_cast<int>(index) - shift;
    if (to < 0 || to > static_cast<int>(kLayers)) continue;
    states[static_cast<size_t>(to)] = tensor;
  }
  trace.states = states;
  trace.outputs.clear();
  return trace;
}

TEST(DiagnosisTest, AShiftedListIsNamed) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    for (const int shift : {-2, -1, 1, 2}) {
      SCOPED_TRACE(absl::StrCat(plan, " ", shift));
      const Diagnosis d =
          DiagnosisOf("synthetic:tiny", Shifted(plan, shift, false));
      EXPECT_EQ(d.alignment.state_shift, shift);
      ASSERT_THAT(FoundIn(d), ElementsAre("index_off_by_one"));
      EXPECT_EQ(d.arithmetic.name, plan);
      EXPECT_TRUE(d.explained());
      const DiagnosedCause& cause = d.causes.front();
      EXPECT_EQ(cause.kind, CauseKind::kComparison);
      EXPECT_LT(cause.replay_with, cause.replay_without / 2);
      EXPECT_GT(cause.removed, 0.9);
    }
  }
}

TEST(DiagnosisTest, AShiftAndANormAreBothNamed) {
  const Diagnosis d =
      DiagnosisOf("synthetic:tiny", Shifted("torch-bf16", 1, true));
  EXPECT_EQ(d.alignment.state_shift, 1);
  EXPECT_THAT(FoundIn(d),
              UnorderedElementsAre("index_off_by_one", "last_state_normed"));
  EXPECT_TRUE(d.explained());
}

// f32 that was kept in 16 bits is no 16-bit arithmetic, and no bug.
TEST(DiagnosisTest, RoundedWhenItWasStored) {
  for (const char* model : kModels) {
    for (const TraceKind kind : {TraceKind::kOps, TraceKind::kStatesFile}) {
      for (const bool bf16 : {true, false}) {
        SCOPED_TRACE(absl::StrCat(model, " ", static_cast<int>(kind), bf16));
        ReferenceTrace trace = TraceOf(model, "f32", kTokens, kind, false);
        ForEachTensor(trace, [bf16](TracedTensor& tensor) {
          ForEachValue(tensor, [bf16](double& x) {
            x = bf16 ? RoundedToBF16(x) : RoundedToF16(x);
          });
        });
        const Diagnosis d = DiagnosisOf(model, trace);
        ExpectCorrect(d);
        EXPECT_EQ(d.arithmetic.name, "f32");
        EXPECT_TRUE(d.arithmetic.stored_rounded);
      }
    }
  }
}

// One element that nothing explains, by as little as can be seen: rounding of a
// row of n elements of f32 is sqrt(n) u, of which allowed is some factor.
TEST(DiagnosisTest, AChangedElementIsUnexplained) {
  for (const double factor : {1 + 0x1p-12, 1.5, -1e6}) {
    SCOPED_TRACE(factor);
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kOps, false);
    const Matrix<double> rows = trace.outputs.at({3, Op::kKProj}).rows.view();
    // Of some size against its row.
    double* const largest = std::max_element(
        rows.Row(2), rows.Row(2) + rows.cols,
        [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    *largest *= factor;
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "k_proj@3");
    ASSERT_TRUE(d.first_difference.has_value());
    EXPECT_EQ(*d.first_difference, *d.first_unexplained);
    EXPECT_EQ(d.arithmetic.name, "f32");
    // RoPE is a replay of what was changed: it differs too, and nothing else.
    for (const PointResult& point : d.points) {
      const bool here =
          point.layer == 3 && (point.op == Op::kKProj || point.op == Op::kRope);
      EXPECT_EQ(point.still_differs, here) << point.name;
    }
  }
}

TEST(DiagnosisTest, AChangedStateIsUnexplained) {
  for (const char* plan : {"f32", "torch-bf16"}) {
    ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, false);
    ForEachValue(trace.states.at(4), [](double& x) { x *= 1.25; });
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    EXPECT_THAT(FoundIn(d), IsEmpty());
    EXPECT_EQ(FirstUnexplained(d), "mlp_residual@4");
    EXPECT_FALSE(d.rounding.has_value());
  }
}

// A trace in which some ops ran in another format.
TEST(DiagnosisTest, OpsInAnotherFormatAreNamed) {
  const struct {
    const char* plan;
    std::vector<std::string> causes;
    const char* name;
  } rows[] = {
      {"q_proj@3=bf16", {"q_proj@3_bf16"}, "f32"},
      {"down_proj@2-4=bf16", {"down_proj@2-4_bf16"}, "f32"},
      {"residual=bf16", {"residual_bf16"}, "f32"},
      {"softmax=bf16", {"softmax_bf16"}, "f32"},
      {"matmul=bf16_acc", {"matmul_bf16_acc"}, "f32"},
      // All matrices would explain more of them than they would spoil.
      {"q_proj=bf16,o_proj=bf16,gate_proj=bf16,up_proj=bf16",
       {"q_proj_bf16", "o_proj_bf16", "gate_proj_bf16", "up_proj_bf16"},
       "f32"},
      {"torch-bf16,o_proj@5=f32", {}, "torch-bf16"},
      {"torch-bf16,residual=f32", {}, "torch-bf16"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.plan);
    const ReferenceTrace trace = TraceOf("synthetic:tiny-qwen3", row.plan,
                                         kTokens, TraceKind::kOps, false);
    const Diagnosis d = DiagnosisOf("synthetic:tiny-qwen3", trace);
    EXPECT_EQ(FoundIn(d), row.causes);
    EXPECT_EQ(d.arithmetic.name, row.name);
    EXPECT_TRUE(d.explained()) << FirstUnexplained(d);
    for (const DiagnosedCause& cause : d.causes) {
      if (cause.kind == CauseKind::kRounding) continue;
      EXPECT_EQ(cause.kind, CauseKind::kArithmetic);
      EXPECT_LE(cause.replay_with, 1);
      EXPECT_GT(cause.replay_without, cause.replay_with);
    }
  }
}

TEST(DiagnosisTest, AnOpInAnotherFormatIsNamedFromStatesAlone) {
  for (const char* model : kModels) {
    const ReferenceTrace trace =
        TraceOf(model, "q_proj@3=bf16", kTokens, TraceKind::kStatesFile, false);
    const Diagnosis d = DiagnosisOf(model, trace);
    ASSERT_THAT(FoundIn(d), ElementsAre("q_proj@3_bf16"));
    EXPECT_TRUE(d.explained());
    EXPECT_EQ(d.causes.front().first_layer, 3u);
  }
}

// With one position, at 0, nothing is rotated and nothing to be masked.
TEST(DiagnosisTest, ABugThatCannotBeSeenIsNotNamed) {
  Variant other_theta;
  other_theta.rope_theta = 1e4;
  Variant no_mask;
  no_mask.causal = false;
  Variant other_scale;
  other_scale.attention_scale = 1;
  for (const Variant& variant : {other_theta, no_mask, other_scale}) {
    for (const char* plan : {"f32", "torch-bf16"}) {
      const ReferenceTrace trace =
          TraceOfVariant("synthetic:tiny", plan, {97}, variant);
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      ExpectCorrect(d);
      EXPECT_EQ(d.arithmetic.name, plan);
    }
  }
}

// The same with enough positions.
TEST(DiagnosisTest, ABugThatCanBeSeenIsNamed) {
  Variant other_theta;
  other_theta.rope_theta = 1e4;
  Variant no_mask;
  no_mask.causal = false;
  Variant other_scale;
  other_scale.attention_scale = 1;
  const struct {
    const char* id;
    const Variant& variant;
  } rows[] = {{"rope_theta_10000", other_theta},
              {"no_causal_mask", no_mask},
              {"attention_scale_missing", other_scale}};
  for (const auto& row : rows) {
    for (const char* plan : {"f32", "torch-bf16"}) {
      SCOPED_TRACE(absl::StrCat(row.id, " ", plan));
      const ReferenceTrace trace =
          TraceOfVariant("synthetic:tiny", plan, kTokens, row.variant);
      const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
      EXPECT_THAT(FoundIn(d), ElementsAre(row.id));
      EXPECT_TRUE(d.explained());
      EXPECT_TRUE(d.differs());
      EXPECT_TRUE(d.first_difference.has_value());
      EXPECT_FALSE(d.rounding.has_value());
    }
  }
}

// A rounding that is elsewhere is within rounding at its own op; that it gives
// the trace's bits tells it, of a single row too.
TEST(DiagnosisTest, ARoundingPointElsewhereIsNamedByItsBits) {
  Variant before_cast;
  before_cast.norm_weight_before_cast = true;
  const auto found = [&](const std::vector<int32_t>& tokens) {
    // As far as the attention of layer 1, which says what the arithmetic is:
    // there is one norm.
    ReferenceTrace part =
        TraceOfVariant("synthetic:tiny", "torch-bf16", tokens, before_cast);
    for (auto it = part.outputs.begin(); it != part.outputs.end();) {
      const auto [layer, op] = it->first;
      const bool kept =
          op == Op::kEmbed || (layer == 1 && op <= Op::kAttnResidual);
      it = kept ? std::next(it) : part.outputs.erase(it);
    }
    const Diagnosis d = DiagnosisOf("synthetic:tiny", part);
    EXPECT_FALSE(d.first_difference.has_value());
    EXPECT_EQ(d.arithmetic.name, "torch-bf16");
    EXPECT_FALSE(d.arithmetic.stored_rounded);
    EXPECT_LT(d.points[1].identical, 1);
    EXPECT_THAT(d.tried,
                Contains(Field(&Tried::id, "norm_weight_before_cast")));
    for (const Tried& tried : d.tried) {
      if (tried.id != "norm_weight_before_cast") continue;
      EXPECT_GT(tried.rows_moved, 0u);
      EXPECT_EQ(tried.rows_hit, tried.rows_moved);
      EXPECT_EQ(tried.rows_moved, tokens.size());
    }
    return FoundIn(d);
  };
  EXPECT_THAT(found({1}), ElementsAre("norm_weight_before_cast"));
  EXPECT_THAT(found({97, 1, 130, 299, 0, 78, 5, 3}),
              ElementsAre("norm_weight_before_cast"));
}

// Every figure of a diagnosis, but what was tried of weights that the memory
// does not allow.
std::string FiguresText(Diagnosis d) {
  d.tried.erase(std::remove_if(d.tried.begin(), d.tried.end(),
                               [](const Tried& tried) {
                                 return tried.id.rfind("weights_", 0) == 0;
                               }),
                d.tried.end());
  return DiagnosisJson(RunInfo(), "trace", d);
}

TEST(DiagnosisTest, MemoryDoesNotMatter) {
  for (const char* plan : {"torch-bf16", "q_proj@3=bf16"}) {
    for (const TraceKind kind : {TraceKind::kOps, TraceKind::kFolder}) {
      SCOPED_TRACE(absl::StrCat(plan, " ", static_cast<int>(kind)));
      const ReferenceTrace trace =
          TraceOf("synthetic:tiny", plan, kTokens, kind, true);
      DiagnosedWith options;
      const Diagnosis unlimited = DiagnosisOf("synthetic:tiny", trace, options);
      options.memory = 1;
      const Diagnosis limited = DiagnosisOf("synthetic:tiny", trace, options);
      EXPECT_EQ(FiguresText(limited), FiguresText(unlimited));
    }
  }
}

// What is there of a diagnosis that was stopped is what the full one has.
TEST(DiagnosisTest, StoppedAnywhereItHasWhatWasFinished) {
  const ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16", kTokens,
                                       TraceKind::kFolder, true);
  size_t asked = 0, stop_at = SIZE_MAX;
  DiagnosedWith options;
  options.stop = [&] { return ++asked >= stop_at; };
  const Diagnosis full = DiagnosisOf("synthetic:tiny", trace, options);
  EXPECT_EQ(full.stopped_in, "");
  ASSERT_TRUE(full.rounding.has_value());
  const size_t questions = asked;
  ASSERT_GT(questions, 100u);
  std::map<std::string, size_t> stopped_in;
  constexpr size_t kStops = 40;
  for (size_t i = 0; i <= kStops; ++i) {
    stop_at = std::max<size_t>(1, questions * i / kStops);
    asked = 0;
    SCOPED_TRACE(stop_at);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace, options);
    ++stopped_in[d.stopped_in];
    ASSERT_NE(d.stopped_in, "");
    EXPECT_EQ(d.tokens, full.tokens);
    // In the order in which they are found.
    Diagnosis expected = full;
    expected.stopped_in = d.stopped_in;
    expected.rounding.reset();
    expected.causes.erase(
        std::remove_if(expected.causes.begin(), expected.causes.end(),
                       [](const DiagnosedCause& cause) {
                         return cause.kind == CauseKind::kRounding;
                       }),
        expected.causes.end());
    if (d.rows.empty()) expected.rows.clear();
    if (d.causes.empty()) expected.causes.clear();
    if (d.states.empty()) {
      expected.states.clear();
      expected.nearer_to_oracle = 0;
    }
    if (d.points.empty()) {
      expected.points.clear();
      expected.tried.clear();
    }
    if (d.arithmetic.name.empty()) expected.arithmetic = Arithmetic();
    if (d.stopped_in == "the alignment") expected.alignment = d.alignment;
    EXPECT_EQ(FiguresText(d), FiguresText(expected));
  }
  EXPECT_GE(stopped_in.size(), 4u);
}

double SumOfShares(const ErrorRow& row) {
  return row.comparison + row.rounding + row.difference + row.own +
         row.inherited + row.cancellation;
}

TEST(DiagnosisTest, RowsAreOfTheTraceAsItWasGiven) {
  const ReferenceTrace ours =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kStatesFile, false);
  for (const bool normed : {false, true}) {
    const ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16",
                                         kTokens, TraceKind::kFolder, normed);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    ASSERT_EQ(d.rows.size(), kLayers);
    double before = kNaN;
    for (size_t n = 1; n <= kLayers; ++n) {
      SCOPED_TRACE(absl::StrCat(normed, " ", n));
      const ErrorRow& row = d.rows[n - 1];
      EXPECT_EQ(row.layer, n);
      double sum = 0, largest = 0;
      TracedTensor theirs = trace.states.at(n);
      const double* mine = ours.states.at(n).rows.data();
      size_t count = 0;
      ForEachValue(theirs, [&](double& x) {
        const double error = std::fabs(*mine++ - x);
        sum += error;
        largest = std::max(largest, error);
        ++count;
      });
      const double mean = sum / static_cast<double>(count);
      EXPECT_NEAR(row.error.mean_abs, mean, SumTolerance(mean));
      EXPECT_EQ(row.error.max_abs, largest);
      if (n == 1) {
        EXPECT_TRUE(std::isnan(row.growth));
      } else {
        EXPECT_NEAR(row.growth, mean / before, SumTolerance(row.growth));
      }
      before = mean;
      EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
      // Only the last state is compared with what it is not.
      if (normed && n == kLayers) {
        EXPECT_GT(row.comparison, 0.9);
        EXPECT_LT(row.error_aligned.rmse, row.error.rmse);
        EXPECT_NEAR(row.comparison,
                    1 - std::pow(row.error_aligned.rmse / row.error.rmse, 2),
                    16 * 0x1p-53);
      } else {
        EXPECT_EQ(row.comparison, 0);
        EXPECT_EQ(row.error_aligned.rmse, row.error.rmse);
      }
      EXPECT_EQ(row.difference, 0);
      EXPECT_GT(row.rounding, 0);
      // Nothing is inherited in the first layer: the embedding is exact.
      if (n == 1) {
        EXPECT_EQ(row.inherited + row.cancellation, 0);
      }
      // bf16's rounding, not ours.
      EXPECT_LT(row.own, 0x1p-20);
    }
  }
}

// What is of the trace's own counts as a difference where it is one.
TEST(DiagnosisTest, RowsTellADifferenceFromRounding) {
  const ReferenceTrace trace = TraceOf("synthetic:tiny", "q_proj@3=bf16",
                                       kTokens, TraceKind::kOps, false);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_EQ(d.rows.size(), kLayers);
  for (const ErrorRow& row : d.rows) {
    SCOPED_TRACE(row.layer);
    if (!(row.error.rmse > 0)) continue;
    EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
    EXPECT_EQ(row.comparison, 0);
    EXPECT_EQ(row.difference > 0, row.layer == 3);
  }
  EXPECT_GT(d.rows[2].difference, 0.5);
  EXPECT_GT(d.rows[3].inherited + d.rows[3].cancellation, 0.5);
}

// A shifted list is compared wrongly wherever it has an entry.
TEST(DiagnosisTest, RowsOfAShiftedListAreAComparison) {
  const Diagnosis d =
      DiagnosisOf("synthetic:tiny", Shifted("torch-bf16", 1, false));
  ASSERT_EQ(d.rows.size(), kLayers);
  for (const ErrorRow& row : d.rows) {
    if (row.layer < kLayers) {
      EXPECT_GT(row.comparison, 0.9) << row.layer;
    } else {
      EXPECT_EQ(row.comparison, 0);
    }
    EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
  }
}

// The two confirmations of a normed last state.
TEST(DiagnosisTest, ConfirmsTheLastStateTwice) {
  // In f32 the angles make the run another one, in bf16 they are lost.
  for (const char* plan : {"torch-bf16", "f32"}) {
    SCOPED_TRACE(plan);
    const ReferenceTrace trace =
        TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, true);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    const auto found = std::find_if(
        d.causes.begin(), d.causes.end(),
        [](const auto& cause) { return cause.id == "last_state_normed"; });
    ASSERT_NE(found, d.causes.end());
    EXPECT_EQ(&*found, &d.causes.back());
    ASSERT_TRUE(d.alignment.last_state.has_value());
    EXPECT_EQ(d.alignment.last_state->index, kLayers);
    EXPECT_EQ(found->replay_without, d.alignment.last_state->raw);
    EXPECT_EQ(found->replay_with, d.alignment.last_state->normed);
    EXPECT_LT(found->replay_with, 0x1p-6);
    EXPECT_GT(found->replay_without, 0.1);
    EXPECT_LT(found->run_with, found->run_without / 4);
    EXPECT_GT(found->removed, 0.9);
    EXPECT_EQ(found->run_with > 0, std::string(plan) == "f32");
    EXPECT_NEAR(found->removed,
                1 - std::pow(found->run_with / found->run_without, 2), 0x1p-50);
  }
}

TEST(DiagnosisTest, RefusesWhatItCannotCompare) {
  const OpenedModel& model = Opened("synthetic:tiny");
  Parallel parallel;
  const auto diagnosed = [&](const ReferenceTrace& trace, size_t layers) {
    return Diagnose(RunOf(model.weights, parallel), model.checkpoint,
                    Plan(layers), trace)
        .status();
  };
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kFolder, true);
  EXPECT_THAT(diagnosed(trace, kLayers - 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ReferenceTrace without_tokens = trace;
  without_tokens.tokens.clear();
  EXPECT_THAT(diagnosed(without_tokens, kLayers),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ReferenceTrace empty;
  empty.tokens = kTokens;
  EXPECT_THAT(diagnosed(empty, kLayers),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ulpscope
