#ifndef KERNELS_OPS_MATMUL_SCRATCH_H_
#define KERNELS_OPS_MATMUL_SCRATCH_H_

#include <cstddef>

#include "kernels/base/aligned_bytes.h"

namespace ulpscope {

// A thread's memory for MatMul, kept from call to call, as a decode step makes
// hundreds of them, and shared by the strategies: no call of MatMul runs within
// another on the same thread.
enum class Scratch { kOperands, kPanel, kWidened, kSums, kCompensations };

template <typename Lane, Scratch>
Lane* ScratchOf(size_t count) {
  thread_local AlignedBytes scratch;
  thread_local size_t size = 0;
  const size_t bytes = count * sizeof(Lane);
  if (size < bytes) {
    scratch = nullptr;
    scratch = AllocateAlignedBytes(bytes);
    size = bytes;
  }
  return reinterpret_cast<Lane*>(scratch.get());
}

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_SCRATCH_H_
