#ifndef MODEL_FILES_NPY_H_
#define MODEL_FILES_NPY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/files/stored_array.h"

namespace ulpscope {

// Bytes before the data; plain arrays take 128.
inline constexpr uint64_t kMaxNpyHeader = 1 << 16;

// The array of a .npy file (format 1.0, 2.0 or 3.0: numpy.lib.format) over the
// file's bytes, which `owner` keeps. Floats of 8, 4 and 2 bytes and integers of
// either byte order, in C order; others are errors, as is data of another size
// than the shape's: "expected ..., found ...".
absl::StatusOr<StoredArray> ParseNpy(absl::Span<const uint8_t> bytes,
                                     std::shared_ptr<const void> owner);

}  // namespace ulpscope

#endif  // MODEL_FILES_NPY_H_
