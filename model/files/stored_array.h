#ifndef MODEL_FILES_STORED_ARRAY_H_
#define MODEL_FILES_STORED_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// A row-major array as a file stores it.
struct StoredArray {
  // In safetensors' words, whatever the file: "F64", "F32", "F16", "BF16",
  // "I64", "I32", ...; another dtype as the file has it.
  std::string dtype;
  bool big_endian = false;
  std::vector<int64_t> shape;
  absl::Span<const uint8_t> bytes;  // as many as dtype and shape take
  std::shared_ptr<const void> owner;
};

// Bytes of an element; 0 of a dtype that neither of the below reads.
size_t ElementSize(absl::string_view dtype);

// Whether Widen reads it: F64, F32, F16, BF16.
bool IsFloat(absl::string_view dtype);

// Elements [first, first + out.size()) of an array of floats, without rounding
// (a signaling NaN becomes quiet).
void Widen(const StoredArray& array, size_t first, absl::Span<double> out);

// An element of an array of integers: I8, I16, I32, I64, U8, U16, U32. Others
// have none.
bool IsInteger(absl::string_view dtype);
int64_t IntegerAt(const StoredArray& array, size_t index);

}  // namespace ulpscope

#endif  // MODEL_FILES_STORED_ARRAY_H_
