#include "model/files/gguf_array.h"

#include <cstddef>
#include <cstring>
#include <limits>

namespace ulpscope {
namespace {

template <class T>
std::optional<std::vector<int64_t>> Widened(const GgufArray& array) {
  std::vector<int64_t> values(array.count);
  for (size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    if (value > T{0} &&
        static_cast<uint64_t>(value) >
            static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return std::nullopt;
    }
    values[i] = static_cast<int64_t>(value);
  }
  return values;
}

}  // namespace

uint64_t GgufValueSize(uint32_t type) {
  switch (type) {
    case kGgufUint8:
    case kGgufInt8:
    case kGgufBool:
      return 1;
    case kGgufUint16:
    case kGgufInt16:
      return 2;
    case kGgufUint32:
    case kGgufInt32:
    case kGgufFloat32:
      return 4;
    case kGgufUint64:
    case kGgufInt64:
    case kGgufFloat64:
      return 8;
    default:
      return 0;
  }
}

std::optional<std::vector<absl::string_view>> GgufStrings(
    const GgufArray& array) {
  if (array.type != kGgufString) return std::nullopt;
  std::vector<absl::string_view> strings;
  strings.reserve(array.count);
  size_t at = 0;
  for (uint64_t i = 0; i < array.count; ++i) {
    // They fitted when the file was opened; somebody may have written to it.
    uint64_t size = 0;
    if (array.bytes.size() - at < sizeof(size)) return std::nullopt;
    std::memcpy(&size, array.bytes.data() + at, sizeof(size));
    at += sizeof(size);
    if (array.bytes.size() - at < size) return std::nullopt;
    strings.emplace_back(reinterpret_cast<const char*>(array.bytes.data()) + at,
                         size);
    at += size;
  }
  return strings;
}

std::optional<std::vector<int64_t>> GgufIntegers(const GgufArray& array) {
  switch (array.type) {
    case kGgufUint8:
      return Widened<uint8_t>(array);
    case kGgufInt8:
      return Widened<int8_t>(array);
    case kGgufUint16:
      return Widened<uint16_t>(array);
    case kGgufInt16:
      return Widened<int16_t>(array);
    case kGgufUint32:
      return Widened<uint32_t>(array);
    case kGgufInt32:
      return Widened<int32_t>(array);
    case kGgufUint64:
      return Widened<uint64_t>(array);
    case kGgufInt64:
      return Widened<int64_t>(array);
    default:
      return std::nullopt;
  }
}

}  // namespace ulpscope
