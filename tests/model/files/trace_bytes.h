#ifndef TESTS_MODEL_FILES_TRACE_BYTES_H_
#define TESTS_MODEL_FILES_TRACE_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Files of traces in bytes, written without the code that is tested.

// Little-endian elements.
std::string F64Bytes(const std::vector<double>& values);
std::string F32Bytes(const std::vector<float>& values);
std::string Bytes16(const std::vector<uint16_t>& bits);
std::string I64Bytes(const std::vector<int64_t>& values);

// The same with the bytes of each element of `size` in reverse order.
std::string Swapped(absl::string_view bytes, size_t size);

// after_layer_N.bin.
std::string BinBytes(const std::vector<float>& values);

// A tensor of a .safetensors file.
struct RawTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
std::string SafetensorsOf(const std::map<std::string, RawTensor>& tensors);

// A .npy file of format 1.0; `descr` as numpy's, such as "<f4".
std::string NpyBytes(absl::string_view descr, const std::vector<int64_t>& shape,
                     absl::string_view bytes);

// A .npz file whose arrays are stored, not compressed: file names and bytes.
// With `zip64`, sizes and offsets are where those go that take 64 bits.
std::string NpzBytes(const std::map<std::string, std::string>& files,
                     bool zip64 = false);

}  // namespace ulpscope

#endif  // TESTS_MODEL_FILES_TRACE_BYTES_H_
