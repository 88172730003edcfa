#include "model/safetensors.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "model/mapped_file.h"
#include "model/strict_json.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderSize = 100'000'000;  // upstream's limit

struct StoredType {
  absl::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;  // none: cannot be computed with
};

constexpr StoredType kStoredTypes[] = {
    {"F32", 32, DType::kF32},     {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},   {"BOOL", 8, std::nullopt},
    {"F4", 4, std::nullopt},      {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt}, {"U8", 8, std::nullopt},
    {"I8", 8, std::nullopt},      {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt}, {"F8_E8M0", 8, std::nullopt},
    {"I16", 16, std::nullopt},    {"U16", 16, std::nullopt},
    {"I32", 32, std::nullopt},    {"U32", 32, std::nullopt},
    {"C64", 64, std::nullopt},    {"F64", 64, std::nullopt},
    {"I64", 64, std::nullopt},    {"U64", 64, std::nullopt},
};

const StoredType* FindStoredType(absl::string_view name) {
  for (const StoredType& type : kStoredTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

struct StoredTensor {
  const StoredType* type = nullptr;
  std::vector<int64_t> shape;
  absl::Span<const uint8_t> bytes;
  std::shared_ptr<const MappedFile> file;
};

// Ordered, so that the first error found is always the same one.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

absl::Status TensorError(absl::string_view file, absl::string_view tensor,
                         absl::string_view expected, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": tensor ", NameText(tensor), ": expected ", expected,
                   ", found ", found));
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
absl::StatusOr<StoredTensor> ParseEntry(absl::string_view file,
                                        absl::string_view name,
                                        const Json& entry,
                                        absl::Span<const uint8_t> data) {
  if (!entry.is_object()) {
    return TensorError(file, name, "an object", entry.type_name());
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
    return TensorError(file, name, "the keys dtype, shape and data_offsets",
                       keys.empty() ? "none" : keys);
  }
  StoredTensor tensor;
  if (!dtype->is_string()) {
    return TensorError(file, name, "a dtype string", dtype->type_name());
  }
  tensor.type = FindStoredType(dtype->get_ref<const std::string&>());
  if (tensor.type == nullptr) {
    return TensorError(file, name, "a safetensors dtype",
                       NameText(dtype->get_ref<const std::string&>()));
  }
  if (!shape->is_array()) {
    return TensorError(file, name, "a shape array", shape->type_name());
  }
  for (const Json& n : *shape) {
    if (!n.is_number_unsigned() ||
        n.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return TensorError(file, name, "a shape of non-negative integers",
                         n.is_number() ? n.dump() : n.type_name());
    }
    tensor.shape.push_back(n.get<int64_t>());
  }
  if (!offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return TensorError(file, name, "data_offsets of two non-negative integers",
                       offsets->is_array() ? "others" : offsets->type_name());
  }
  const uint64_t begin = (*offsets)[0].get<uint64_t>();
  const uint64_t end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > data.size()) {
    return TensorError(
        file, name, absl::StrCat("ascending data_offsets up to ", data.size()),
        absl::StrCat("[", begin, ", ", end, "]"));
  }
  const std::optional<uint64_t> bits =
      SizeInBits(tensor.shape, tensor.type->bits);
  if (!bits || *bits % 8 != 0 || *bits / 8 != end - begin) {
    return TensorError(
        file, name,
        absl::StrCat(
            bits ? absl::StrCat(*bits / 8, *bits % 8 ? " and a part" : "")
                 : "far too many",
            " bytes for ", tensor.type->name, " ", ShapeText(tensor.shape)),
        absl::StrCat("data_offsets of ", end - begin));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// Upstream wants the data covered exactly: an overlap or a hole is an error.
absl::Status CheckCoverage(absl::string_view file, const StoredTensors& tensors,
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
      return TensorError(
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

absl::StatusOr<StoredTensors> ReadFile(absl::string_view path) {
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
      std::min<uint64_t>(kMaxHeaderSize, bytes.size() - kLengthSize);
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
  StoredTensors tensors;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      const absl::Status status = CheckMetadata(path, entry);
      if (!status.ok()) return status;
      continue;
    }
    absl::StatusOr<StoredTensor> tensor = ParseEntry(path, name, entry, data);
    if (!tensor.ok()) return tensor.status();
    tensor->file = *file;
    tensors.emplace(name, *std::move(tensor));
  }
  const absl::Status status = CheckCoverage(path, tensors, data);
  if (!status.ok()) return status;
  return tensors;
}

class SafetensorsSource : public TensorSource {
 public:
  // `place` is the file or folder in messages.
  SafetensorsSource(absl::string_view place, StoredTensors tensors)
      : place_(place), tensors_(std::move(tensors)) {}

  bool Has(absl::string_view name) const override {
    return tensors_.find(name) != tensors_.end();
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return absl::NotFoundError(absl::StrCat(place_, ": tensor ",
                                              NameText(name), " ",
                                              ShapeText(shape), " is missing"));
    }
    const StoredTensor& stored = it->second;
    const std::string& file = stored.file->path();
    if (absl::MakeConstSpan(stored.shape) != shape) {
      return TensorError(file, name, absl::StrCat("shape ", ShapeText(shape)),
                         ShapeText(stored.shape));
    }
    if (!stored.type->dtype) {
      return TensorError(file, name, "dtype F32, F16 or BF16",
                         stored.type->name);
    }
    return TensorOverBytes(name, *stored.type->dtype, shape, stored.bytes,
                           stored.file->Hold(stored.bytes));
  }

 private:
  const std::string place_;
  const StoredTensors tensors_;
};

// File name of each tensor's shard, after model.safetensors.index.json.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(
    absl::string_view path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->bytes().size() > kMaxHeaderSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", kMaxHeaderSize,
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
      return TensorError(path, tensor, "a file name", value.type_name());
    }
    const std::string& name = value.get_ref<const std::string&>();
    // The index must not lead out of its folder.
    if (!absl::EndsWith(name, ".safetensors") ||
        absl::StrContains(name, "..") || absl::StrContains(name, '/') ||
        absl::StrContains(name, '\0')) {
      return TensorError(path, tensor, "a .safetensors file in this folder",
                         NameText(name));
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensors(
    absl::string_view path) {
  absl::StatusOr<StoredTensors> tensors = ReadFile(path);
  if (!tensors.ok()) return tensors.status();
  return std::make_unique<SafetensorsSource>(path, *std::move(tensors));
}

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensorsFolder(
    absl::string_view folder) {
  const std::string single = absl::StrCat(folder, "/model.safetensors");
  const std::string index = absl::StrCat(single, ".index.json");
  if (access(single.c_str(), F_OK) == 0) return OpenSafetensors(single);
  if (access(index.c_str(), F_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(
        folder,
        ": expected model.safetensors or model.safetensors.index.json, found "
        "neither"));
  }
  const absl::StatusOr<std::map<std::string, std::string>> shard_of =
      ReadIndex(index);
  if (!shard_of.ok()) return shard_of.status();
  std::map<std::string, StoredTensors> shards;
  StoredTensors tensors;
  for (const auto& [tensor, shard] : *shard_of) {
    const std::string path = absl::StrCat(folder, "/", shard);
    auto opened = shards.find(shard);
    if (opened == shards.end()) {
      absl::StatusOr<StoredTensors> read = ReadFile(path);
      if (!read.ok()) {
        return absl::Status(
            read.status().code(),
            absl::StrCat(read.status().message(), " (shard of tensor ",
                         NameText(tensor), " in ", index, ")"));
      }
      opened = shards.emplace(shard, *std::move(read)).first;
    }
    const auto found = opened->second.find(tensor);
    if (found == opened->second.end()) {
      return absl::NotFoundError(
          absl::StrCat(path, ": tensor ", NameText(tensor),
                       " is missing, expected here by ", index));
    }
    tensors.insert(*found);
  }
  return std::make_unique<SafetensorsSource>(folder, std::move(tensors));
}

}  // namespace ulpscope
