#include "explorer/report/diagnosis_text.h"

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/cause_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "tests/explorer/diagnosis/made_diagnosis.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class DiagnosisTextTest : public testing::Test {
 protected:
  // The one sentence that starts so; a failure if there is none or another.
  static std::string Find(const Diagnosis& d, absl::string_view start) {
    std::vector<std::string> found;
    for (const std::string& sentence : Sentences(d)) {
      if (sentence.compare(0, start.size(), start.data(), start.size()) == 0) {
        found.push_back(sentence);
      }
    }
    EXPECT_EQ(found.size(), 1u) << start << " in\n"
                                << absl::StrJoin(Sentences(d), "\n");
    return found.empty() ? "" : found[0];
  }
  static std::string All(const Diagnosis& d) {
    return absl::StrJoin(Sentences(d), "\n");
  }

  Random random_{5};
};

TEST_F(DiagnosisTextTest, CleanTraceHasNoImplementationDifference) {
  const Diagnosis d = CleanDiagnosis(4, random_);
  EXPECT_EQ(Sentences(d)[0],
            "No implementation difference: everything in the trace is what "
            "`torch-bf16` explains.");
  EXPECT_THAT(All(d), Not(HasSubstr("Unexplained")));
  EXPECT_THAT(All(d), Not(HasSubstr("Cause `")));
}

TEST_F(DiagnosisTextTest, SentencesAreInTheOrderOfTheWork) {
  Diagnosis d = CleanDiagnosis(4, random_);
  AddCause(d, MadeCause("rope_neighbours", 2, Op::kRope, random_));
  MakeUnexplained(d, 4, Op::kInputNorm);
  d.not_measured = {{"a", "b"}};
  EXPECT_THAT(Sentences(d),
              ElementsAre(StartsWith("The trace's program differs"),
                          StartsWith("Alignment: 1 position and 4 layers"),
                          StartsWith("Arithmetic: `torch-bf16`"),
                          StartsWith("Who is right: "),
                          StartsWith("Replayed from the trace's own values"),
                          StartsWith("Cause `rope_neighbours`"),
                          StartsWith("What stays unexplained: 1 point still"),
                          StartsWith("Not measured: 1 tensor")));
}

TEST_F(DiagnosisTextTest, CausesAreNamedWithBothConfirmationsAndAdvice) {
  Diagnosis d = CleanDiagnosis(4, random_);
  DiagnosedCause rope = MadeCause("rope_neighbours", 2, Op::kRope, random_);
  rope.same_as = {"rope_other", "rope_third"};
  AddCause(d, rope);
  AddCause(d, MadeCause("norm_eps_1e-5", 1, Op::kInputNorm, random_));
  EXPECT_EQ(Sentences(d)[0],
            "The trace's program differs from the model by `rope_neighbours` "
            "and `norm_eps_1e-5`.");
  const std::string sentence = Find(d, "Cause `rope_neighbours`");
  EXPECT_THAT(
      sentence,
      StartsWith(
          "Cause `rope_neighbours` (implementation): what "
          "rope_neighbours is, from rope in layer 2. Confirmed twice: "));
  EXPECT_THAT(
      sentence,
      HasSubstr(absl::StrFormat(
          "3 points are off by %.3g times what rounding allows if nothing is "
          "changed, and by %.3g times with this change",
          rope.replay_without, rope.replay_with)));
  EXPECT_THAT(sentence,
              HasSubstr(absl::StrFormat(
                  "is %.3g from the trace without this change and %.3g with it",
                  rope.run_without, rope.run_with)));
  EXPECT_THAT(sentence, HasSubstr(absl::StrFormat("takes away %.1f %%",
                                                  100 * rope.removed)));
  EXPECT_THAT(sentence, HasSubstr("tell it from `rope_other`, `rope_third`."));
  EXPECT_THAT(sentence, HasSubstr("What to change: undo rope_neighbours."));
  EXPECT_THAT(Find(d, "Replayed from"),
              AllOf(HasSubstr("7 of 14 points differ beyond"),
                    HasSubstr("The first is input_norm in layer 1 "
                              "(`tensor.1.input_norm`): distance 0.75")));
}

TEST_F(DiagnosisTextTest, ConfirmationsThatFailAreNotCalledOnes) {
  Diagnosis d = CleanDiagnosis(4, random_);
  DiagnosedCause cause = MadeCause("x", 2, Op::kRope, random_);
  cause.points = 3;
  cause.run_with = 2 * cause.run_without;
  EXPECT_THAT(
      CauseSentence(d, cause),
      AllOf(HasSubstr("Confirmed by the replay, not by a free run: "),
            HasSubstr("a run from the tokens"), Not(HasSubstr("takes away"))));
  cause.replay_with = 2 * cause.replay_without;
  EXPECT_THAT(CauseSentence(d, cause), HasSubstr("Not confirmed: "));
  cause.run_with = cause.run_without / 2;
  EXPECT_THAT(CauseSentence(d, cause),
              HasSubstr("Confirmed by a free run, not by the replay: "));
  // Less than rounding alone.
  cause.replay_without = 0.9;
  cause.replay_with = 0.1;
  EXPECT_THAT(CauseSentence(d, cause),
              HasSubstr("Confirmed by a free run, not by the replay: "));
  cause.replay_without = 1.1;
  EXPECT_THAT(CauseSentence(d, cause), HasSubstr("Confirmed twice: "));
  cause.run_without = cause.run_with = kNaN;
  EXPECT_THAT(CauseSentence(d, cause),
              AllOf(HasSubstr("Confirmed by the replay: "),
                    HasSubstr("There is no second way"),
                    Not(HasSubstr("a run from the tokens"))));
  cause.run_without = 0.5;
  cause.run_with = 0.25;
  cause.points = 0;
  EXPECT_THAT(CauseSentence(d, cause),
              AllOf(HasSubstr("Confirmed by a free run: "),
                    Not(HasSubstr("replayed"))));
}

TEST_F(DiagnosisTextTest, UnexplainedIsNoGuess) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeUnexplained(d, 3, Op::kRope);
  const double allowed = d.points[*d.first_unexplained].allowed;
  EXPECT_EQ(Sentences(d)[0],
            absl::StrFormat("Unexplained: first differs at op rope in layer 3: "
                            "distance 0.831, allowed %.3g.",
                            allowed));
  EXPECT_THAT(All(d), Not(HasSubstr("Cause `")));
  EXPECT_THAT(All(d), Not(HasSubstr("No implementation difference")));
  EXPECT_THAT(Find(d, "What stays unexplained: "),
              AllOf(HasSubstr("`tensor.3.rope`"),
                    HasSubstr("Nothing in the catalogue explains it.")));
  // Of an op in no layer.
  d = CleanDiagnosis(4, random_);
  MakeUnexplained(d, 0, Op::kLmHead);
  EXPECT_THAT(Sentences(d)[0],
              StartsWith("Unexplained: first differs at op lm_head: distance"));
}

TEST_F(DiagnosisTextTest, WhatCausesLeaveIsUnexplained) {
  Diagnosis d = CleanDiagnosis(4, random_);
  AddCause(d, MadeCause("rope_neighbours", 1, Op::kRope, random_));
  MakeUnexplained(d, 3, Op::kInputNorm);
  d.points[*d.first_unexplained].distance_with_causes = 0.5432;
  EXPECT_THAT(Sentences(d)[0],
              StartsWith("The trace's program differs from the model by "
                         "`rope_neighbours`. That is not all. Unexplained: "
                         "first differs at op input_norm in layer 3: distance "
                         "0.543, allowed "));
}

TEST_F(DiagnosisTextTest, ComparisonCausesAreNoDifferenceOfTheProgram) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.alignment.state_shift = 1;
  DiagnosedCause shifted;
  shifted.id = "index_off_by_one";
  shifted.kind = CauseKind::kComparison;
  shifted.what = "hidden_states[0] is the stream after layer 1";
  shifted.advice = "count from the embedding";
  shifted.replay_without = 1.375;
  shifted.replay_with = 0.0025;
  shifted.run_without = shifted.run_with = shifted.removed = kNaN;
  d.rows[0].comparison = 0.9876;
  d.rows[0].error.mean_abs = 3.25;
  d.rows[0].error_aligned.mean_abs = 0.03125;
  d.causes = {shifted};
  EXPECT_EQ(Sentences(d)[0],
            "No implementation difference: everything in the trace is what "
            "`torch-bf16` explains. What the error table shows comes from "
            "`index_off_by_one`.");
  EXPECT_EQ(Find(d, "Cause `"),
            "Cause `index_off_by_one` (comparison): hidden_states[0] is the "
            "stream after layer 1. Replays from the trace's own values are "
            "1.38 from it as it was given, and 0.0025 with that put right "
            "(relative L2). In the error table, 98.8 % of layer 1's squared "
            "error comes from that. Its mean absolute error is 3.25 as the "
            "trace was given, and 0.0312 where like is compared with like. "
            "What to change: count from the embedding.");
  const std::string alignment = Find(d, "Alignment: ");
  const auto& shifts = d.alignment.shifts;
  EXPECT_THAT(alignment, HasSubstr("hidden_states[n] is the stream after layer "
                                   "n + 1: "));
  EXPECT_THAT(alignment,
              HasSubstr(absl::StrFormat("come within %.3g of it, in units of "
                                        "the layer's update (median of 2 "
                                        "states)",
                                        shifts[1].mismatch)));
  EXPECT_THAT(alignment, HasSubstr(absl::StrFormat("%.3g if shifted by 0",
                                                   shifts[0].mismatch)));
}

TEST_F(DiagnosisTextTest, SeedReportsCausesAreInOrder) {
  const Diagnosis d = SeedDiagnosis(random_);
  const std::vector<std::string> all = Sentences(d);
  EXPECT_EQ(all[0],
            "No implementation difference: everything in the trace is what "
            "`torch-bf16` explains. What the error table shows comes from "
            "`rounding_of_massive_activation`, `cancellation` and "
            "`last_state_normed`.");
  EXPECT_THAT(All(d),
              testing::ContainsRegex("Cause `rounding_of_massive_activation`.*"
                                     "\nCause `cancellation`.*\n"
                                     "Cause `last_state_normed`"));
  const std::string rounding = Find(d, "Cause `rounding_of");
  EXPECT_THAT(
      rounding,
      HasSubstr("Channel 62, born in layer 3, is -1667 at its largest (after "
                "layer 21, position 0), 4321 times the median, and removed in "
                "layer 22. Rounding it to bf16 (spacing 8) makes 93.4 % of the "
                "rounding's squared error"));
  EXPECT_THAT(rounding, HasSubstr("is 15.010x that of the layer before, and "
                                  "its largest error 4.11."));
  EXPECT_THAT(rounding,
              HasSubstr(absl::StrFormat("%.1f %% of layer 3's squared error is "
                                        "rounding of the trace",
                                        100 * d.rows[2].rounding)));
  const std::string cancellation = Find(d, "Cause `cancellation`");
  EXPECT_THAT(cancellation, HasSubstr("mlp_residual of layer 22 exposes it: it "
                                      "cancels 59.6-fold"));
  EXPECT_THAT(cancellation, HasSubstr("Layer 23 spreads it over the channels"));
  EXPECT_THAT(cancellation, HasSubstr("81.2 % of layer 22's squared error is "
                                      "inherited, and exposed"));
  EXPECT_THAT(
      cancellation,
      HasSubstr("At layer 23 the mean absolute error is 3.813x that of "
                "the layer before, while the largest error goes from 10.3 "
                "to 3.38."));
  const std::string last = Find(d, "Cause `last_state_normed`");
  EXPECT_THAT(last, HasSubstr("99.7 % of layer 24's squared error comes from "
                              "that. Its mean absolute error is 3.41 as the "
                              "trace was given, and 0.0239 where "
                              "like is compared with like."));
  EXPECT_THAT(Find(d, "Alignment: "),
              HasSubstr("State 24 is the one after the final norm"));
}

// Without --attribute's verdict the causes' own layers are what there is.
TEST_F(DiagnosisTextTest, RoundingCausesNeedNoVerdict) {
  Diagnosis d = SeedDiagnosis(random_);
  d.rounding.reset();
  EXPECT_THAT(Find(d, "Cause `rounding_of"),
              AllOf(HasSubstr("of layer 3's squared error"),
                    Not(HasSubstr("Channel"))));
  EXPECT_THAT(Find(d, "Cause `cancellation`"),
              AllOf(HasSubstr("of layer 22's squared error"),
                    Not(HasSubstr("exposes it"))));
  d.rows.clear();
  EXPECT_EQ(Find(d, "Cause `rounding_of"),
            "Cause `rounding_of_massive_activation` (rounding): the trace "
            "rounds a massive activation to bf16.");
}

TEST_F(DiagnosisTextTest, ReplaysThatAreTheTraceSaySo) {
  Diagnosis d = CleanDiagnosis(4, random_);
  EXPECT_THAT(Find(d, "Replayed from"),
              AllOf(HasSubstr("0 of 14 points differ beyond what `torch-bf16` "
                              "explains. The one nearest to it is "),
                    Not(HasSubstr("All have"))));
  for (PointResult& point : d.points) point.distance = 0;
  EXPECT_THAT(Find(d, "Replayed from"),
              HasSubstr("explains. All have the replay's values."));
}

TEST_F(DiagnosisTextTest, WhoIsNearerToTheOracleIsRight) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.states[1].ours_to_oracle = 1;
  std::string sentence = Find(d, "Who is right: ");
  EXPECT_THAT(sentence, StartsWith("Who is right: ours (`f32`) is the more "
                                   "accurate one. Of 5 states, ours is nearer "
                                   "to the f64 oracle at 4, the trace at 1. "));
  EXPECT_THAT(sentence,
              HasSubstr(absl::StrFormat("After layer 4 the trace is %.3g from "
                                        "the oracle (relative L2), ours %.3g, "
                                        "and the two are %.3g apart.",
                                        d.states[4].trace_to_oracle,
                                        d.states[4].ours_to_oracle,
                                        d.states[4].trace_to_ours)));
  EXPECT_THAT(sentence, HasSubstr("ours needs no change"));
  // Not of a trace that differs otherwise.
  Diagnosis differs = d;
  AddCause(differs, MadeCause("x", 1, Op::kRope, random_));
  EXPECT_THAT(Find(differs, "Who is right: "),
              Not(HasSubstr("ours needs no change")));
  MakeUnexplained(d, 1, Op::kRope);
  EXPECT_THAT(Find(d, "Who is right: "),
              Not(HasSubstr("ours needs no change")));
  d.nearer_to_oracle = 1;
  EXPECT_THAT(Find(d, "Who is right: "),
              HasSubstr("the trace is the more accurate one."));
  d.nearer_to_oracle = 0;
  EXPECT_THAT(Find(d, "Who is right: "),
              HasSubstr("neither is twice as accurate at most states."));
}

TEST_F(DiagnosisTextTest, ArithmeticSaysWhatTheValuesAre) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.points[3].held_by = HeldBy::kF32;
  d.points[3].closest = "f32";
  d.points[5].nonfinite = 7;
  d.arithmetic.stored_rounded = true;
  const std::string sentence = Find(d, "Arithmetic: ");
  EXPECT_THAT(sentence, HasSubstr("The values of 13 of 14 tensors fit bf16."));
  EXPECT_THAT(sentence, HasSubstr("13 of 14 to torch-bf16, 1 of 14 to f32."));
  EXPECT_THAT(sentence, HasSubstr("rounded when they were stored"));
  EXPECT_THAT(sentence, HasSubstr("7 are infinite or NaN"));
}

TEST_F(DiagnosisTextTest, OtherTokensAreNamed) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.alignment.other_tokens = {{0, 5, 77}, {2, 6, -1}};
  EXPECT_EQ(Find(d, "The trace's embedding"),
            "The trace's embedding is not that of its tokens at 2 positions: "
            "at position 0 token 5, where the trace has that of token 77; at "
            "position 2 token 6, where the trace has that of no token.");
}

TEST_F(DiagnosisTextTest, WhatWasStoppedClaimsNothing) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.stopped_in = "the hypotheses, after 3 of 40";
  EXPECT_THAT(Sentences(d)[0],
              AllOf(HasSubstr("until it was stopped"),
                    Not(HasSubstr("No implementation difference:"))));
  EXPECT_EQ(Sentences(d)[1],
            "The diagnosis was stopped in the hypotheses, after 3 of 40. What "
            "follows is from the rest.");
  EXPECT_THAT(All(d), Not(HasSubstr("ours needs no change")));
  MakeUnexplained(d, 3, Op::kRope);
  EXPECT_THAT(Sentences(d)[0], StartsWith("Unexplained when it was stopped: "));
  EXPECT_THAT(All(d), Not(HasSubstr("Nothing in the catalogue")));
}

TEST_F(DiagnosisTextTest, NothingMeasuredIsNotNoDifference) {
  Diagnosis d;
  d.plan = "f32";
  d.not_measured = {{"a", "b"}, {"c", "d"}};
  EXPECT_THAT(Sentences(d)[0], StartsWith("Nothing is known: "));
  EXPECT_THAT(Sentences(d), Contains("Not measured: 2 tensors, listed with "
                                     "the reasons below."));
}

TEST_F(DiagnosisTextTest, NamesOutOfFilesHaveNoControlCharacters) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeUnexplained(d, 3, Op::kRope);
  d.points[*d.first_unexplained].name = "a\x1b[2J\nb";
  EXPECT_THAT(All(d), HasSubstr("`a?[2J?b`"));
}

}  // namespace
}  // namespace ulpscope
