#ifndef KERNELS_BASE_ALIGNED_BYTES_H_
#define KERNELS_BASE_ALIGNED_BYTES_H_

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace ulpscope {

struct FreeAlignedBytes {
  void operator()(unsigned char* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<unsigned char[], FreeAlignedBytes>;

// Memory aligned for vectors, not initialized; where it is large, in huge pages
// if the system lends them: a stream through 4 KiB pages waits for addresses,
// and hardware fetches ahead within a page only. Throws bad_alloc if there is
// none.
AlignedBytes AllocateAlignedBytes(size_t bytes);

// The same, but null if there is no memory.
AlignedBytes TryAllocateAlignedBytes(size_t bytes);

}  // namespace ulpscope

#endif  // KERNELS_BASE_ALIGNED_BYTES_H_
