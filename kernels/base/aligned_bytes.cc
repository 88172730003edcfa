#include "kernels/base/aligned_bytes.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace ulpscope {
namespace {

constexpr size_t kAlignment = 128;  // at least a vector and a cache line
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

AlignedBytes TryAllocateAlignedBytes(size_t bytes) {
  const bool large = bytes >= kHugePage;
  void* storage = nullptr;
  // posix_memalign may return null for nothing.
  if (posix_memalign(&storage, large ? kHugePage : kAlignment,
                     std::max<size_t>(bytes, 1)) != 0) {
    return nullptr;
  }
  // Advice: where it is not taken, pages are small. Only whole huge pages, so
  // that the last does not take memory that nobody asked for.
  if (large) {
    (void)madvise(storage, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
  return AlignedBytes(static_cast<unsigned char*>(storage));
}

AlignedBytes AllocateAlignedBytes(size_t bytes) {
  AlignedBytes storage = TryAllocateAlignedBytes(bytes);
  if (storage == nullptr) throw std::bad_alloc();
  return storage;
}

}  // namespace ulpscope
