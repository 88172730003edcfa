#include "model/files/zip_file.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "libdeflate.h"
#include "model/files/mapped_file.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

// Signatures, sizes of what follows them at least, and offsets (APPNOTE 4.3).
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint64_t kEndSize = 22;
constexpr uint64_t kMaxComment = 65535;
constexpr uint32_t kZip64Locator = 0x07064b50;
constexpr uint64_t kZip64LocatorSize = 20;
constexpr uint32_t kZip64End = 0x06064b50;
constexpr uint64_t kZip64EndSize = 56;
constexpr uint32_t kEntry = 0x02014b50;
constexpr uint64_t kEntrySize = 46;
constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint64_t kLocalHeaderSize = 30;

constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kInZip64 = 0xFFFFFFFF;
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
// Deflate makes at most 258 bytes of two bits (RFC 1951).
constexpr uint64_t kMaxRatio = 1032;

absl::Status Expected(absl::string_view expected, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", found));
}

absl::Status Inflate(absl::Span<const uint8_t> packed, uint8_t* out,
                     size_t size) {
  const std::unique_ptr<libdeflate_decompressor,
                        decltype(&libdeflate_free_decompressor)>
      decompressor(libdeflate_alloc_decompressor(),
                   &libdeflate_free_decompressor);
  if (decompressor == nullptr) {
    return absl::ResourceExhaustedError("no memory to unpack");
  }
  const libdeflate_result result = libdeflate_deflate_decompress(
      decompressor.get(), packed.data(), packed.size(), out, size, nullptr);
  if (result == LIBDEFLATE_SUCCESS) return absl::OkStatus();
  return Expected(absl::StrCat(size, " unpacked bytes"),
                  result == LIBDEFLATE_SHORT_OUTPUT         ? "fewer"
                  : result == LIBDEFLATE_INSUFFICIENT_SPACE ? "more"
                                                            : "damaged data");
}

}  // namespace

ZipFile::ZipFile(std::shared_ptr<const MappedFile> file)
    : file_(std::move(file)), bytes_(file_->bytes()) {}

// A little-endian number; the caller has checked that it is in the file.
uint64_t ZipFile::Load(uint64_t at, size_t size) const {
  uint64_t value = 0;
  for (size_t i = size; i > 0; --i) value = value << 8 | bytes_[at + i - 1];
  return value;
}

absl::Status ZipFile::Error(absl::string_view expected,
                            absl::string_view found) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_->path(), ": expected ", expected, ", found ", found));
}

absl::StatusOr<ZipFile> ZipFile::Open(absl::string_view path) {
  absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  ZipFile zip(*std::move(file));
  const absl::StatusOr<Directory> directory = zip.FindDirectory();
  if (!directory.ok()) return directory.status();
  const absl::Status status = zip.ReadDirectory(*directory);
  if (!status.ok()) return status;
  return zip;
}

absl::StatusOr<ZipFile::Directory> ZipFile::FindDirectory() const {
  // The end record is the last thing but for a comment, whose length it has.
  uint64_t comment = 0;
  for (; comment <= kMaxComment && kEndSize + comment <= bytes_.size();
       ++comment) {
    const uint64_t at = bytes_.size() - kEndSize - comment;
    if (Load(at, 4) != kEnd || Load(at + 20, 2) != comment) continue;
    if (Load(at + 8, 2) != Load(at + 10, 2) || Load(at + 4, 2) != 0 ||
        Load(at + 6, 2) != 0) {
      return Error("a zip archive in one file", "a part of one");
    }
    Directory directory;
    directory.members = Load(at + 10, 2);
    directory.size = Load(at + 12, 4);
    directory.begin = Load(at + 16, 4);
    if (directory.members == 0xFFFF || directory.size == kInZip64 ||
        directory.begin == kInZip64) {
      return FindZip64Directory(at);
    }
    return directory;
  }
  return Error("a zip archive", "no end of its directory");
}

absl::StatusOr<ZipFile::Directory> ZipFile::FindZip64Directory(
    uint64_t end) const {
  if (end >= kZip64LocatorSize + kZip64EndSize &&
      Load(end - kZip64LocatorSize, 4) == kZip64Locator) {
    const uint64_t at = Load(end - kZip64LocatorSize + 8, 8);
    if (at <= end - kZip64LocatorSize - kZip64EndSize &&
        Load(at, 4) == kZip64End) {
      return Directory{Load(at + 48, 8), Load(at + 40, 8), Load(at + 32, 8)};
    }
  }
  return Error("the end of a zip64 archive's directory", "none");
}

absl::Status ZipFile::ReadDirectory(const Directory& directory) {
  if (directory.begin > bytes_.size() ||
      directory.size > bytes_.size() - directory.begin) {
    return Error(
        absl::StrCat("a zip directory within ", bytes_.size(), " bytes"),
        absl::StrCat(directory.size, " bytes at ", directory.begin));
  }
  uint64_t at = directory.begin;
  const uint64_t end = directory.begin + directory.size;
  for (uint64_t i = 0; i < directory.members; ++i) {
    if (end - at < kEntrySize || Load(at, 4) != kEntry) {
      return Error(absl::StrCat("entry ", i, " of ", directory.members,
                                " in the zip directory"),
                   absl::StrCat(end - at, " bytes that are none"));
    }
    const uint64_t name_size = Load(at + 28, 2);
    const uint64_t extra_size = Load(at + 30, 2);
    const uint64_t size =
        kEntrySize + name_size + extra_size + Load(at + 32, 2);
    if (size > end - at) {
      return Error(absl::StrCat("entry ", i, " within the zip directory"),
                   absl::StrCat(size, " bytes, more than are left"));
    }
    ZipMember member;
    member.name = std::string(file_->text().substr(at + kEntrySize, name_size));
    member.flags = static_cast<uint16_t>(Load(at + 8, 2));
    member.method = static_cast<uint16_t>(Load(at + 10, 2));
    member.crc = static_cast<uint32_t>(Load(at + 16, 4));
    member.packed_size = Load(at + 20, 4);
    member.size = Load(at + 24, 4);
    member.header = Load(at + 42, 4);
    const uint64_t extra = at + kEntrySize + name_size;
    const absl::Status status =
        ReadZip64Sizes(extra, extra + extra_size, &member);
    if (!status.ok()) return status;
    members_.push_back(std::move(member));
    at += size;
  }
  return absl::OkStatus();
}

// Sizes that do not fit 32 bits are in an extra field, in this order.
absl::Status ZipFile::ReadZip64Sizes(uint64_t begin, uint64_t end,
                                     ZipMember* member) const {
  uint64_t* const wanted[] = {&member->size, &member->packed_size,
                              &member->header};
  for (uint64_t at = begin; end - at >= 4;) {
    const uint64_t id = Load(at, 2);
    const uint64_t size = Load(at + 2, 2);
    at += 4;
    if (size > end - at) break;
    const uint64_t next = at + size;
    for (uint64_t* const field : wanted) {
      if (id != kZip64Extra || *field != kInZip64 || next - at < 8) continue;
      *field = Load(at, 8);
      at += 8;
    }
    at = next;
  }
  for (const uint64_t* const field : wanted) {
    if (*field == kInZip64) {
      return Error(absl::StrCat("zip64 sizes of ", NameText(member->name)),
                   "none");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ZipFile::Bytes> ZipFile::Read(const ZipMember& member,
                                             uint64_t max_size) const {
  if ((member.flags & kEncrypted) != 0 ||
      (member.method != kStored && member.method != kDeflated)) {
    return Expected("a zip member that is stored or deflated",
                    (member.flags & kEncrypted) != 0
                        ? "an encrypted one"
                        : absl::StrCat("method ", member.method));
  }
  const bool is_stored = member.method == kStored;
  if (!is_stored && member.size > max_size) {
    return Expected(absl::StrCat("at most ", max_size, " unpacked bytes"),
                    absl::StrCat(member.size));
  }
  if (is_stored ? member.size != member.packed_size
                : member.size / kMaxRatio > member.packed_size) {
    return Expected(absl::StrCat("what ", member.packed_size, " bytes ",
                                 is_stored ? "are" : "can be unpacked to"),
                    absl::StrCat(member.size, " bytes"));
  }
  const uint64_t file_size = bytes_.size();
  if (member.header > file_size ||
      file_size - member.header < kLocalHeaderSize ||
      Load(member.header, 4) != kLocalHeader) {
    return Expected(
        absl::StrCat("a header of the zip member at ", member.header), "none");
  }
  const uint64_t names =
      Load(member.header + 26, 2) + Load(member.header + 28, 2);
  const uint64_t left = file_size - member.header - kLocalHeaderSize;
  if (names > left || member.packed_size > left - names) {
    return Expected(absl::StrCat(member.packed_size, " packed bytes"),
                    absl::StrCat(names > left ? 0 : left - names,
                                 " bytes up to the end of the file"));
  }
  const absl::Span<const uint8_t> packed = bytes_.subspan(
      member.header + kLocalHeaderSize + names, member.packed_size);
  Bytes unpacked{packed, file_->Hold(packed)};
  if (!is_stored) {
    const std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(member.size);
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", member.size, " bytes"));
    }
    const absl::Status status = Inflate(packed, buffer.get(), member.size);
    if (!status.ok()) return status;
    unpacked = {absl::MakeConstSpan(buffer.get(), member.size), buffer};
  }
  const uint32_t crc = libdeflate_crc32(0, unpacked.bytes.data(), member.size);
  if (crc != member.crc) {
    return Expected(absl::StrCat("CRC-32 ", absl::Hex(member.crc)),
                    absl::StrCat(absl::Hex(crc), ": the data is damaged"));
  }
  return unpacked;
}

}  // namespace ulpscope
