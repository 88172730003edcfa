#include "model/checkpoint/safetensors.h"

#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "model/checkpoint/float8.h"
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

// What stands before "embed_tokens.weight" and "layers.0...": as transformers
// saves it first, then as models with more than text, torch.compile and
// embedding models do.
constexpr absl::string_view kPrefixes[] = {
    "model.",
    "model.language_model.",
    "language_model.model.",
    "_orig_mod.model.",
    "_orig_mod.",
    "",
};
constexpr absl::string_view kHeadPrefixes[] = {
    "", "language_model.", "model.language_model.", "_orig_mod."};

// Projections that files may have as rows of one matrix, in this order.
struct Fused {
  absl::string_view part, whole;
  bool of_three;  // q, k and v, of which k and v are as long; else two alike
  size_t index;
};
constexpr Fused kFused[] = {
    {".self_attn.q_proj.", ".self_attn.qkv_proj.", true, 0},
    {".self_attn.k_proj.", ".self_attn.qkv_proj.", true, 1},
    {".self_attn.v_proj.", ".self_attn.qkv_proj.", true, 2},
    {".mlp.gate_proj.", ".mlp.gate_up_proj.", false, 0},
    {".mlp.up_proj.", ".mlp.gate_up_proj.", false, 1},
};

const Fused* FusedOf(absl::string_view name) {
  for (const Fused& fused : kFused) {
    if (absl::StrContains(name, fused.part)) return &fused;
  }
  return nullptr;
}

// The first row of a part with `rows` of them; none if a matrix of `total` is
// not made of such parts.
std::optional<int64_t> FirstRow(const Fused& fused, int64_t rows,
                                int64_t total) {
  if (!fused.of_three) {
    if (total != 2 * rows) return std::nullopt;
    return fused.index == 0 ? 0 : rows;
  }
  if (fused.index == 0) {
    if (total <= rows || (total - rows) % 2 != 0) return std::nullopt;
    return 0;
  }
  // Heads of q are a multiple of those of k.
  const int64_t of_q = total - 2 * rows;
  if (of_q <= 0 || of_q % rows != 0) return std::nullopt;
  return fused.index == 1 ? of_q : of_q + rows;
}

class SafetensorsSource : public TensorSource {
 public:
  // `place` is the file or folder in messages.
  SafetensorsSource(absl::string_view place, SafetensorsEntries tensors)
      : place_(place), tensors_(std::move(tensors)) {
    for (const absl::string_view prefix : kPrefixes) {
      if (tensors_.find(absl::StrCat(prefix, "embed_tokens.weight")) ==
          tensors_.end()) {
        continue;
      }
      prefix_ = prefix;
      break;
    }
  }

  bool Has(absl::string_view name) const override {
    return tensors_.find(StoredName(name)) != tensors_.end();
  }

  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> shape) const override {
    const auto [it, fused] = Find(name);
    if (it == tensors_.end()) return 0;
    const SafetensorsEntry& stored = it->second;
    if (fused != nullptr) {
      const bool has_rows = !shape.empty() && !stored.shape.empty() &&
                            stored.shape[0] > 0 && shape[0] <= stored.shape[0];
      return has_rows
                 ? stored.bytes.size() / static_cast<size_t>(stored.shape[0]) *
                       static_cast<size_t>(shape[0])
                 : 0;
    }
    if (ComputedType(stored.dtype)) return stored.bytes.size();
    const auto scales = tensors_.find(ScalesName(it->first));
    return stored.bytes.size() +
           (scales != tensors_.end() ? scales->second.bytes.size() : 0);
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const auto [it, fused] = Find(name);
    if (it == tensors_.end()) {
      return absl::NotFoundError(absl::StrCat(
          place_, ": tensor ", NameText(name), " ", ShapeText(shape),
          " is missing; there are ", NamesText()));
    }
    used_.insert(it->first);
    const SafetensorsEntry& stored = it->second;
    const std::string& file = stored.file->path();
    const std::optional<DType> dtype = ComputedType(stored.dtype);
    if (!dtype) {
      const auto scales = tensors_.find(ScalesName(it->first));
      if (stored.dtype == "F8_E4M3" && scales != tensors_.end() &&
          fused == nullptr) {
        used_.insert(scales->first);
        return Float8Tensor(name, shape, *it, *scales);
      }
      return SafetensorsError(
          file, it->first,
          "dtype F32, F16 or BF16, or F8_E4M3 with scales NAME_scale_inv",
          stored.dtype);
    }
    absl::Span<const uint8_t> bytes = stored.bytes;
    std::vector<int64_t> found = stored.shape;
    bool fits = fused == nullptr;
    if (!fits && !shape.empty() && found.size() == shape.size()) {
      const auto first = FirstRow(*fused, shape[0], found[0]);
      fits = first.has_value();
      if (fits) {
        const size_t row_bytes = bytes.size() / static_cast<size_t>(found[0]);
        found[0] = shape[0];
        bytes = bytes.subspan(static_cast<size_t>(*first) * row_bytes,
                              static_cast<size_t>(shape[0]) * row_bytes);
      }
    }
    if (!fits || absl::MakeConstSpan(found) != shape) {
      return SafetensorsError(file, it->first,
                              absl::StrCat(fused != nullptr ? "rows with " : "",
                                           "shape ", ShapeText(shape)),
                              ShapeText(stored.shape));
    }
    return TensorOverBytes(name, *dtype, shape, bytes,
                           stored.file->Hold(bytes));
  }

  absl::Status CheckUnchanged() const override {
    std::set<const MappedFile*> files;
    for (const auto& [name, entry] : tensors_) files.insert(entry.file.get());
    absl::Status status;
    for (const MappedFile* file : files) status.Update(file->CheckUnchanged());
    return status;
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : tensors_) {
      if (used_.count(name) == 0) names.push_back(name);
    }
    return names;
  }

 private:
  // Where a tensor is, and of which matrix it is rows; else null.
  std::pair<SafetensorsEntries::const_iterator, const Fused*> Find(
      absl::string_view name) const {
    const auto it = tensors_.find(StoredName(name));
    if (it != tensors_.end()) return {it, nullptr};
    const Fused* const fused = FusedOf(name);
    if (fused == nullptr) return {it, nullptr};
    return {tensors_.find(StoredName(
                absl::StrReplaceAll(name, {{fused->part, fused->whole}}))),
            fused};
  }

  // Of the scales of blocks of FP8.
  static std::string ScalesName(absl::string_view stored) {
    return absl::StrCat(stored, "_scale_inv");
  }

  std::string StoredName(absl::string_view name) const {
    absl::string_view rest = name;
    if (absl::ConsumePrefix(&rest, "model.")) {
      return absl::StrCat(prefix_, rest);
    }
    for (const absl::string_view prefix : kHeadPrefixes) {
      const std::string stored = absl::StrCat(prefix, name);
      if (tensors_.find(stored) != tensors_.end()) return stored;
    }
    return std::string(name);
  }

  // "311 others, such as a, b and c".
  std::string NamesText() const {
    constexpr size_t kMost = 3;
    std::vector<std::string> names;
    for (const auto& [name, entry] : tensors_) {
      if (names.size() == kMost) break;
      names.push_back(NameText(name));
    }
    return names.empty() ? "no others"
                         : absl::StrCat(tensors_.size(), " others, such as ",
                                        absl::StrJoin(names, ", "));
  }

  const std::string place_;
  const SafetensorsEntries tensors_;
  std::string prefix_ = "model.";
  std::set<std::string> used_;
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
