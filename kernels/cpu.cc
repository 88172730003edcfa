#include "kernels/cpu.h"

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {

bool HasBf16Dot() { return HWY_NATIVE_DOT_BF16 != 0; }

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(HasBf16Dot);

namespace {

// Bits that are lower are better targets (hwy/detect_targets.h).
int64_t BestTarget() {
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return usable & -usable;
}

}  // namespace

absl::Status CheckCpu() {
  if (BestTarget() != 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this CPU (", CpuName(), ") cannot run the target ",
                   hwy::TargetName(HWY_STATIC_TARGET),
                   ", the least that ulpscope is built for: every strategy "
                   "needs FMA"));
}

std::string KernelTarget() { return hwy::TargetName(BestTarget()); }

bool CpuHasBf16Dot() { return HWY_DYNAMIC_DISPATCH(HasBf16Dot)(); }

std::string CpuName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    absl::string_view text = line;
    if (!absl::ConsumePrefix(&text, "model name")) continue;
    const size_t colon = text.find(": ");
    if (colon != absl::string_view::npos) {
      return std::string(text.substr(colon + 2));
    }
  }
  return "unknown CPU";
}

}  // namespace ulpscope
#endif  // HWY_ONCE
