#include "model/files/safetensors_file.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/files/strict_json.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

struct StoredType {
  absl::string_view name;
  uint64_t bits;
};

constexpr StoredType kStoredTypes[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16}, {"BOOL", 8}, {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},    {"I8", 8},   {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},  {"U16", 16}, {"I32", 32},
    {"U32", 32},    {"C64", 64},    {"F64", 64},  {"I64", 64}, {"U64", 64},
};

const StoredType* FindStoredType(absl::string_view name) {
  for (const StoredType& type : kStoredTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

// Bits of a tensor, or nothing if they do not fit 63 bits.
std::optional<uint64_t> SizeInBits(absl::Span<const int64_t> shape,
                                   uint64_t bits_per_element) {
  uint64_t size = bits_per_element;
  for (const int64_t n : shape) {
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(n), &size) ||
        size > static_cast<uint64_t>(INT64_MAX)) {
      return std::nullopt;
    }
  }
  return size;
}

// One entry of the header; `data` is what follows the header.
absl::StatusOr<SafetensorsEntry> ParseEntry(absl::string_view file,
                                            absl::string_view name,
                                            const Json& entry,
                                            absl::Span<const uint8_t> data) {
  if (!entry.is_object()) {
    return SafetensorsError(file, name, "an object", entry.type_name());
  }
  const auto dtype = entry.find("dtype");
  const auto shape = entry.find("shape");
  const auto offsets = entry.find("data_offsets");
  if (dtype == entry.end() || shape == entry.end() || offsets == entry.end() ||
      entry.size() != 3) {
    std::string keys;
    for (const auto& item : entry.items()) {
      if (keys.size() < 128) absl::StrAppend(&keys, NameText(item.key()), " ");
    }
    return SafetensorsError(file, name,
                            "the keys dtype, shape and data_offsets",
                            keys.empty() ? "none" : keys);
  }
  SafetensorsEntry tensor;
  if (!dtype->is_string()) {
    return SafetensorsError(file, name, "a dtype string", dtype->type_name());
  }
  const StoredType* const type =
      FindStoredType(dtype->get_ref<const std::string&>());
  if (type == nullptr) {
    return SafetensorsError(file, name, "a safetensors dtype",
                            NameText(dtype->get_ref<const std::string&>()));
  }
  tensor.dtype = type->name;
  if (!shape->is_array()) {
    return SafetensorsError(file, name, "a shape array", shape->type_name());
  }
  for (const Json& n : *shape) {
    if (!n.is_number_unsigned() ||
        n.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return SafetensorsError(file, name, "a shape of non-negative integers",
                              n.is_number() ? n.dump() : n.type_name());
    }
    tensor.shape.push_back(n.get<int64_t>());
  }
  if (!offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return SafetensorsError(
        file, name, "data_offsets of two non-negative integers",
        offsets->is_array() ? "others" : offsets->type_name());
  }
  const uint64_t begin = (*offsets)[0].get<uint64_t>();
  const uint64_t end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > data.size()) {
    return SafetensorsError(
        file, name, absl::StrCat("ascending data_offsets up to ", data.size()),
        absl::StrCat("[", begin, ", ", end, "]"));
  }
  const std::optional<uint64_t> bits = SizeInBits(tensor.shape, type->bits);
  if (!bits || *bits % 8 != 0 || *bits / 8 != end - begin) {
    return SafetensorsError(
        file, name,
        absl::StrCat(
            bits ? absl::StrCat(*bits / 8, *bits % 8 ? " and a part" : "")
                 : "far too many",
            " bytes for ", type->name, " ", ShapeText(tensor.shape)),
        absl::StrCat("data_offsets of ", end - begin));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// Upstream wants the data covered exactly: an overlap or a hole is an error.
absl::Status CheckCoverage(absl::string_view file,
                           const SafetensorsEntries& tensors,
                           absl::Span<const uint8_t> data) {
  std::vector<std::pair<const std::string*, absl::Span<const uint8_t>>> sorted;
  for (const auto& [name, tensor] : tensors) {
    sorted.emplace_back(&name, tensor.bytes);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a.second.data(), a.second.size()) <
           std::make_pair(b.second.data(), b.second.size());
  });
  const uint8_t* end = data.data();
  for (const auto& [name, bytes] : sorted) {
    if (bytes.data() != end) {
      return SafetensorsError(
          file, *name,
          absl::StrCat("its data at ", end - data.data(),
                       ", where the data before it ends"),
          absl::StrCat(bytes.data() - data.data(),
                       bytes.data() < end ? " (overlap)" : " (hole)"));
    }
    end = bytes.data() + bytes.size();
  }
  if (end != data.data() + data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected ", end - data.data(),
                     " bytes of data after the header, found ", data.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckMetadata(absl::string_view file, const Json& metadata) {
  if (!metadata.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": __metadata__: expected an object, found ",
                     metadata.type_name()));
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": __metadata__ ", NameText(key),
                       ": expected a string, found ", value.type_name()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SafetensorsError(absl::string_view file, absl::string_view tensor,
                              absl::string_view expected,
                              absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": tensor ", NameText(tensor), ": expected ", expected,
                   ", found ", found));
}

absl::StatusOr<SafetensorsEntries> ReadSafetensorsFile(absl::string_view path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::Span<const uint8_t> bytes = (*file)->bytes();
  constexpr size_t kLengthSize = 8;
  if (bytes.size() < kLengthSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected 8 bytes of header length, found ",
                     bytes.size(), " bytes"));
  }
  uint64_t header_size = 0;
  for (size_t i = 0; i < kLengthSize; ++i) {  // little-endian
    header_size |= uint64_t{bytes[i]} << (8 * i);
  }
  const uint64_t limit =
      std::min<uint64_t>(kMaxSafetensorsHeader, bytes.size() - kLengthSize);
  if (header_size > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a header of at most ", limit,
                     " bytes, found a header length of ", header_size));
  }
  const absl::StatusOr<Json> header =
      ParseJsonObject((*file)->text().substr(kLengthSize, header_size), path);
  if (!header.ok()) return header.status();

  const absl::Span<const uint8_t> data =
      bytes.subspan(kLengthSize + header_size);
  SafetensorsEntries tensors;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      const absl::Status status = CheckMetadata(path, entry);
      if (!status.ok()) return status;
      continue;
    }
    absl::StatusOr<SafetensorsEntry> tensor =
        ParseEntry(path, name, entry, data);
    if (!tensor.ok()) return tensor.status();
    tensor->file = *file;
    tensors.emplace(name, *std::move(tensor));
  }
  const absl::Status status = CheckCoverage(path, tensors, data);
  if (!status.ok()) return status;
  return tensors;
}

absl::StatusOr<std::map<std::string, std::string>> ReadSafetensorsIndex(
    absl::string_view path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->bytes().size() > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", kMaxSafetensorsHeader,
                     " bytes, found ", (*file)->bytes().size()));
  }
  const absl::StatusOr<Json> index = ParseJsonObject((*file)->text(), path);
  if (!index.ok()) return index.status();
  const auto weight_map = index->find("weight_map");
  if (weight_map == index->end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": weight_map: expected an object, found ",
        weight_map == index->end() ? "nothing" : weight_map->type_name()));
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, value] : weight_map->items()) {
    if (!value.is_string()) {
      return SafetensorsError(path, tensor, "a file name", value.type_name());
    }
    const std::string& name = value.get_ref<const std::string&>();
    // The index must not lead out of its folder, nor its names into a terminal.
    const auto is_control = [](char c) {
      return absl::ascii_iscntrl(static_cast<unsigned char>(c));
    };
    if (!absl::EndsWith(name, ".safetensors") ||
        absl::StrContains(name, "..") || absl::StrContains(name, '/') ||
        std::any_of(name.begin(), name.end(), is_control)) {
      return SafetensorsError(
          path, tensor, "a .safetensors file in this folder", NameText(name));
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

}  // namespace ulpscope
