#include "model/trace/trace_files.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "model/files/mapped_file.h"
#include "model/files/npy.h"
#include "model/files/safetensors_file.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"
#include "model/files/zip_file.h"

namespace ulpscope {
namespace {

using Arrays = std::vector<TraceArray>;

// So much is unpacked in any case, to tell the shape of what does not fit.
constexpr uint64_t kAlwaysUnpacked = uint64_t{64} << 20;

std::string Extension(absl::string_view path) {
  return std::filesystem::path(std::string(path)).extension().string();
}

bool IsTraceFile(absl::string_view path) {
  const std::string extension = Extension(path);
  return extension == ".safetensors" || extension == ".npz" ||
         extension == ".npy" || extension == ".bin";
}

constexpr char kTraceFiles[] =
    "a .safetensors, .npz, .npy or after_layer_N.bin file";

// A little-endian int32 count, and so many f32.
absl::StatusOr<StoredArray> ReadBin(const std::string& path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::Span<const uint8_t> bytes = (*file)->bytes();
  constexpr size_t kCountSize = 4;
  if (bytes.size() < kCountSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected an int32 count, found ", bytes.size(), " bytes"));
  }
  uint32_t count = 0;
  uint32_t swapped = 0;
  for (size_t i = 0; i < kCountSize; ++i) {
    count |= uint32_t{bytes[i]} << (8 * i);
    swapped = swapped << 8 | bytes[i];
  }
  const auto fits = [&](uint32_t n) {
    return n <= INT32_MAX && kCountSize + uint64_t{n} * 4 == bytes.size();
  };
  if (!fits(count)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a little-endian int32 count of ",
        (bytes.size() - kCountSize) / 4, ", as ", bytes.size(),
        " bytes hold after it, found ", static_cast<int32_t>(count),
        fits(swapped) ? ": the file is big-endian"
                      : ": the file is truncated or of another kind"));
  }
  StoredArray array;
  array.dtype = "F32";
  array.shape = {static_cast<int64_t>(count)};
  array.bytes = bytes.subspan(kCountSize);
  array.owner = (*file)->Hold(bytes);
  return array;
}

absl::StatusOr<StoredArray> ReadNpy(const std::string& path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  return ParseNpy((*file)->bytes(), (*file)->Hold((*file)->bytes()));
}

// Arrays of a .npz file, which is a zip archive of .npy files.
absl::Status AddNpz(const std::string& path, Arrays* arrays) {
  absl::StatusOr<ZipFile> opened = ZipFile::Open(path);
  if (!opened.ok()) return opened.status();
  const auto zip = std::make_shared<const ZipFile>(*std::move(opened));
  for (const ZipMember& member : zip->members()) {
    const auto read =
        [zip, &member](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
      const absl::StatusOr<ZipFile::Bytes> npy = zip->Read(
          member, std::max(max_bytes + kMaxNpyHeader, kAlwaysUnpacked));
      if (!npy.ok()) return npy.status();
      return ParseNpy(npy->bytes, npy->owner);
    };
    arrays->push_back(
        {std::string(absl::StripSuffix(member.name, ".npy")), path, read});
  }
  return absl::OkStatus();
}

absl::Status AddSafetensors(const std::string& path, Arrays* arrays) {
  const absl::StatusOr<SafetensorsEntries> entries = ReadSafetensorsFile(path);
  if (!entries.ok()) return entries.status();
  for (const auto& [name, entry] : *entries) {
    const auto read = [entry = entry](uint64_t) -> absl::StatusOr<StoredArray> {
      StoredArray array;
      array.dtype = std::string(entry.dtype);
      array.shape = entry.shape;
      array.bytes = entry.bytes;
      array.owner = entry.file->Hold(entry.bytes);
      return array;
    };
    arrays->push_back({name, path, read});
  }
  return absl::OkStatus();
}

absl::Status AddFile(const std::string& path, Arrays* arrays) {
  const std::string extension = Extension(path);
  if (extension == ".safetensors") return AddSafetensors(path, arrays);
  if (extension == ".npz") return AddNpz(path, arrays);
  const auto read = extension == ".npy" ? ReadNpy : ReadBin;
  arrays->push_back({std::filesystem::path(path).stem().string(), path,
                     [path, read](uint64_t) { return read(path); }});
  return absl::OkStatus();
}

// The files of a trace in a folder, sorted.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::directory_iterator it(path, error);
  std::vector<std::string> files;
  size_t others = 0;
  for (; !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    std::string file = it->path().string();
    if (IsTraceFile(file)) {
      files.push_back(std::move(file));
    } else {
      ++others;
    }
  }
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat(path, ": cannot list"));
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected ", kTraceFiles, " in the folder, found ",
        others == 0 ? "nothing" : absl::StrCat(others, " other files")));
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

absl::StatusOr<std::vector<TraceArray>> OpenTraceFiles(absl::string_view path) {
  std::vector<std::string> files = {std::string(path)};
  std::error_code ignored;
  if (std::filesystem::is_directory(files[0], ignored)) {
    absl::StatusOr<std::vector<std::string>> listed = ListFolder(files[0]);
    if (!listed.ok()) return listed.status();
    files = *std::move(listed);
  } else if (const auto file = MappedFile::Open(path); !file.ok()) {
    return file.status();
  } else if (!IsTraceFile(path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected a folder or ", kTraceFiles, ", found another name"));
  }
  Arrays arrays;
  for (const std::string& file : files) {
    const absl::Status status = AddFile(file, &arrays);
    if (!status.ok()) return status;
  }
  std::stable_sort(
      arrays.begin(), arrays.end(),
      [](const TraceArray& a, const TraceArray& b) { return a.name < b.name; });
  for (size_t i = 1; i < arrays.size(); ++i) {
    if (arrays[i].name != arrays[i - 1].name) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected each array once, found ", NameText(arrays[i].name),
        " in ", arrays[i - 1].file, " and in ", arrays[i].file));
  }
  return arrays;
}

}  // namespace ulpscope
