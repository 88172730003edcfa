#include "tests/model/files/checkpoint_bytes.h"

#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

std::string CountingBytes(size_t size) {
  std::string bytes(size, '\0');
  // Small enough to be finite in every float type, whatever the position.
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i % 61);
  return bytes;
}

}  // namespace

std::string TestFolder() {
  const testing::TestInfo* info =
      testing::UnitTest::GetInstance()->current_test_info();
  const std::string folder =
      absl::StrCat(testing::TempDir(), "/",
                   absl::StrReplaceAll(
                       absl::StrCat(info->test_suite_name(), ".", info->name()),
                       {{"/", "."}}));
  mkdir(folder.c_str(), 0755);
  return folder;
}

std::string WriteTestFile(absl::string_view name, absl::string_view bytes) {
  const std::string path = absl::StrCat(TestFolder(), "/", name);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

std::string TestDataPath(absl::string_view name) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                      "/tests/testdata/", name);
}

std::string Encode64(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i) & 255));
  }
  return bytes;
}

std::string Encode32(uint32_t value) { return Encode64(value).substr(0, 4); }

std::string SafetensorsBytes(absl::string_view header, size_t data_size) {
  return absl::StrCat(Encode64(header.size()), header,
                      CountingBytes(data_size));
}

std::string GgufParts::Bytes() const {
  std::string bytes = absl::StrCat(
      magic, Encode32(version), Encode64(tensor_count.value_or(tensors.size())),
      Encode64(value_count.value_or(values.size())));
  for (const std::string& value : values) bytes += value;
  for (const std::string& tensor : tensors) bytes += tensor;
  while (bytes.size() % alignment != 0) bytes.push_back('\0');
  return bytes + CountingBytes(data_size);
}

std::string GgufText(absl::string_view text) {
  return absl::StrCat(Encode64(text.size()), text);
}

std::string GgufEntry(absl::string_view key, uint32_t type,
                      absl::string_view value) {
  return absl::StrCat(GgufText(key), Encode32(type), value);
}

std::string GgufUint32(absl::string_view key, uint32_t value) {
  return GgufEntry(key, 4, Encode32(value));
}

std::string GgufFloat(absl::string_view key, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return GgufEntry(key, 6, Encode32(bits));
}

std::string GgufTensorEntry(absl::string_view name,
                            const std::vector<uint64_t>& dimensions,
                            uint32_t type, uint64_t offset) {
  std::string bytes = absl::StrCat(
      GgufText(name), Encode32(static_cast<uint32_t>(dimensions.size())));
  for (const uint64_t n : dimensions) bytes += Encode64(n);
  return absl::StrCat(bytes, Encode32(type), Encode64(offset));
}

GgufParts TinyGguf() {
  GgufParts parts;
  parts.values = {
      GgufEntry("general.architecture", 8, GgufText("llama")),
      GgufUint32("llama.embedding_length", 4),
      GgufUint32("llama.feed_forward_length", 8),
      GgufUint32("llama.block_count", 1),
      GgufUint32("llama.attention.head_count", 2),
      GgufUint32("llama.attention.head_count_kv", 1),
      GgufUint32("llama.context_length", 16),
      GgufFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f),
  };
  const struct {
    absl::string_view name;
    std::vector<uint64_t> dimensions;
  } tensors[] = {
      {"token_embd.weight", {4, 3}},     {"output_norm.weight", {4}},
      {"blk.0.attn_norm.weight", {4}},   {"blk.0.ffn_norm.weight", {4}},
      {"blk.0.attn_q.weight", {4, 4}},   {"blk.0.attn_k.weight", {4, 2}},
      {"blk.0.attn_v.weight", {4, 2}},   {"blk.0.attn_output.weight", {4, 4}},
      {"blk.0.ffn_gate.weight", {4, 8}}, {"blk.0.ffn_up.weight", {4, 8}},
      {"blk.0.ffn_down.weight", {8, 4}},
  };
  for (const auto& [name, dimensions] : tensors) {
    const size_t offset = (parts.data_size + 31) / 32 * 32;
    size_t size = 4;
    for (const uint64_t n : dimensions) size *= n;
    parts.tensors.push_back(GgufTensorEntry(name, dimensions, 0, offset));
    parts.data_size = offset + size;
  }
  return parts;
}

}  // namespace ulpscope
