#include "model/architecture/plan.h"

#include <cstddef>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/plan_presets.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Canonical(const std::string& text, size_t num_layers = 24) {
  const auto plan = Plan::Parse(text, num_layers);
  EXPECT_THAT(plan, IsOk()) << text;
  return plan.ok() ? plan->Text() : "";
}

TEST(PlanTest, LaterEntriesWin) {
  const auto plan =
      Plan::Parse("matmul=bf16,softmax=f32,down_proj@22-23=kahan", 24);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->Get(21, Op::kDownProj).name(), "bf16");
  EXPECT_EQ(plan->Get(22, Op::kDownProj).name(), "kahan");
  EXPECT_EQ(plan->Get(23, Op::kDownProj).name(), "kahan");
  EXPECT_EQ(plan->Get(24, Op::kDownProj).name(), "bf16");
  EXPECT_EQ(plan->Get(1, Op::kLmHead).name(), "bf16");
  EXPECT_EQ(plan->Get(1, Op::kRope).name(), "f32");
  EXPECT_EQ(Canonical("down_proj=kahan,matmul=bf16"), "matmul=bf16");
}

TEST(PlanTest, CanonicalTextDoesNotDependOnHowThePlanWasWritten) {
  EXPECT_EQ(Canonical("softmax=bf16,matmul=kahan"),
            "matmul=kahan,softmax=bf16");
  EXPECT_EQ(Canonical(" matmul = kahan , softmax=bf16 "),
            "matmul=kahan,softmax=bf16");
  EXPECT_EQ(Canonical("q_proj@1-3=f64,q_proj@4-24=f64"), "q_proj=f64");
  EXPECT_EQ(Canonical("matmul=bf16,q_proj@7=f32"), "matmul=bf16,q_proj@7=f32");
  EXPECT_EQ(Canonical("rmsnorm=f32"), "f32");
  EXPECT_EQ(Canonical("softmax=kahan,rmsnorm=kahan,matmul=kahan"), "kahan");
  EXPECT_EQ(Canonical("torch-bf16,residual=f32"),
            "matmul=bf16,rmsnorm=bf16,softmax=bf16,elementwise=bf16");
  EXPECT_EQ(Canonical("torch-f16,residual=f32"),
            "matmul=f16,rmsnorm=f16,softmax=f16,elementwise=f16");
  EXPECT_EQ(Canonical("oracle"), "oracle");
  EXPECT_EQ(Canonical("oracle,softmax@3=f32"),
            "matmul=oracle,rmsnorm=oracle,softmax=oracle,elementwise=oracle,"
            "residual=oracle,kv=oracle,softmax@3=f32");
}

TEST(PlanTest, FormatsOfTheKvCacheAreAGroupOfItsOwn) {
  EXPECT_EQ(Canonical("kv=f16"), "kv=f16");
  EXPECT_EQ(Canonical("kv_k=q8_0,kv_v=q8_0"), "kv=q8_0");
  EXPECT_EQ(Canonical("kv_v=bf16,kv_k@1-5=q8_0"),
            "kv=bf16,kv_k@1-5=q8_0,kv_k@6-24=f32");
  EXPECT_EQ(Canonical("kv=fp8,matmul=bf16,kv_v@3=int8"),
            "matmul=bf16,kv=fp8,kv_v@3=int8");
  EXPECT_EQ(Canonical("torch-bf16,kv=q4_0"),
            "matmul=bf16,rmsnorm=bf16,softmax=bf16,elementwise=bf16,"
            "residual=bf16,kv=q4_0");
  EXPECT_EQ(Canonical("kv=f32"), "f32");
  const auto plan = Plan::Parse("kv_k@2=f16", 3);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->Get(2, Op::kKvK).name(), "f16");
  EXPECT_EQ(plan->Get(1, Op::kKvK).name(), "f32");
  EXPECT_EQ(plan->Get(2, Op::kKvV).name(), "f32");
  EXPECT_THAT(
      Plan::Parse("kv=kahan", 3),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("kv does not take the strategy 'kahan': it takes f32, "
                         "f64, bf16, f16, int8, fp8, q8_0, q4_0, oracle")));
  EXPECT_THAT(Plan::Parse("matmul=q8_0", 3),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("matmul does not take the strategy 'q8_0'")));
}

// Presets are exact where the cache is not a part of what they name.
TEST(PlanTest, OraclesOpsAreAllUnderIt) {
  for (const char* name : {"oracle", "f64"}) {
    const Plan plan = *Plan::Parse(name, 2);
    for (size_t i = 0; i < kNumOps; ++i) {
      EXPECT_EQ(plan.Get(1, OpAt(i)).name(), name) << OpName(OpAt(i));
    }
  }
  for (const char* name : {"f32", "kahan", "bf16", "torch-bf16", "torch-f16"}) {
    EXPECT_EQ(Plan::Parse(name, 2)->Get(1, Op::kKvK).name(), "f32");
  }
}

TEST(PlanTest, EveryPresetParsesAndPrintsItsName) {
  for (const PlanPreset& preset : PlanPresets()) {
    EXPECT_EQ(Canonical(preset.name), preset.name);
    EXPECT_EQ(Canonical(preset.name, 1), preset.name);
    EXPECT_EQ(Canonical(*preset.entries != '\0' ? preset.entries : "f32"),
              preset.name);
  }
}

// Every plan reads back to itself: random cells, any strategy they take.
TEST(PlanTest, TextReadsBackToAnEqualPlan) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const size_t num_layers = 1 + random() % 6;
    Plan plan(num_layers);
    for (size_t edits = random() % 40; edits > 0; --edits) {
      const Op op = OpAt(random() % kNumOps);
      const Strategy strategy(random() % Strategies().size());
      if (!strategy.Takes(OpKernel(op))) continue;
      plan.Set(1 + random() % num_layers, op, strategy);
    }
    constexpr const char* kForms[] = {"eager",  "sdpa",       "fa2(64)",
                                      "fa2(1)", "splitkv(3)", "fa4(0.1)"};
    for (size_t edits = random() % 4; edits > 0; --edits) {
      plan.SetAttention(1 + random() % num_layers,
                        *AttentionForm::Parse(kForms[random() % 6]));
    }
    const auto read = Plan::Parse(plan.Text(), num_layers);
    ASSERT_THAT(read, IsOk()) << plan.Text();
    EXPECT_TRUE(*read == plan) << plan.Text();
    EXPECT_EQ(read->Text(), plan.Text());
  }
}

TEST(PlanTest, LayersHaveAFormOfAttention) {
  const auto plan = Plan::Parse("attention=sdpa,attention@3-5=fa2(64)", 24);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->attention(2).Text(), "sdpa");
  EXPECT_EQ(plan->attention(3).Text(), "fa2(64)");
  EXPECT_EQ(plan->attention(5).Text(), "fa2(64)");
  EXPECT_EQ(plan->attention(6).Text(), "sdpa");
  EXPECT_EQ(plan->Text(),
            "attention@1-2=sdpa,attention@3-5=fa2(64),attention@6-24=sdpa");
  EXPECT_FALSE(*plan == Plan(24));
  EXPECT_EQ(Plan(24).attention(24), AttentionForm());
}

TEST(PlanTest, FormsOfAttentionComeLastAndEagerNeedsNoEntry) {
  EXPECT_EQ(Canonical("attention=eager"), "f32");
  EXPECT_EQ(Canonical("attention=fa2(64),matmul=bf16,qk@2=f32"),
            "matmul=bf16,qk@2=f32,attention=fa2(64)");
  EXPECT_EQ(Canonical("attention=fa4"), "attention=fa4(8)");
  EXPECT_EQ(Canonical("attention@7 = splitkv(4)"), "attention@7=splitkv(4)");
  EXPECT_EQ(Canonical("attention@1-24=ggml"), "attention=ggml");
  EXPECT_EQ(Canonical("attention=sdpa,attention@2-24=eager"),
            "attention@1=sdpa");
  EXPECT_EQ(Canonical("oracle,attention=sdpa,oracle"), "oracle");
}

TEST(PlanTest, FusedPresetsAreEagerOnesInAnotherForm) {
  EXPECT_EQ(Canonical("torch-bf16,attention=sdpa"), "torch-bf16-sdpa");
  EXPECT_EQ(Canonical("torch-f16,attention=sdpa"), "torch-f16-sdpa");
  EXPECT_EQ(Canonical("torch-bf16-sdpa,attention=eager"), "torch-bf16");
}

TEST(PlanTest, ACellIsTakenWithItsForm) {
  const Plan fused = *Plan::Parse("torch-bf16-sdpa", 3);
  Plan plan = Plan::Oracle(3);
  plan.TakeCell(fused, 2, Op::kSoftmax);
  EXPECT_EQ(plan.Get(2, Op::kSoftmax).name(), "bf16");
  EXPECT_EQ(plan.attention(2), fused.attention(2));
  EXPECT_EQ(plan.attention(1), AttentionForm());
  plan.TakeCell(fused, 1, Op::kDownProj);
  EXPECT_EQ(plan.attention(1), AttentionForm());
  plan.TakeCell(fused, 0, Op::kEmbed);
  EXPECT_EQ(plan.Get(0, Op::kEmbed).name(), "bf16");
}

TEST(PlanTest, FormsThatDifferAloneAreADifferenceOfSoftmax) {
  const Plan eager = *Plan::Parse("torch-bf16", 2);
  const Plan fused = *Plan::Parse("torch-bf16,attention@2=sdpa", 2);
  EXPECT_TRUE(eager.SharesCell(fused, 1, Op::kSoftmax));
  EXPECT_FALSE(eager.SharesCell(fused, 2, Op::kSoftmax));
  EXPECT_TRUE(eager.SharesCell(fused, 2, Op::kQk));
  EXPECT_TRUE(eager.SharesCell(fused, 0, Op::kLmHead));
  EXPECT_FALSE(
      eager.SharesCell(*Plan::Parse("torch-bf16,qk@2=f32", 2), 2, Op::kQk));
}

TEST(PlanTest, ErrorsNameTheEntryAndWhatIsAccepted) {
  const auto message = [](const std::string& text) {
    const auto plan = Plan::Parse(text, 24);
    EXPECT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    return std::string(plan.status().message());
  };
  EXPECT_THAT(message("matmul=fp8"),
              AllOf(HasSubstr("matmul=fp8"), HasSubstr("kahan, dot2, f64")));
  EXPECT_THAT(message("softmax=dot2"),
              AllOf(HasSubstr("softmax does not take"), HasSubstr("kahan")));
  EXPECT_THAT(message("matmull=f32"),
              AllOf(HasSubstr("'matmull'"), HasSubstr("down_proj")));
  EXPECT_THAT(message("q_proj@25=f32"), HasSubstr("<= 24"));
  EXPECT_THAT(message("q_proj@0=f32"), HasSubstr("@0"));
  EXPECT_THAT(message("q_proj@3-2=f32"), HasSubstr("@3-2"));
  EXPECT_THAT(message("q_proj@1-2-3=f32"), HasSubstr("@1-2-3"));
  EXPECT_THAT(message("q_proj@=f32"), HasSubstr("@"));
  EXPECT_THAT(message("lm_head@3=f32"), HasSubstr("not in a layer"));
  EXPECT_THAT(message("fp32"),
              AllOf(HasSubstr("not a preset"), HasSubstr("torch-bf16")));
  EXPECT_THAT(message("attention=fa3"),
              AllOf(HasSubstr("'fa3'"), HasSubstr("splitkv(PARTS)")));
  for (const char* form : {"fa2", "fa2()", "fa2(0)", "fa2(-1)", "fa2(65537)",
                           "fa2(64", "fa2 (64)", "fa4()", "fa4(-1)", "fa4(nan)",
                           "fa4(inf)", "splitkv(0)", "ggml(1)", "f32"}) {
    EXPECT_THAT(message(std::string("attention=") + form),
                HasSubstr("is no form of attention"));
  }
  EXPECT_THAT(message("attention@25=sdpa"), HasSubstr("<= 24"));
  EXPECT_THAT(message("attn=f32"), HasSubstr("lm_head, attention"));
  EXPECT_THAT(message(""), HasSubstr("empty plan"));
  EXPECT_THAT(message("f32,"), HasSubstr("not a preset"));
}

// Of a file, they may be anything.
TEST(PlanTest, ErrorsHoldNoControlCharacters) {
  for (const char* const text :
       {"f\x1b[2J", "matmul=\x1b[2J", "matmul@\x1b[2J=f32", "attention=\x1b[2J",
        "\x1b[2J=f32"}) {
    const std::string message(Plan::Parse(text, 2).status().message());
    EXPECT_THAT(message, testing::HasSubstr("\\x1b[2J")) << text;
    EXPECT_THAT(message, testing::Not(testing::HasSubstr("\x1b"))) << text;
  }
}

TEST(PlanTest, OracleIsThePreset) {
  EXPECT_EQ(Plan::Oracle(3), *Plan::Parse("oracle", 3));
  EXPECT_EQ(Plan::Oracle(3).Text(), "oracle");
}

TEST(PlanTest, WithReadsMoreEntries) {
  const Plan plan = *Plan::Parse("matmul=bf16", 4);
  const auto with = plan.With("down_proj@2=kahan, softmax=f64");
  ASSERT_THAT(with, IsOk());
  EXPECT_EQ(*with,
            *Plan::Parse("matmul=bf16,down_proj@2=kahan,softmax=f64", 4));
  EXPECT_EQ(plan.Text(), "matmul=bf16");
  EXPECT_EQ(*plan.With("oracle"), Plan::Oracle(4));
  EXPECT_THAT(plan.With("down_proj@5=f32"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("down_proj@5=f32"), HasSubstr("<= 4"))));
}

TEST(PlanTest, OneEmulatedCellIsEnough) {
  for (const StrategyInfo& info : Strategies()) {
    const auto everywhere = Plan::Parse(absl::StrCat("matmul=", info.name), 24);
    if (!everywhere.ok()) continue;  // not of MatMul, or not on this CPU
    EXPECT_EQ(everywhere->emulated(), info.emulated()) << info.name;
    for (const char* op : {"q_proj@24", "qk@1", "lm_head"}) {
      const auto plan =
          Plan::Parse(absl::StrCat("kahan,", op, "=", info.name), 24);
      ASSERT_THAT(plan, IsOk());
      EXPECT_EQ(plan->emulated(), info.emulated()) << plan->Text();
    }
  }
  for (const PlanPreset& preset : PlanPresets()) {
    const absl::string_view name = preset.name;
    EXPECT_EQ(
        Plan::Parse(name, 24)->emulated(),
        absl::StrContains(name, "h100") || absl::StartsWith(name, "llama"))
        << name;
  }
}

}  // namespace
}  // namespace ulpscope
