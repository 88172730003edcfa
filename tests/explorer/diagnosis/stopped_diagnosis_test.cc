// What a diagnosis has when it is stopped, and that it does stop; and that what
// memory it may take changes nothing.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/diagnosis_results.h"
#include "explorer/report/run_info.h"
#include "explorer/results/results_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

// Every figure of a diagnosis, but what was tried of weights that the memory
// does not allow.
std::string FiguresText(Diagnosis d) {
  d.tried.erase(std::remove_if(d.tried.begin(), d.tried.end(),
                               [](const Tried& tried) {
                                 return tried.id.rfind("weights_", 0) == 0;
                               }),
                d.tried.end());
  return ResultsJson(DiagnosisResults(RunInfo(), "trace", d));
}

TEST(StoppedDiagnosisTest, MemoryDoesNotMatter) {
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
TEST(StoppedDiagnosisTest, StoppedAnywhereItHasWhatWasFinished) {
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
      expected.finite_values = FiniteValues();
    }
    if (d.arithmetic.name.empty()) expected.arithmetic = Arithmetic();
    if (d.stopped_in == "the alignment") expected.alignment = d.alignment;
    EXPECT_EQ(FiguresText(d), FiguresText(expected));
  }
  EXPECT_GE(stopped_in.size(), 4u);
}

// A scaled embedding is no token's, so that all of the vocabulary is looked at.
// Once told to stop, no more than a piece of work is done: the next question is
// never asked.
TEST(StoppedDiagnosisTest, NothingIsDoneAfterTheLastQuestion) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kFolder, true);
  ForEachValue(trace.states.at(0), [](double& x) { x *= 8; });
  const OpenedModel& model = Opened("synthetic:tiny");
  Parallel parallel(2);
  TestMonitor never;
  const auto full = Diagnose(RunOf(model.weights, parallel, never),
                             model.checkpoint, Plan(kLayers), trace);
  ASSERT_THAT(full, IsOk());
  EXPECT_EQ(full->alignment.other_tokens.size(), kTokens.size());
  constexpr size_t kStops = 60;
  for (size_t i = 0; i <= kStops; ++i) {
    const size_t allowed = (never.asked() - 1) * i / kStops;
    TestMonitor monitor(allowed);
    const auto d = Diagnose(RunOf(model.weights, parallel, monitor),
                            model.checkpoint, Plan(kLayers), trace);
    ASSERT_THAT(d, IsOk());
    EXPECT_NE(d->stopped_in, "");
    // A lockstep run asks once more on its way out.
    EXPECT_LE(monitor.asked(), allowed + 3) << allowed;
  }
}

}  // namespace
}  // namespace ulpscope
