#ifndef KERNELS_ALIGNED_BYTES_H_
#define KERNELS_ALIGNED_BYTES_H_

#include <cstddef>
#include <cstdlib>
#include <new>

#include "hwy/aligned_allocator.h"

namespace ulpscope {

using AlignedBytes = hwy::AlignedFreeUniquePtr<unsigned char[]>;

// Memory aligned for vectors. Highway returns null where there is none; this
// ends as `new` does without exceptions: it calls the new handler, if there is
// one, and does not return.
inline AlignedBytes AllocateAlignedBytes(size_t bytes) {
  AlignedBytes storage = hwy::AllocateAligned<unsigned char>(bytes);
  if (storage == nullptr) {
    if (const std::new_handler handler = std::get_new_handler()) handler();
    std::abort();
  }
  return storage;
}

}  // namespace ulpscope

#endif  // KERNELS_ALIGNED_BYTES_H_
