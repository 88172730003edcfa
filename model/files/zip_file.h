#ifndef MODEL_FILES_ZIP_FILE_H_
#define MODEL_FILES_ZIP_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/mapped_file.h"

namespace ulpscope {

// What a zip archive's directory says of a file in it.
struct ZipMember {
  std::string name;
  uint16_t flags = 0;
  uint16_t method = 0;
  uint32_t crc = 0;
  uint64_t packed_size = 0;
  uint64_t size = 0;
  uint64_t header = 0;  // where its own header is
};

// A zip archive (PKWARE's APPNOTE 6.3.10, with zip64) that is read without
// unpacking it to disk: .npz files, whose members are stored or deflated.
class ZipFile {
 public:
  // Reads the directory. Errors name the file: no archive, or damaged.
  static absl::StatusOr<ZipFile> Open(absl::string_view path);

  const std::vector<ZipMember>& members() const { return members_; }

  struct Bytes {
    absl::Span<const uint8_t> bytes;
    std::shared_ptr<const void> owner;
  };
  // A member's bytes, checked against its CRC-32. Those of a stored one are the
  // mapping's; for others, before memory is taken, it is an error if there are
  // more than `max_size` or than deflate can have packed into so few. Errors
  // say what was expected and found, without names.
  absl::StatusOr<Bytes> Read(const ZipMember& member, uint64_t max_size) const;

 private:
  // Where the directory is.
  struct Directory {
    uint64_t begin = 0;
    uint64_t size = 0;
    uint64_t members = 0;
  };

  explicit ZipFile(std::shared_ptr<const MappedFile> file);

  uint64_t Load(uint64_t at, size_t size) const;
  absl::Status Error(absl::string_view expected, absl::string_view found) const;
  absl::StatusOr<Directory> FindDirectory() const;
  absl::StatusOr<Directory> FindZip64Directory(uint64_t end) const;
  absl::Status ReadDirectory(const Directory& directory);
  absl::Status ReadZip64Sizes(uint64_t begin, uint64_t end,
                              ZipMember* member) const;

  std::shared_ptr<const MappedFile> file_;
  absl::Span<const uint8_t> bytes_;
  std::vector<ZipMember> members_;
};

}  // namespace ulpscope

#endif  // MODEL_FILES_ZIP_FILE_H_
