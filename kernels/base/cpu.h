#ifndef KERNELS_BASE_CPU_H_
#define KERNELS_BASE_CPU_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "hwy/detect_targets.h"

namespace ulpscope {

// An error that names what is missing if no kernel target can run here: every
// target needs FMA, on x86 AVX2. To be asked before any kernel is called.
absl::Status CheckCpu();

// "AVX3": the Highway target that the kernels run on.
std::string KernelTarget();

// Whether a target of Highway has instructions for dot products of bf16: its
// HWY_NATIVE_DOT_BF16, which kernels/strategy/table-inl.h holds this to, for
// those who need not compile for every target to know.
constexpr bool TargetHasBf16Dot(int64_t target) {
#if HWY_ARCH_X86
  return target == HWY_AVX3_ZEN4 || target == HWY_AVX3_SPR;
#else
  return target == HWY_NEON_BF16;
#endif
}

// Whether the kernels' target has.
bool CpuHasBf16Dot();

// The CPU's name in /proc/cpuinfo.
std::string CpuName();

// The name in the text of such a file: the model name on x86; on Arm, which has
// none, "Arm implementer 0x41 part 0xd0c", with " + " between different cores;
// or "unknown CPU".
std::string CpuNameIn(absl::string_view cpuinfo);

}  // namespace ulpscope

#endif  // KERNELS_BASE_CPU_H_
