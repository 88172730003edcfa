#include "tests/model/files/trace_bytes.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

std::string Encode16(uint32_t value) { return Encode32(value).substr(0, 2); }

// CRC-32 of zip (ISO 3309), a bit at a time.
uint32_t Crc32(absl::string_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int i = 0; i < 8; ++i) {
      crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
    }
  }
  return ~crc;
}

}  // namespace

std::string F64Bytes(const std::vector<double>& values) {
  std::string bytes;
  for (const double value : values) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bytes += Encode64(bits);
  }
  return bytes;
}

std::string F32Bytes(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bytes += Encode32(bits);
  }
  return bytes;
}

std::string Bytes16(const std::vector<uint16_t>& bits) {
  std::string bytes;
  for (const uint16_t value : bits) bytes += Encode16(value);
  return bytes;
}

std::string I64Bytes(const std::vector<int64_t>& values) {
  std::string bytes;
  for (const int64_t value : values) {
    bytes += Encode64(static_cast<uint64_t>(value));
  }
  return bytes;
}

std::string Swapped(absl::string_view bytes, size_t size) {
  std::string swapped;
  for (size_t i = 0; i < bytes.size(); i += size) {
    for (size_t j = size; j > 0; --j) swapped.push_back(bytes[i + j - 1]);
  }
  return swapped;
}

std::string BinBytes(const std::vector<float>& values) {
  return Encode32(static_cast<uint32_t>(values.size())) + F32Bytes(values);
}

std::string SafetensorsOf(const std::map<std::string, RawTensor>& tensors) {
  std::string header;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    absl::StrAppend(&header, header.empty() ? "{" : ",", "\"", name,
                    R"(":{"dtype":")", tensor.dtype, R"(","shape":[)",
                    absl::StrJoin(tensor.shape, ","), R"(],"data_offsets":[)",
                    data.size(), ",", data.size() + tensor.bytes.size(), "]}");
    data += tensor.bytes;
  }
  header += "}";
  return absl::StrCat(Encode64(header.size()), header, data);
}

std::string NpyBytes(absl::string_view descr, const std::vector<int64_t>& shape,
                     absl::string_view bytes) {
  std::string header = absl::StrCat(
      "{'descr': '", descr, "', 'fortran_order': False, 'shape': (",
      absl::StrJoin(shape, ", "), shape.size() == 1 ? ",), }" : "), }");
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  return absl::StrCat("\x93NUMPY", absl::string_view("\x01\x00", 2),
                      Encode16(static_cast<uint32_t>(header.size())), header,
                      bytes);
}

std::string NpzBytes(const std::map<std::string, std::string>& files,
                     bool zip64) {
  const auto size32 = [zip64](size_t size) {
    return Encode32(zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(size));
  };
  std::string zip;
  std::string directory;
  for (const auto& [name, bytes] : files) {
    // Version, flags, method (stored), time, date, and what both headers have.
    const std::string same = absl::StrCat(
        Encode16(20), Encode16(0), Encode16(0), Encode16(0), Encode16(0x21),
        Encode32(Crc32(bytes)), size32(bytes.size()), size32(bytes.size()),
        Encode16(static_cast<uint32_t>(name.size())));
    const std::string sizes =
        absl::StrCat(Encode64(bytes.size()), Encode64(bytes.size()));
    const std::string extra =
        zip64 ? absl::StrCat(Encode16(7), Encode16(1), "x", Encode16(1),
                             Encode16(24), sizes, Encode64(zip.size()))
              : "";
    absl::StrAppend(&directory, "PK\x01\x02", Encode16(20), same,
                    Encode16(static_cast<uint32_t>(extra.size())), Encode16(0),
                    Encode16(0), Encode16(0), Encode32(0), size32(zip.size()),
                    name, extra);
    const std::string local_extra =
        zip64 ? absl::StrCat(Encode16(1), Encode16(16), sizes) : "";
    absl::StrAppend(&zip, "PK\x03\x04", same,
                    Encode16(static_cast<uint32_t>(local_extra.size())), name,
                    local_extra, bytes);
  }
  const size_t begin = zip.size();
  const size_t end = begin + directory.size();
  zip += directory;
  if (zip64) {
    absl::StrAppend(&zip, "PK\x06\x06", Encode64(44), Encode16(45),
                    Encode16(45), Encode32(0), Encode32(0),
                    Encode64(files.size()), Encode64(files.size()),
                    Encode64(directory.size()), Encode64(begin));
    absl::StrAppend(&zip, "PK\x06\x07", Encode32(0), Encode64(end),
                    Encode32(1));
  }
  const std::string count =
      Encode16(zip64 ? 0xFFFF : static_cast<uint32_t>(files.size()));
  return absl::StrCat(zip, "PK\x05\x06", Encode32(0), count, count,
                      size32(directory.size()), size32(begin), Encode16(0));
}

}  // namespace ulpscope
