#include "explorer/compare/gate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/compare/comparison.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outcome = GateCheck::Outcome;

// What comes of one line, whose text is kept for the checks.
class Gate {
 public:
  Gate(const std::string& text, const Results* base, const Results& now) {
    auto lines = ParseGate(text, "gate");
    EXPECT_TRUE(lines.ok()) << lines.status();
    if (lines.ok()) lines_ = *std::move(lines);
    checks = CheckGate(lines_, base, now);
  }

  size_t Count(Outcome outcome) const {
    size_t count = 0;
    for (const GateCheck& check : checks) count += check.outcome == outcome;
    return count;
  }

  std::vector<GateCheck> checks;

 private:
  std::vector<GateLine> lines_;
};

// A sweep whose plans were timed often, around a second and a half of it.
MadeSweep Timed(uint64_t seed, double scale) {
  MadeSweep sweep;
  Random random(seed);
  for (PlanResult& plan : sweep.result.plans) {
    plan.timing.decode.clear();
    for (int i = 0; i < 20; ++i) {
      plan.timing.decode.push_back(scale * (1 + 0.02 * random.Uniform()));
    }
    plan.decode_rate = {1 / scale, 0};
  }
  return sweep;
}

TEST(ParseGateTest, ReadsLines) {
  const auto lines = ParseGate(
      "# nothing\n\n"
      "plan=torch-bf16   kl_nats <= 3e-3   # absolute\n"
      " table=layers plan=a=b,c@1-2=d layer=* rel_l2 < 1.02 x base\n"
      "plan=f32 bits == base\n",
      "gate");
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_THAT(*lines, SizeIs(3));
  const GateLine& absolute = (*lines)[0];
  const GateLine& relative = (*lines)[1];
  const GateLine& bits = (*lines)[2];
  EXPECT_EQ(absolute.number, 3u);
  EXPECT_EQ(absolute.metric, "kl_nats");
  EXPECT_EQ(absolute.op, GateLine::Op::kAtMost);
  EXPECT_EQ(absolute.limit, 3e-3);
  EXPECT_FALSE(absolute.of_base);
  EXPECT_EQ(relative.table, "layers");
  ASSERT_THAT(relative.selector, SizeIs(2));
  EXPECT_EQ(relative.selector[0].second, "a=b,c@1-2=d");
  EXPECT_EQ(relative.op, GateLine::Op::kLess);
  EXPECT_EQ(relative.limit, 1.02);
  EXPECT_TRUE(relative.of_base);
  EXPECT_EQ(bits.metric, "bits");
}

TEST(ParseGateTest, NamesTheLineAtFault) {
  for (const char* line :
       {"plan=f32", "plan=f32 rel_l2", "plan=f32 rel_l2 <=", "rel_l2 != 3",
        "rel_l2 <= x", "rel_l2 <= nan", "rel_l2 <= 2 base",
        "rel_l2 <= 2 y base", "bits <= base", "bits == 2 x base",
        "rel_l2 <= 1 2"}) {
    EXPECT_THAT(ParseGate(std::string("#\n") + line, "gate"),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("gate:2: "), HasSubstr(line))));
  }
  // A terminal would obey it.
  const auto escape = ParseGate("plan=f32\x1b[2J rel_l2 <= 1", "gate");
  EXPECT_THAT(escape,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("gate:1: "), HasSubstr("\\x1b"))));
  EXPECT_THAT(escape.status().message(), testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(ParseGate("# only\n", "gate"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CheckGateTest, LimitsAlone) {
  const Results now = MadeSweep().Made();
  EXPECT_EQ(Gate("plan=* kl_nats <= 1", nullptr, now).Count(Outcome::kPassed),
            4u);
  const Gate failed("plan=*softmax* kl_nats < 0", nullptr, now);
  EXPECT_EQ(failed.Count(Outcome::kFailed), 2u);
  EXPECT_THAT(
      failed.checks[0].command,
      AllOf(HasSubstr("--model='synthetic:tiny'"), HasSubstr("softmax=bf16'"),
            HasSubstr("--tokens=97,5,6,"), HasSubstr("--token=97")));
}

TEST(CheckGateTest, NanKeepsNoLimit) {
  MadeSweep sweep;
  sweep.result.plans[0].prompt.logits->kl =
      std::numeric_limits<double>::quiet_NaN();
  const Results now = sweep.Made();
  EXPECT_EQ(
      Gate("table=evaluations tokens=prompt logits_kl_nats <= 9", nullptr, now)
          .Count(Outcome::kFailed),
      1u);
}

TEST(CheckGateTest, NothingComparedIsNotPassed) {
  const Results now = MadeSweep().Made();
  MadeSweep stopped;
  stopped.Stop(0);
  const Results unmeasured = stopped.Made();
  for (const auto& [line, of] : {std::pair("plan=nobody kl_nats <= 1", &now),
                                 std::pair("plan=* no_metric <= 1", &now),
                                 std::pair("plan=* op=qk kl_nats <= 1", &now),
                                 std::pair("table=nowhere kl_nats <= 1", &now),
                                 std::pair("plan=* kl_nats <= 1", &unmeasured),
                                 std::pair("plan=* kl_nats <= base", &now),
                                 std::pair("plan=* bits == base", &now)}) {
    const Gate gate(line, nullptr, *of);
    EXPECT_FALSE(gate.checks.empty()) << line;
    EXPECT_EQ(gate.Count(Outcome::kNotComparable), gate.checks.size()) << line;
  }
}

TEST(CheckGateTest, AnotherModelOrPromptIsNotComparable) {
  const Results base = MadeSweep().Made();
  MadeSweep prompt, model;
  prompt.options.prompt = {1, 2};
  model.info.model = "other";
  for (const MadeSweep* other : {&prompt, &model}) {
    const Results now = other->Made();
    const Gate gate("plan=* rel_l2 <= 9 x base\nplan=* bits == base", &base,
                    now);
    EXPECT_EQ(gate.Count(Outcome::kNotComparable), gate.checks.size());
    EXPECT_FALSE(Compare(base, now).not_comparable.empty());
  }
}

// The case that a gate is for: one figure of one layer has moved.
TEST(CheckGateTest, NamesWhatMoved) {
  const Results base = MadeSweep().Made();
  MadeSweep moved;
  moved.result.plans[3].prompt.layers[2].error.rel_l2 *= 1.5;
  const Results now = moved.Made();
  const Gate relative("plan=* layer=* tokens=prompt rel_l2 <= 1.02 x base",
                      &base, now);
  EXPECT_EQ(relative.Count(Outcome::kFailed), 1u);
  EXPECT_EQ(relative.Count(Outcome::kPassed), 4u * 5 - 1);
  const Gate bits("plan=* bits == base", &base, now);
  for (const Gate* gate : {&relative, &bits}) {
    const auto failed = std::find_if(
        gate->checks.begin(), gate->checks.end(),
        [](const GateCheck& c) { return c.outcome == Outcome::kFailed; });
    ASSERT_NE(failed, gate->checks.end());
    EXPECT_EQ(failed->table, "layers");
    EXPECT_EQ(failed->of, absl::StrCat("plan=", moved.result.plans[3].plan,
                                       " tokens=prompt layer=3"));
    EXPECT_EQ(failed->metric, "rel_l2");
    EXPECT_DOUBLE_EQ(failed->ratio.value_or(0), 1.5);
  }
  const Comparison comparison = Compare(base, now);
  ASSERT_THAT(comparison.differences, SizeIs(1));
  EXPECT_EQ(comparison.differences[0].metric, "rel_l2");
}

TEST(CheckGateTest, TheSameRunPassesWhateverItsTimes) {
  const Results base = Timed(1, 0.5).Made();
  for (uint64_t seed = 2; seed < 22; ++seed) {
    const Results now = Timed(seed, 0.5).Made();
    const Gate gate(
        "plan=* bits == base\nplan=* kl_nats <= base\n"
        "plan=* decode_tokens_per_second >= 1.0 x base\n",
        &base, now);
    EXPECT_EQ(gate.Count(Outcome::kPassed), gate.checks.size()) << seed;
    EXPECT_THAT(Compare(base, now).differences, IsEmpty());
  }
}

TEST(CheckGateTest, ASlowerPlanFailsOnTheSameMachineOnly) {
  const char kLine[] = "plan=f32 decode_tokens_per_second >= 0.95 x base";
  const Results base = Timed(1, 0.5).Made();
  MadeSweep slower = Timed(2, 0.6);
  const Gate failed(kLine, &base, slower.Made());
  ASSERT_THAT(failed.checks, SizeIs(1));
  EXPECT_EQ(failed.checks[0].outcome, Outcome::kFailed);
  EXPECT_LT(failed.checks[0].p.value_or(1), 0.01);
  slower.info.cpu = "another";
  const Gate elsewhere(kLine, &base, slower.Made());
  EXPECT_EQ(elsewhere.checks[0].outcome, Outcome::kNotComparable);
  EXPECT_THAT(elsewhere.checks[0].why, HasSubstr("cpu"));
}

TEST(CheckGateTest, AFewRunsCannotFail) {
  MadeSweep few = Timed(2, 0.9);
  for (PlanResult& plan : few.result.plans) plan.timing.decode.resize(2);
  const Results base = few.Made();
  const Gate gate("plan=f32 decode_tokens_per_second >= base", &base, base);
  EXPECT_EQ(gate.checks[0].outcome, Outcome::kNotComparable);
}

TEST(CheckGateTest, WhatIsMissingNowHasFailed) {
  const Results base = MadeSweep().Made();
  MadeSweep fewer;
  fewer.result.plans.pop_back();
  const Results now = fewer.Made();
  const Gate gate("plan=* kl_nats <= base", &base, now);
  EXPECT_EQ(gate.Count(Outcome::kPassed), 3u);
  EXPECT_EQ(gate.Count(Outcome::kFailed), 1u);
  const Gate bits("plan=* bits == base", &base, now);
  EXPECT_GT(bits.Count(Outcome::kFailed), 0u);
}

TEST(CheckGateTest, SpeedsOfEmulatedPlansAreNotCompared) {
  const MadeSweep timed = Timed(1, 0.5);
  MadeSweep emulated = Timed(2, 0.5);
  for (PlanResult& plan : emulated.result.plans) {
    if (plan.plan != "matmul=bf16") continue;
    plan.emulated = true;
    plan.timing = {};
    plan.decode_rate = plan.prefill_rate = std::nullopt;
  }
  const Results has = timed.Made(), lacks = emulated.Made();
  for (const auto& [base, now] :
       {std::pair(&has, &lacks), std::pair(&lacks, &has),
        std::pair(&lacks, &lacks)}) {
    const Gate gate("plan=* decode_tokens_per_second >= 0.5 x base", base,
                    *now);
    EXPECT_EQ(gate.Count(Outcome::kPassed), 3u);
    EXPECT_EQ(gate.Count(Outcome::kNotComparable), 1u);
    for (const GateCheck& check : gate.checks) {
      if (check.outcome != Outcome::kNotComparable) continue;
      EXPECT_EQ(check.of, "plan=matmul=bf16");
      EXPECT_THAT(check.why, HasSubstr("not measured"));
      EXPECT_THAT(check.why, HasSubstr("emulated"));
    }
    EXPECT_THAT(Compare(*base, *now).speeds, SizeIs(6));
  }
  // Of it alone nothing is known: that is not passed.
  const Gate alone("plan=matmul=bf16 decode_tokens_per_second >= 1", nullptr,
                   lacks);
  EXPECT_EQ(alone.Count(Outcome::kNotComparable), 1u);
  EXPECT_THAT(alone.checks[0].why, HasSubstr("emulated"));
  EXPECT_EQ(Gate("plan=matmul=bf16 kl_nats <= 9", nullptr, lacks)
                .Count(Outcome::kPassed),
            1u);
}

}  // namespace
}  // namespace ulpscope
