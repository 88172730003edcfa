#ifndef TESTS_MODEL_FILES_CHECKPOINT_BYTES_H_
#define TESTS_MODEL_FILES_CHECKPOINT_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Writes `bytes` to a file of the running test's own folder; returns its path.
std::string WriteTestFile(absl::string_view name, absl::string_view bytes);

// The folder of WriteTestFile.
std::string TestFolder();

// A committed file under tests/testdata.
std::string TestDataPath(absl::string_view name);

// Little-endian.
std::string Encode32(uint32_t value);
std::string Encode64(uint64_t value);

// A safetensors file: the header's length, the header, and `data_size` bytes
// that count up.
std::string SafetensorsBytes(absl::string_view header, size_t data_size);

// A GGUF file in pieces, so that a test can spoil any of them.
struct GgufParts {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count;  // by default as many as there are
  std::optional<uint64_t> value_count;
  std::vector<std::string> values;
  std::vector<std::string> tensors;
  size_t data_size = 0;
  size_t alignment = 32;

  std::string Bytes() const;
};

// Entries of `values`: key, type id and value.
std::string GgufEntry(absl::string_view key, uint32_t type,
                      absl::string_view value);
std::string GgufText(absl::string_view text);  // a string value
std::string GgufUint32(absl::string_view key, uint32_t value);
std::string GgufFloat(absl::string_view key, float value);

// An entry of `tensors`; `dimensions` as stored, the fastest first.
std::string GgufTensorEntry(absl::string_view name,
                            const std::vector<uint64_t>& dimensions,
                            uint32_t type, uint64_t offset);

// A valid llama of one layer: hidden size 4, two heads, one KV head, three
// tokens, all F32, tied. The last tensor is "blk.0.ffn_down.weight".
GgufParts TinyGguf();

}  // namespace ulpscope

#endif  // TESTS_MODEL_FILES_CHECKPOINT_BYTES_H_
