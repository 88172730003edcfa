#ifndef KERNELS_CPU_H_
#define KERNELS_CPU_H_

#include <string>

#include "absl/status/status.h"

namespace ulpscope {

// An error that names what is missing if no kernel target can run here: every
// target needs FMA, on x86 AVX2. To be asked before any kernel is called.
absl::Status CheckCpu();

// "AVX3": the Highway target that the kernels run on.
std::string KernelTarget();

// Whether that target has instructions for dot products of bf16.
bool CpuHasBf16Dot();

// The model name from /proc/cpuinfo, or "unknown CPU".
std::string CpuName();

}  // namespace ulpscope

#endif  // KERNELS_CPU_H_
