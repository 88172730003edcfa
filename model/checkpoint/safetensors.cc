#include "model/checkpoint/safetensors.h"

#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "model/files/mapped_file.h"
#include "model/files/safetensors_file.h"
#include "model/files/strict_json.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

// Weights of other dtypes cannot be computed with.
std::optional<DType> ComputedType(absl::string_view stored) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (stored == DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

class SafetensorsSource : public TensorSource {
 public:
  // `place` is the file or folder in messages.
  SafetensorsSource(absl::string_view place, SafetensorsEntries tensors)
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
    const SafetensorsEntry& stored = it->second;
    const std::string& file = stored.file->path();
    if (absl::MakeConstSpan(stored.shape) != shape) {
      return SafetensorsError(file, name,
                              absl::StrCat("shape ", ShapeText(shape)),
                              ShapeText(stored.shape));
    }
    const std::optional<DType> dtype = ComputedType(stored.dtype);
    if (!dtype) {
      return SafetensorsError(file, name, "dtype F32, F16 or BF16",
                              stored.dtype);
    }
    return TensorOverBytes(name, *dtype, shape, stored.bytes,
                           stored.file->Hold(stored.bytes));
  }

 private:
  const std::string place_;
  const SafetensorsEntries tensors_;
};

// File name of each tensor's shard, after model.safetensors.index.json.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(
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
    // The index must not lead out of its folder.
    if (!absl::EndsWith(name, ".safetensors") ||
        absl::StrContains(name, "..") || absl::StrContains(name, '/') ||
        absl::StrContains(name, '\0')) {
      return SafetensorsError(
          path, tensor, "a .safetensors file in this folder", NameText(name));
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensors(
    absl::string_view path) {
  absl::StatusOr<SafetensorsEntries> tensors = ReadSafetensorsFile(path);
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
  std::map<std::string, SafetensorsEntries> shards;
  SafetensorsEntries tensors;
  for (const auto& [tensor, shard] : *shard_of) {
    const std::string path = absl::StrCat(folder, "/", shard);
    auto opened = shards.find(shard);
    if (opened == shards.end()) {
      absl::StatusOr<SafetensorsEntries> read = ReadSafetensorsFile(path);
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
