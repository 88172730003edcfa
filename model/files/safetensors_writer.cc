#include "model/files/safetensors_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/output_file.h"
#include "model/files/strict_json.h"

namespace ulpscope {
namespace {

constexpr size_t kLengthSize = 8;

bool IsF32(double value) {
  // NaN stays NaN; of its payload, nothing is said.
  return static_cast<float>(value) == value || value != value;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(
    absl::string_view path, OutputFile file,
    const std::vector<std::string>& names,
    const std::map<std::string, std::string>& metadata)
    : path_(path), metadata_(metadata), file_(std::move(file)) {
  for (const std::string& name : names) {
    // No entry is longer than this one.
    Entry& entry = entries_[name];
    entry.dtype = "F64";
    entry.shape.assign(kMaxDimensions, INT64_MAX);
    entry.begin = entry.end = UINT64_MAX;
  }
  // Aligns the data.
  header_size_ = (Header().size() + 7) / 8 * 8;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    absl::string_view path, const std::vector<std::string>& names,
    const std::map<std::string, std::string>& metadata) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(path);
  if (!file.ok()) return file.status();
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(path, *std::move(file), names, metadata));
}

std::string SafetensorsWriter::Header() const {
  std::vector<std::string> members;
  if (!metadata_.empty()) {
    std::vector<std::string> texts;
    for (const auto& [key, value] : metadata_) {
      texts.push_back(absl::StrCat(JsonString(key), ":", JsonString(value)));
    }
    members.push_back(
        absl::StrCat("\"__metadata__\":{", absl::StrJoin(texts, ","), "}"));
  }
  for (const auto& [name, entry] : entries_) {
    members.push_back(
        absl::StrCat(JsonString(name), ":{\"data_offsets\":[", entry.begin, ",",
                     entry.end, "],\"dtype\":\"", entry.dtype, "\",\"shape\":[",
                     absl::StrJoin(entry.shape, ","), "]}"));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

template <typename T, typename V>
absl::Status SafetensorsWriter::Write(absl::string_view name, const char* dtype,
                                      const std::vector<int64_t>& shape,
                                      absl::Span<const V> values) {
  const auto it = entries_.find(name);
  if (it == entries_.end() || it->second.written ||
      shape.size() > kMaxDimensions) {
    return absl::InternalError(
        absl::StrCat(path_, ": tensor ", name, " has no place in the header"));
  }
  Entry& entry = it->second;
  entry.dtype = dtype;
  entry.shape = shape;
  entry.begin = data_size_;
  entry.written = true;
  std::vector<T> piece;
  constexpr size_t kPiece = 1 << 16;
  for (size_t i = 0; i < values.size(); i += kPiece) {
    const absl::Span<const V> some = values.subspan(i, kPiece);
    piece.resize(some.size());
    std::transform(some.begin(), some.end(), piece.begin(),
                   [](V value) { return static_cast<T>(value); });
    const size_t size = piece.size() * sizeof(T);
    const absl::Status status = file_.Write(
        kLengthSize + header_size_ + data_size_, piece.data(), size);
    if (!status.ok()) return status;
    data_size_ += size;
  }
  entry.end = data_size_;
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::WriteFloats(absl::string_view name,
                                            const std::vector<int64_t>& shape,
                                            absl::Span<const double> values) {
  if (values.size() % 2 == 0 &&
      std::all_of(values.begin(), values.end(), IsF32)) {
    return Write<float>(name, "F32", shape, values);
  }
  return Write<double>(name, "F64", shape, values);
}

absl::Status SafetensorsWriter::WriteIntegers(
    absl::string_view name, absl::Span<const int32_t> values) {
  return Write<int64_t>(name, "I64", {static_cast<int64_t>(values.size())},
                        values);
}

absl::Status SafetensorsWriter::Finish() {
  for (const auto& [name, entry] : entries_) {
    if (entry.written) continue;
    return absl::InternalError(
        absl::StrCat(path_, ": tensor ", name, " was not written"));
  }
  std::string header = Header();
  header.resize(header_size_, ' ');  // as the format allows
  std::string length(kLengthSize, '\0');
  for (size_t i = 0; i < kLengthSize; ++i) {
    length[i] = static_cast<char>(header_size_ >> (8 * i) & 255);
  }
  header.insert(0, length);
  const absl::Status status = file_.Write(0, header.data(), header.size());
  return status.ok() ? file_.Commit() : status;
}

}  // namespace ulpscope
