#include "model/files/zip_file.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"
#include "tests/model/files/trace_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::map<std::string, std::string> kFiles = {
    {"a.txt", "some text"}, {"b", ""}, {"c.txt", std::string(300, 'c')}};

// Offsets in the directory's entry of a file.
constexpr size_t kFlags = 8;
constexpr size_t kMethod = 10;
constexpr size_t kPackedSize = 20;
constexpr size_t kSize = 24;
constexpr size_t kHeader = 42;

absl::StatusOr<ZipFile> Open(const std::string& bytes) {
  return ZipFile::Open(WriteTestFile("a.zip", bytes));
}

absl::StatusOr<std::string> Read(const ZipFile& zip, size_t index,
                                 uint64_t max_size = 1 << 20) {
  const auto read = zip.Read(zip.members()[index], max_size);
  if (!read.ok()) return read.status();
  return std::string(read->bytes.begin(), read->bytes.end());
}

// The first member of the archive, after `bytes` at `offset` of its entry.
absl::StatusOr<std::string> ReadPatched(size_t offset,
                                        const std::string& bytes) {
  std::string zip = NpzBytes(kFiles);
  zip.replace(zip.find("PK\x01\x02") + offset, bytes.size(), bytes);
  const auto opened = Open(zip);
  if (!opened.ok()) return opened.status();
  return Read(*opened, 0);
}

TEST(ZipFileTest, ReadsStoredMembers) {
  for (const bool zip64 : {false, true}) {
    const auto zip = Open(NpzBytes(kFiles, zip64));
    ASSERT_THAT(zip, IsOk());
    ASSERT_EQ(zip->members().size(), 3u);
    size_t i = 0;
    for (const auto& [name, bytes] : kFiles) {
      EXPECT_EQ(zip->members()[i].name, name);
      const auto read = Read(*zip, i++);
      ASSERT_THAT(read, IsOk());
      EXPECT_EQ(*read, bytes);
    }
  }
}

TEST(ZipFileTest, ReadsWhatPythonDeflates) {
  const auto stored = ZipFile::Open(TestDataPath("trace/stored.npz"));
  const auto deflated = ZipFile::Open(TestDataPath("trace/deflated.npz"));
  ASSERT_THAT(stored, IsOk());
  ASSERT_THAT(deflated, IsOk());
  ASSERT_EQ(deflated->members().size(), stored->members().size());
  for (size_t i = 0; i < stored->members().size(); ++i) {
    EXPECT_EQ(deflated->members()[i].method, 8);
    EXPECT_LT(deflated->members()[i].packed_size, stored->members()[i].size);
    const auto read = Read(*deflated, i);
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(*read, *Read(*stored, i));
  }
}

TEST(ZipFileTest, FindsTheDirectoryBeforeAComment) {
  const std::string zip = NpzBytes(kFiles);
  const std::string commented = absl::StrCat(
      zip.substr(0, zip.size() - 2), std::string("\x09\x00", 2), "a comment");
  const auto opened = Open(commented);
  ASSERT_THAT(opened, IsOk());
  EXPECT_EQ(opened->members().size(), 3u);
  EXPECT_THAT(Open(commented + "x"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a.zip: expected a zip archive, found no end "
                                 "of its directory")));
}

TEST(ZipFileTest, ChecksTheBytes) {
  std::string zip = NpzBytes(kFiles);
  zip[zip.find("some text")] ^= 1;
  const auto opened = Open(zip);
  ASSERT_THAT(opened, IsOk());
  EXPECT_THAT(Read(*opened, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("expected CRC-32 "),
                             HasSubstr("the data is damaged"))));
  EXPECT_THAT(Read(*opened, 2), IsOk());
}

TEST(ZipFileTest, UnpacksNoMoreThanIsAskedFor) {
  const auto deflated = ZipFile::Open(TestDataPath("trace/deflated.npz"));
  ASSERT_THAT(deflated, IsOk());
  const uint64_t size = deflated->members()[0].size;
  EXPECT_THAT(Read(*deflated, 0, size), IsOk());
  EXPECT_THAT(Read(*deflated, 0, size - 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat("expected at most ", size - 1,
                                    " unpacked bytes, found ", size)));
}

// A size that deflate cannot reach takes no memory.
TEST(ZipFileTest, RefusesImpossibleSizes) {
  EXPECT_THAT(ReadPatched(kMethod, std::string("\x08\x00", 2)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("expected 9 unpacked bytes, found "))));
  EXPECT_THAT(ReadPatched(kSize, Encode32(10)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected what 9 bytes are, found 10 bytes"));
  std::string bytes = NpzBytes(kFiles);
  const size_t entry = bytes.find("PK\x01\x02");
  bytes[entry + kMethod] = 8;
  bytes.replace(entry + kSize, 4, Encode32(10 * 1032));
  const auto zip = Open(bytes);
  ASSERT_THAT(zip, IsOk());
  EXPECT_THAT(Read(*zip, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected what 9 bytes can be unpacked to, found 10320 "
                       "bytes"));
}

TEST(ZipFileTest, RefusesWhatItCannotUnpack) {
  EXPECT_THAT(ReadPatched(kFlags, std::string("\x01\x00", 2)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected a zip member that is stored or deflated, "
                       "found an encrypted one"));
  EXPECT_THAT(ReadPatched(kMethod, std::string("\x0E\x00", 2)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected a zip member that is stored or deflated, "
                       "found method 14"));
}

TEST(ZipFileTest, RefusesOffsetsBeyondTheFile) {
  EXPECT_THAT(ReadPatched(kHeader, Encode32(1 << 20)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected a header of the zip member at 1048576, found "
                       "none"));
  EXPECT_THAT(ReadPatched(kHeader, Encode32(1)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected a header of the zip member at 1, found none"));
  EXPECT_THAT(ReadPatched(kPackedSize, Encode32(1 << 16) + Encode32(1 << 16)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected 65536 packed bytes, found ")));
}

TEST(ZipFileTest, RefusesADamagedDirectory) {
  const std::string zip = NpzBytes(kFiles);
  const size_t end = zip.rfind("PK\x05\x06");
  const struct {
    size_t offset;
    std::string bytes;
    const char* message;
  } kCases[] = {
      {end + 4, "\x01", "expected a zip archive in one file"},
      {end + 8, "\x02", "expected a zip archive in one file"},
      {end + 12, Encode32(1 << 20), "expected a zip directory within "},
      {end + 16, Encode32(1 << 20), "expected a zip directory within "},
      {end + 12, Encode32(60), "expected entry 1 of 3 in the zip directory"},
      {end + 16, Encode32(0), "expected entry 0 of 3 in the zip directory"},
      {end + 16, Encode32(0xFFFFFFFF),
       "expected the end of a zip64 archive's directory"},
      {zip.find("PK\x01\x02") + 30, "\xFF\xFF",
       "expected entry 0 within the zip directory"},
      {zip.find("PK\x01\x02") + kSize, Encode32(0xFFFFFFFF),
       "expected zip64 sizes of \"a.txt\""},
  };
  for (const auto& c : kCases) {
    std::string damaged = zip;
    damaged.replace(c.offset, c.bytes.size(), c.bytes);
    EXPECT_THAT(Open(damaged),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("a.zip: "), HasSubstr(c.message))));
  }
}

}  // namespace
}  // namespace ulpscope
