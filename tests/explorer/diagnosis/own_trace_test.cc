// Our own traces, whole and in part: nothing is accused.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "model/architecture/rounding.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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
TEST(OwnTraceDiagnosisTest, ReplaysHaveTheBitsOfOurOwnTrace) {
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

// What the cache rounds is in the trace, and nothing else is accused.
TEST(OwnTraceDiagnosisTest, FormatsOfTheKvCacheAreNamed) {
  for (const char* format : {"f16", "bf16", "int8", "q8_0", "q4_0", "fp8"}) {
    SCOPED_TRACE(format);
    const ReferenceTrace trace =
        TraceOf("synthetic:tiny", absl::StrCat("kv=", format).c_str(), kTokens,
                TraceKind::kOps, true);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    ASSERT_EQ(d.points.size(), kLayers * 18 + 3);
    EXPECT_EQ(d.arithmetic.name, absl::StrCat("f32-", format, "-kv-cache"));
    EXPECT_TRUE(d.explained()) << FirstUnexplained(d);
    EXPECT_THAT(FoundIn(d), testing::IsEmpty());
  }
  // Of keys alone: no arithmetic, but what one op does.
  const Diagnosis d = DiagnosisOf(
      "synthetic:tiny",
      TraceOf("synthetic:tiny", "kv_k=f16", kTokens, TraceKind::kOps, true));
  EXPECT_THAT(FoundIn(d), testing::ElementsAre("kv_k_f16"));
}

// Of our own trace the angles are exact, of the preset's they are f32: a
// difference that grows with the position, and is rounding all the same.
TEST(OwnTraceDiagnosisTest, ManyPositionsAreNoDifference) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 100; ++i) tokens.push_back(i * 37 % 300);
  const ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", tokens, TraceKind::kOps, false);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ExpectCorrect(d);
  EXPECT_EQ(d.arithmetic.name, "f32");
}

// What is left says where it is: nothing is taken for another layer's.
TEST(OwnTraceDiagnosisTest, MissingStatesAreNoDifference) {
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

TEST(OwnTraceDiagnosisTest, ALastStateAloneIsNamedNormed) {
  ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16", kTokens,
                                 TraceKind::kFolder, true);
  KeepStates(trace, {8});
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  EXPECT_THAT(FoundIn(d), ElementsAre("last_state_normed"));
  EXPECT_TRUE(d.explained());
}

TEST(OwnTraceDiagnosisTest, LogitsOfTheLastPositionAreEnough) {
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

// f32 that was kept in 16 bits is no 16-bit arithmetic, and no bug.
TEST(OwnTraceDiagnosisTest, RoundedWhenItWasStored) {
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

}  // namespace
}  // namespace ulpscope
