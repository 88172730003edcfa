// What the sentences of a diagnosis claim; figures are in tables and fields.

#include "explorer/report/diagnosis_text.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "tests/explorer/diagnosis/made_diagnosis.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class DiagnosisTextTest : public testing::Test {
 protected:
  static std::string All(const Diagnosis& d) {
    return absl::StrJoin(Sentences(d), "\n");
  }

  Random random_{5};
};

TEST_F(DiagnosisTextTest, SentencesAreInTheOrderOfTheWork) {
  Diagnosis d = CleanDiagnosis(4, random_);
  AddCause(d, MadeCause("rope_neighbours", 2, Op::kRope, random_));
  MakeUnexplained(d, 4, Op::kInputNorm);
  d.not_measured = {{"a", "b"}};
  EXPECT_THAT(Sentences(d),
              ElementsAre(StartsWith("The trace's program differs"),
                          StartsWith("Alignment: 1 position and 4 layers"),
                          StartsWith("Who is right: ours (`f32`)"),
                          StartsWith("Arithmetic: `torch-bf16`. Replayed"),
                          StartsWith("Cause `rope_neighbours`"),
                          StartsWith("What stays unexplained: 1 point, "),
                          StartsWith("Not measured: 1 tensor")));
}

TEST_F(DiagnosisTextTest, HeadlinesAccuseOfWhatWasFound) {
  Diagnosis d = CleanDiagnosis(4, random_);
  const std::string clean =
      "No implementation difference: everything in the trace is what "
      "`torch-bf16` explains.";
  EXPECT_EQ(Sentences(d)[0], clean);
  d.first_not_reproduced = 2;
  EXPECT_EQ(Sentences(d)[0],
            clean + " But not all of it bit for bit: first rope in layer 1.");
  EXPECT_EQ(Sentences(SeedDiagnosis(random_))[0],
            clean +
                " What the error table shows comes from "
                "`rounding_of_massive_activation`, `cancellation`, "
                "`last_state_normed`.");
  AddCause(d, MadeCause("rope_neighbours", 2, Op::kRope, random_));
  AddCause(d, MadeCause("norm_eps_1e-5", 1, Op::kInputNorm, random_));
  EXPECT_EQ(Sentences(d)[0],
            "The trace's program differs from the model by `rope_neighbours`, "
            "`norm_eps_1e-5`.");
  MakeUnexplained(d, 3, Op::kInputNorm);
  d.points[*d.first_unexplained].distance_with_causes = 0.5432;
  EXPECT_THAT(Sentences(d)[0],
              HasSubstr("`norm_eps_1e-5`. That is not all. Unexplained: first "
                        "differs at op input_norm in layer 3: distance 0.543, "
                        "allowed "));
  for (DiagnosedCause& cause : d.causes) cause.kind = CauseKind::kArithmetic;
  EXPECT_THAT(Sentences(d)[0],
              StartsWith("The trace's program rounds elsewhere: "));
}

TEST_F(DiagnosisTextTest, UnexplainedIsNoGuess) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeUnexplained(d, 3, Op::kRope);
  EXPECT_EQ(Sentences(d)[0],
            absl::StrFormat("Unexplained: first differs at op rope in layer 3: "
                            "distance 0.831, allowed %.3g.",
                            *d.points[*d.first_unexplained].allowed));
  EXPECT_THAT(All(d),
              AllOf(Not(HasSubstr("Cause `")),
                    HasSubstr("Nothing in the catalogue explains it.")));
  d.stopped_in = "the hypotheses";
  EXPECT_THAT(Sentences(d)[0], StartsWith("Unexplained when it was stopped: "));
  EXPECT_THAT(All(d), Not(HasSubstr("Nothing in the catalogue")));
}

TEST_F(DiagnosisTextTest, CausesSayWhatIsToBeChanged) {
  Diagnosis d = CleanDiagnosis(4, random_);
  DiagnosedCause rope = MadeCause("rope_neighbours", 2, Op::kRope, random_);
  rope.same_as = {"rope_other", "rope_third"};
  AddCause(d, rope);
  EXPECT_THAT(
      All(d),
      AllOf(HasSubstr("Cause `rope_neighbours` (implementation): what "
                      "rope_neighbours is, from rope in layer 2. Confirmed "
                      "by replay and run. "),
            HasSubstr("tell it from `rope_other`, `rope_third`."),
            HasSubstr("What to change: undo rope_neighbours.")));
  d.causes[0].run_with = 2 * *rope.run_without;
  EXPECT_THAT(All(d),
              HasSubstr(". Confirmed by replay. Not confirmed by run. "));
  d.causes[0].points = 0;
  EXPECT_THAT(All(d), AllOf(HasSubstr("2. Not confirmed by run."),
                            Not(HasSubstr(". Confirmed"))));
}

TEST_F(DiagnosisTextTest, WhoIsNearerToTheOracleIsRight) {
  Diagnosis d = CleanDiagnosis(4, random_);
  const char kNoChange[] = "ours needs no change";
  EXPECT_THAT(All(d), HasSubstr(kNoChange));
  // Not of a trace that differs otherwise, or was not looked at to its end.
  Diagnosis differs = d;
  AddCause(differs, MadeCause("x", 1, Op::kRope, random_));
  EXPECT_THAT(All(differs), Not(HasSubstr(kNoChange)));
  Diagnosis stopped = d;
  stopped.stopped_in = "the causes";
  EXPECT_THAT(
      All(stopped),
      AllOf(Not(HasSubstr(kNoChange)), HasSubstr("was stopped in the causes"),
            Not(HasSubstr("No implementation difference: "))));
  d.nearer_to_oracle = 1;
  EXPECT_THAT(All(d), AllOf(HasSubstr("the trace is the more accurate one."),
                            Not(HasSubstr(kNoChange))));
  d.nearer_to_oracle = 0;
  EXPECT_THAT(All(d), HasSubstr("neither is twice as accurate"));
}

// Nobody is right, and nothing is in order, where something is not finite.
TEST_F(DiagnosisTextTest, WhatIsNotFiniteIsSaidFirst) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeNotFinite(d, 1, Op::kInputNorm);
  EXPECT_THAT(Sentences(d)[0],
              StartsWith("The trace is not finite from input_norm in layer 1 "
                         "on. Unexplained: first differs at op input_norm in "
                         "layer 1: distance inf"));
  EXPECT_THAT(Sentences(d)[1],
              StartsWith("Not finite: the trace at 13 of 14 points, first "
                         "input_norm in layer 1."));
  EXPECT_THAT(All(d), AllOf(HasSubstr("Who is right: neither is"),
                            Not(HasSubstr("more accurate")),
                            Not(HasSubstr("needs no change")),
                            Not(HasSubstr("nothing is wrong"))));
  // Of ours.
  d = CleanDiagnosis(4, random_);
  d.ours_nonfinite = NonFinite{1, 13, 5};
  EXPECT_THAT(Sentences(d)[1],
              StartsWith("Not finite: ours (`f32`) at 13 of 14 points"));
  // Of the last states alone, the others still say it.
  d = CleanDiagnosis(4, random_);
  MakeNotFinite(d, 4, Op::kMlpResidual);
  d.nearer_to_oracle = -1;
  EXPECT_THAT(All(d), AllOf(HasSubstr("Of 5 states, ours is nearer to the f64 "
                                      "oracle at 4, the trace at 0."),
                            Not(HasSubstr("needs no change"))));
}

TEST_F(DiagnosisTextTest, AnArithmeticThatNothingTellsIsNotNamed) {
  Diagnosis d = CleanDiagnosis(4, random_);
  EXPECT_THAT(All(d), HasSubstr("Arithmetic: `torch-bf16`"));
  d.arithmetic.points_that_tell = 0;
  EXPECT_THAT(All(d), AllOf(HasSubstr("Arithmetic: not known"),
                            Not(HasSubstr("Arithmetic: `"))));
}

TEST_F(DiagnosisTextTest, OtherTokensAreNamed) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.alignment.other_tokens = {{0, 5, 77}, {2, 6, -1}};
  EXPECT_THAT(All(d),
              HasSubstr("not that of its tokens at 2 positions, first 0."));
}

TEST_F(DiagnosisTextTest, NothingMeasuredIsNotNoDifference) {
  Diagnosis d;
  d.plan = "f32";
  d.not_measured = {{"a", "b"}, {"c", "d"}};
  EXPECT_THAT(Sentences(d)[0], StartsWith("Nothing is known: "));
}

TEST_F(DiagnosisTextTest, NamesOutOfFilesHaveNoControlCharacters) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeUnexplained(d, 3, Op::kRope);
  d.points[*d.first_unexplained].name = "a\x1b[2J\nb";
  EXPECT_THAT(All(d), HasSubstr("`a?[2J?b`"));
}

}  // namespace
}  // namespace ulpscope
