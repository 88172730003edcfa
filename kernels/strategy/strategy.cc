#include "kernels/strategy/strategy.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/cpu.h"
// Only the list is used, so one target is enough: no foreach_target here.
#include "kernels/strategy/accumulation-inl.h"

namespace ulpscope {
namespace {

template <class... S>
absl::Span<const StrategyInfo> InfosOf(
    HWY_NAMESPACE::StrategyList<S...> /*all*/) {
  static constexpr StrategyInfo kInfos[] = {S::kInfo...};
  return kInfos;
}

}  // namespace

absl::string_view KernelName(Kernel kernel) {
  static constexpr absl::string_view kNames[kNumKernels] = {
      "matmul", "rmsnorm", "softmax", "elementwise", "residual", "kv"};
  return kNames[static_cast<size_t>(kernel)];
}

const StrategyInfo& Strategy::info() const { return Strategies()[index_]; }

bool Strategy::Takes(Kernel kernel) const {
  return (info().kernels & KernelBit(kernel)) != 0 &&
         (!info().needs_bf16_dot || CpuHasBf16Dot());
}

bool StoresAsComputed(Strategy strategy) {
  const StrategyInfo& info = strategy.info();
  return !Has16Bits(info.result) && info.kv_codes == KvCodes::kNone;
}

bool ComputeTheSame(Kernel kernel, Strategy a, Strategy b) {
  return a == b || (kernel == Kernel::kKvCache && StoresAsComputed(a) &&
                    StoresAsComputed(b));
}

absl::Span<const StrategyInfo> Strategies() {
  return InfosOf(HWY_NAMESPACE::AllStrategies());
}

absl::StatusOr<Strategy> FindStrategy(absl::string_view name, Kernel kernel) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const Strategy strategy(i);
    if (strategy.name() != name) continue;
    if (strategy.Takes(kernel)) return strategy;
    if ((strategy.info().kernels & KernelBit(kernel)) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the strategy '", name,
          "' needs a CPU with dot products of bf16, which the target ",
          KernelTarget(), " has not: here ", KernelName(kernel), " takes ",
          StrategyNames(kernel)));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(KernelName(kernel), " does not take the strategy '", name,
                     "': it takes ", StrategyNames(kernel)));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown strategy '", name, "': ", KernelName(kernel),
                   " takes ", StrategyNames(kernel)));
}

std::string StrategyNames(Kernel kernel) {
  std::vector<absl::string_view> names;
  for (size_t i = 0; i < Strategies().size(); ++i) {
    if (Strategy(i).Takes(kernel)) names.push_back(Strategy(i).name());
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace ulpscope
