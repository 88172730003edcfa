#ifndef TESTS_KERNELS_STRATEGY_TARGETS_H_
#define TESTS_KERNELS_STRATEGY_TARGETS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Every Highway target that is built and that this CPU can run.
inline std::vector<int64_t> RunnableTargets() {
  std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
#if HWY_ARCH_X86
  // Highway keeps it for AMD's CPUs, but AVX3_SPR has all of its instructions.
  const int64_t generated = HWY_TARGETS;
  const bool has_spr =
      std::find(targets.begin(), targets.end(), HWY_AVX3_SPR) != targets.end();
  if (has_spr && (generated & HWY_AVX3_ZEN4) != 0) {
    targets.push_back(HWY_AVX3_ZEN4);
  }
#endif
  return targets;
}

// Makes kernels run on one target for as long as it lives.
class ScopedTarget {
 public:
  explicit ScopedTarget(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
  }
  ~ScopedTarget() { hwy::SetSupportedTargetsForTest(0); }
  ScopedTarget(const ScopedTarget&) = delete;
  ScopedTarget& operator=(const ScopedTarget&) = delete;
};

// "AVX2", for tests whose parameter is the target.
inline std::string NameOfTarget(const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

struct StrategyOnTarget {
  int64_t target;
  Strategy strategy;
};

// Parameters of the tests of one kernel: every strategy that it takes, on every
// target. Those that emulate an engine have tests of their own
// (tests/kernels/ops/engine_matmul_test.cc).
inline std::vector<StrategyOnTarget> StrategiesOnTargets(Kernel kernel) {
  std::vector<StrategyOnTarget> all;
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    for (size_t i = 0; i < Strategies().size(); ++i) {
      const bool of_engine =
          kernel == Kernel::kMatMul && Strategy(i).info().engine != nullptr;
      if (!Strategy(i).Takes(kernel) || of_engine) continue;
      all.push_back({target, Strategy(i)});
    }
  }
  return all;
}

// Those that emulate an engine, on every target.
inline std::vector<StrategyOnTarget> EnginesOnTargets() {
  std::vector<StrategyOnTarget> all;
  for (const int64_t target : RunnableTargets()) {
    for (size_t i = 0; i < Strategies().size(); ++i) {
      if (Strategy(i).info().engine != nullptr)
        all.push_back({target, Strategy(i)});
    }
  }
  return all;
}

// Those of StrategiesOnTargets that claim fixed bits.
inline std::vector<StrategyOnTarget> FixedStrategiesOnTargets(Kernel kernel) {
  std::vector<StrategyOnTarget> fixed;
  for (const StrategyOnTarget& each : StrategiesOnTargets(kernel)) {
    if (each.strategy.info().fixed_bits) fixed.push_back(each);
  }
  return fixed;
}

// "AVX2_kahan".
inline std::string NameOf(
    const testing::TestParamInfo<StrategyOnTarget>& info) {
  return absl::StrCat(hwy::TargetName(info.param.target), "_",
                      info.param.strategy.name());
}

// The fixture: the kernels that a test calls run on its parameter's target.
class KernelTest : public testing::TestWithParam<StrategyOnTarget> {
 protected:
  KernelTest() : scoped_target_(GetParam().target) {}

  static Strategy strategy() { return GetParam().strategy; }
  static const StrategyInfo& info() { return GetParam().strategy.info(); }

 private:
  ScopedTarget scoped_target_;
};

}  // namespace ulpscope

#endif  // TESTS_KERNELS_STRATEGY_TARGETS_H_
