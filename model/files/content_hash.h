#ifndef MODEL_FILES_CONTENT_HASH_H_
#define MODEL_FILES_CONTENT_HASH_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// XXH3's hash of 128 bits (Collet 2020), as 32 hexadecimal digits. It names
// contents: among 2^50 of them two have the same name with a probability of
// 2^-29. It withstands nobody who wants them to.
std::string ContentHash(const void* data, size_t size);

inline std::string ContentHash(absl::string_view text) {
  return ContentHash(text.data(), text.size());
}

}  // namespace ulpscope

#endif  // MODEL_FILES_CONTENT_HASH_H_
