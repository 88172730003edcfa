#ifndef MODEL_FILES_GGUF_ARRAY_H_
#define MODEL_FILES_GGUF_ARRAY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// Ids of the types of GGUF's metadata values.
enum GgufValueType : uint32_t {
  kGgufUint8,
  kGgufInt8,
  kGgufUint16,
  kGgufInt16,
  kGgufUint32,
  kGgufInt32,
  kGgufFloat32,
  kGgufBool,
  kGgufString,
  kGgufArray,
  kGgufUint64,
  kGgufInt64,
  kGgufFloat64,
};

// Bytes of a value of fixed size; 0 for the others.
uint64_t GgufValueSize(uint32_t type);

// An array in the metadata, whose extent has been checked; the elements stay in
// the file, and `bytes` are valid as long as its mapping.
struct GgufArray {
  uint64_t count = 0;
  uint32_t type = kGgufUint8;  // GgufValueType of the elements
  absl::Span<const uint8_t> bytes;
};

// The elements of an array of strings, within the file's mapping; those of an
// array of integers of at most 32 bits, or of 64 that fit. Nothing of an array
// of other elements, or of one that another process has made too long.
std::optional<std::vector<absl::string_view>> GgufStrings(
    const GgufArray& array);
std::optional<std::vector<int64_t>> GgufIntegers(const GgufArray& array);

}  // namespace ulpscope

#endif  // MODEL_FILES_GGUF_ARRAY_H_
