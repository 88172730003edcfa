// A .npz file, a zip archive of arrays.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "libdeflate.h"
#include "model/files/zip_file.h"
#include "model/trace/trace_files.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_array.h"

namespace ulpscope {
namespace {

constexpr uint64_t kMost = 1 << 20;

void Open(const std::string& path) {
  const auto zip = ZipFile::Open(path);
  if (zip.ok()) {
    for (const ZipMember& member : zip->members()) {
      const auto bytes = zip->Read(member, kMost);
      if (!bytes.ok()) {
        RequireNames(bytes.status(), "expected");
        continue;
      }
      Require(bytes->bytes.size() == member.size, "a member has another size");
      ReadBytes(bytes->bytes.data(), bytes->bytes.size());
    }
  }
  const auto arrays = OpenTraceFiles(path);
  if (!arrays.ok()) return RequireNames(arrays.status(), path);
  for (const TraceArray& array : *arrays) UseArray(array.read(kMost));
}

template <typename T>
std::string Bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// One block that is not compressed (RFC 1951, 3.2.4), of at most 64 KiB.
std::string Deflated(const std::string& text) {
  const auto size = static_cast<uint16_t>(text.size());
  return absl::StrCat("\x01", Bytes(size), Bytes<uint16_t>(~size),
                      text.substr(0, size));
}

struct Member {
  std::string name, text;
  bool deflated = false;
};

// An archive of these, whose sizes and checksums are right.
std::string ZipOf(const std::vector<Member>& members) {
  std::string file, directory;
  for (const Member& member : members) {
    const std::string packed =
        member.deflated ? Deflated(member.text) : member.text;
    // From the version that is needed to the length of the extra field.
    const std::string both = absl::StrCat(
        Bytes<uint16_t>(20), Bytes<uint16_t>(0),
        Bytes<uint16_t>(member.deflated ? 8 : 0), Bytes<uint32_t>(0),
        Bytes<uint32_t>(
            libdeflate_crc32(0, member.text.data(), member.text.size())),
        Bytes<uint32_t>(static_cast<uint32_t>(packed.size())),
        Bytes<uint32_t>(static_cast<uint32_t>(member.text.size())),
        Bytes<uint16_t>(static_cast<uint16_t>(member.name.size())),
        Bytes<uint16_t>(0));
    absl::StrAppend(&directory, "PK\x01\x02", Bytes<uint16_t>(20), both,
                    std::string(10, '\0'),
                    Bytes<uint32_t>(static_cast<uint32_t>(file.size())),
                    member.name);
    absl::StrAppend(&file, "PK\x03\x04", both, member.name, packed);
  }
  const auto count = static_cast<uint16_t>(members.size());
  return absl::StrCat(
      file, directory, "PK\x05\x06", Bytes<uint32_t>(0), Bytes(count),
      Bytes(count), Bytes<uint32_t>(static_cast<uint32_t>(directory.size())),
      Bytes<uint32_t>(static_cast<uint32_t>(file.size())), Bytes<uint16_t>(0));
}

// The members of an archive that can be read.
std::vector<Member> MembersOf(absl::string_view file) {
  static auto& input = *new InputFile("before.npz");
  std::vector<Member> members;
  const auto zip = ZipFile::Open(input.With(file));
  if (!zip.ok()) return members;
  for (const ZipMember& member : zip->members()) {
    const auto bytes = zip->Read(member, kMost);
    if (!bytes.ok()) continue;
    members.push_back({member.name.substr(0, 64),
                       std::string(bytes->bytes.begin(), bytes->bytes.end()),
                       member.method != 0});
  }
  return members;
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("a.npz");
  Open(file.With(input));
}

// Half of the time the member's bytes change, and all else fits them.
std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  if (input.empty() || choice.Below(2) == 0) return std::nullopt;
  std::vector<Member> members = MembersOf(input);
  if (members.empty()) return std::nullopt;
  Member& member = members[choice.Below(members.size())];
  switch (choice.Below(8)) {
    case 0:
      member.deflated = !member.deflated;
      break;
    case 1:
      Mutate(member.name, 8);
      break;
    case 2:
      members.push_back(Member(member));
      break;
    default:
      Mutate(member.text);
  }
  return ZipOf(members);
}

}  // namespace ulpscope
