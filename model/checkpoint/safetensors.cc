#include "model/checkpoint/safetensors.h"

#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "model/files/mapped_file.h"
#include "model/files/safetensors_file.h"

namespace ulpscope {
namespace {

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
      ReadSafetensorsIndex(index);
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
