#ifndef KERNELS_STRATEGY_NUMERICS_VERSION_H_
#define KERNELS_STRATEGY_NUMERICS_VERSION_H_

namespace ulpscope {

// Raised when a kernel gives other bits on purpose, under any strategy: what
// was measured with the bits before is then measured anew (explorer/store). A
// change that leaves all bits as they are leaves it too.
inline constexpr int kKernelNumericsVersion = 1;

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_NUMERICS_VERSION_H_
