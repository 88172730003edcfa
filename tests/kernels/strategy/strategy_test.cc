#include "kernels/strategy/strategy.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "kernels/base/cpu.h"
#include "kernels/base/format.h"

namespace ulpscope {
namespace {

TEST(StrategyTest, NamesAreUniqueAndPlain) {
  std::vector<absl::string_view> names;
  for (const StrategyInfo& info : Strategies()) {
    const absl::string_view name = info.name;
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
              absl::string_view::npos)
        << name << " does not fit into a plan's text";
    EXPECT_NE(absl::string_view(info.summary), "") << name;
    EXPECT_GT(info.instructions_per_product, 0) << name;
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(Strategy().name(), "f32");
}

TEST(StrategyTest, TakeTheKernelsOfTheDesign) {
  EXPECT_EQ(
      StrategyNames(Kernel::kMatMul),
      absl::StrCat("f32, pairwise, kahan, dot2, f64, bf16, bf16_f32, bf16_acc",
                   CpuHasBf16Dot() ? ", bf16_hw" : "",
                   ", f16, f16_f32, f16_acc, splitk4, splitk4_bf16, "
                   "bf16_sr1, bf16_sr2, bf16_sr3, bf16_sr4, "
                   "tc_h100, tc_h100_f16, tc_a100, tc_v100, tf32, tf32_fma, "
                   "fp8_h100, fp8_h100_fast, fp8_b200, mxfp8, mxfp4, "
                   "nvfp4, int8, ggml, oracle"));
  EXPECT_EQ(StrategyNames(Kernel::kRmsNorm),
            "f32, pairwise, kahan, dot2, f64, bf16, bf16_late, bf16_fused, "
            "bf16_lanes256, bf16_lanes1024, bf16_acc, f16, f16_late, oracle");
  EXPECT_EQ(StrategyNames(Kernel::kSoftmax),
            "f32, pairwise, kahan, f64, bf16, bf16_acc, f16, oracle");
  EXPECT_EQ(StrategyNames(Kernel::kElementwise),
            "f32, f64, bf16, bf16_late, bf16_once, f16, f16_late, f16_once, "
            "oracle");
  EXPECT_EQ(StrategyNames(Kernel::kResidual),
            "f32, kahan, f64, bf16, bf16_fused, f16, oracle");
  EXPECT_EQ(StrategyNames(Kernel::kKvCache),
            "f32, f64, bf16, f16, int8, fp8, q8_0, q4_0, oracle");
  for (const StrategyInfo& info : Strategies()) {
    EXPECT_NE(info.kernels, 0u) << info.name;
    EXPECT_EQ(info.kernels >> kNumKernels, 0u) << info.name;
  }
}

TEST(StrategyTest, AreFoundByNameForAKernelThatTakesThem) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    for (size_t k = 0; k < kNumKernels; ++k) {
      const Kernel kernel = static_cast<Kernel>(k);
      const auto found = FindStrategy(Strategy(i).name(), kernel);
      ASSERT_EQ(found.ok(), Strategy(i).Takes(kernel));
      if (found.ok()) {
        EXPECT_TRUE(*found == Strategy(i));
        continue;
      }
      const std::string message(found.status().message());
      EXPECT_NE(message.find(StrategyNames(kernel)), std::string::npos);
    }
  }
  const auto unknown = FindStrategy("f8", Kernel::kSoftmax);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().message(),
            "unknown strategy 'f8': softmax takes f32, pairwise, kahan, f64, "
            "bf16, bf16_acc, f16, oracle");
}

// Of a sum with one term nothing is lost but roundings of the product and the
// result, at most two of each format.
TEST(StrategyTest, BoundsOfOneTermAreAFewRoundings) {
  for (const StrategyInfo& info : Strategies()) {
    if (info.emulated()) continue;  // a step of theirs cuts off more
    const SumTerms terms = {1, 1.0, 1.0};
    EXPECT_GT(info.error_bound(terms), 0.0) << info.name;
    if (info.kernels == KernelBit(Kernel::kKvCache)) continue;
    EXPECT_LT(info.error_bound(terms),
              2 * UnitRoundoff(info.result) + 3 * UnitRoundoff(Format::kF32))
        << info.name;
  }
}

// Formats of the KV cache from the finest to the coarsest.
TEST(StrategyTest, BoundsOrderWhatIsStored) {
  double before = 0;
  for (const char* name :
       {"oracle", "f64", "f32", "f16", "bf16", "int8", "q8_0", "fp8", "q4_0"}) {
    const auto strategy = FindStrategy(name, Kernel::kKvCache);
    ASSERT_TRUE(strategy.ok()) << name;
    const double bound = strategy->info().error_bound({1024, 32, 1024});
    EXPECT_GT(bound, before) << name;
    before = bound;
  }
}

TEST(StrategyTest, WhatStoresAsComputedComputesTheSame) {
  const auto of = [](const char* name) {
    return FindStrategy(name, Kernel::kKvCache).value();
  };
  EXPECT_TRUE(ComputeTheSame(Kernel::kKvCache, of("f32"), of("oracle")));
  EXPECT_TRUE(ComputeTheSame(Kernel::kKvCache, of("q8_0"), of("q8_0")));
  EXPECT_FALSE(ComputeTheSame(Kernel::kKvCache, of("f32"), of("q8_0")));
  EXPECT_FALSE(ComputeTheSame(Kernel::kKvCache, of("fp8"), of("int8")));
  EXPECT_FALSE(ComputeTheSame(Kernel::kMatMul, of("f32"), of("oracle")));
}

}  // namespace
}  // namespace ulpscope
