#include "model/files/content_hash.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "xxhash.h"

namespace ulpscope {

std::string ContentHash(const void* data, size_t size) {
  const XXH128_hash_t hash = XXH3_128bits(data, size);
  return absl::StrCat(absl::Hex(hash.high64, absl::kZeroPad16),
                      absl::Hex(hash.low64, absl::kZeroPad16));
}

}  // namespace ulpscope
