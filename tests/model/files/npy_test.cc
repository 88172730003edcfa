#include "model/files/npy.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/stored_array.h"
#include "tests/model/files/trace_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<StoredArray> Parse(const std::string& bytes) {
  // Of exactly their size, so that a sanitizer sees a read beyond.
  const auto copy =
      std::make_shared<std::vector<uint8_t>>(bytes.begin(), bytes.end());
  return ParseNpy(*copy, copy);
}

std::vector<double> Values(const StoredArray& array) {
  std::vector<double> values(array.bytes.size() / ElementSize(array.dtype));
  Widen(array, 0, absl::MakeSpan(values));
  return values;
}

// A file of format 1.0 with this header and 24 bytes of data.
std::string WithHeader(absl::string_view header) {
  return absl::StrCat(absl::string_view("\x93NUMPY\x01\x00", 8),
                      std::string(1, static_cast<char>(header.size())),
                      std::string(1, '\0'), header, std::string(24, '\0'));
}

TEST(NpyTest, ReadsFloatsOfEitherByteOrder) {
  const std::string f8 = F64Bytes({1.5, -0.1});
  const std::string f4 = F32Bytes({1.5f, -0.1f});
  const std::string f2 = Bytes16({0x3E00, 0xAE66});
  const struct {
    const char* descr;
    std::string bytes;
    const char* dtype;
    double second;
  } kCases[] = {
      {"<f8", f8, "F64", -0.1},
      {">f8", Swapped(f8, 8), "F64", -0.1},
      {"<f4", f4, "F32", -0.1f},
      {">f4", Swapped(f4, 4), "F32", -0.1f},
      {"<f2", f2, "F16", -0.0999755859375},
      {">f2", Swapped(f2, 2), "F16", -0.0999755859375},
  };
  for (const auto& c : kCases) {
    const auto array = Parse(NpyBytes(c.descr, {1, 2}, c.bytes));
    ASSERT_THAT(array, IsOk());
    EXPECT_EQ(array->dtype, c.dtype);
    EXPECT_THAT(array->shape, ElementsAre(1, 2));
    EXPECT_TRUE(IsFloat(array->dtype));
    EXPECT_FALSE(IsInteger(array->dtype));
    EXPECT_THAT(Values(*array), ElementsAre(1.5, c.second)) << c.descr;
  }
}

TEST(NpyTest, ReadsIntegers) {
  const struct {
    const char* descr;
    std::string bytes;
    int64_t value;
  } kCases[] = {
      {"<i8", I64Bytes({-2}), -2},
      {">i8", Swapped(I64Bytes({-2}), 8), -2},
      {"<i4", I64Bytes({-2}).substr(0, 4), -2},
      {">i4", std::string("\x00\x00\x01\x02", 4), 258},
      {"<i2", "\xFE\xFF", -2},
      {"|i1", "\xFE", -2},
      {"|u1", "\xFE", 254},
      {"<u2", "\xFE\xFF", 65534},
      {">u2", "\xFF\xFE", 65534},
      {"<u4", "\xFE\xFF\xFF\xFF", 4294967294},
  };
  for (const auto& c : kCases) {
    const auto array = Parse(NpyBytes(c.descr, {1}, c.bytes));
    ASSERT_THAT(array, IsOk());
    EXPECT_TRUE(IsInteger(array->dtype));
    EXPECT_FALSE(IsFloat(array->dtype));
    EXPECT_EQ(IntegerAt(*array, 0), c.value) << c.descr;
  }
}

TEST(NpyTest, ReadsFormats1To3) {
  std::string bytes = NpyBytes("<f4", {6}, std::string(24, '\0'));
  ASSERT_THAT(Parse(bytes), IsOk());
  for (const char major : {2, 3}) {
    std::string other = bytes;
    other[6] = major;
    other.insert(10, 2, '\0');  // the length takes four bytes
    const auto array = Parse(other);
    ASSERT_THAT(array, IsOk());
    EXPECT_EQ(array->bytes.size(), 24u);
  }
  bytes[6] = 4;
  EXPECT_THAT(Parse(bytes),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected numpy's format 1.0, 2.0 or 3.0, found 4.0"));
}

TEST(NpyTest, ReadsAnyHeaderThatPythonCanWrite) {
  const auto array = Parse(WithHeader(
      "{\"shape\" : ( 3,2 ) , \"fortran_order\":False,\"descr\":\"<f4\"}  "));
  ASSERT_THAT(array, IsOk());
  EXPECT_THAT(array->shape, ElementsAre(3, 2));
  const auto scalar = Parse(NpyBytes("<f8", {}, F64Bytes({7})));
  ASSERT_THAT(scalar, IsOk());
  EXPECT_THAT(scalar->shape, IsEmpty());
  EXPECT_THAT(Values(*scalar), ElementsAre(7));
}

// Of one dimension that counts, both orders are the same.
TEST(NpyTest, RefusesFortranOrderWhereItMatters) {
  const auto fortran = [](const char* shape) {
    return WithHeader(absl::StrCat(
        "{'descr': '<f4', 'fortran_order': True, 'shape': ", shape, ", }"));
  };
  EXPECT_THAT(Parse(fortran("(6,)")), IsOk());
  EXPECT_THAT(Parse(fortran("(1, 6, 1)")), IsOk());
  EXPECT_THAT(Parse(fortran("(2, 3)")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "expected C order (numpy.ascontiguousarray makes it), "
                       "found Fortran order, [2, 3]"));
}

TEST(NpyTest, RefusesOtherDtypes) {
  for (const char* descr : {"<c8", "|O", "<U6", "|S4", "<f16", "<M8[s]", "?",
                            "", "<", "<u8", "f", "<f4x"}) {
    EXPECT_THAT(Parse(NpyBytes(descr, {6}, std::string(24, '\0'))),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(absl::StrCat(
                             "expected the dtype f8, f4, f2 or an integer, "
                             "found \"",
                             descr, "\""))))
        << descr;
  }
  EXPECT_THAT(Parse(NpyBytes("<V2", {12}, std::string(24, '\0'))),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("numpy cannot tell bf16")));
}

TEST(NpyTest, DataMustFitTheShape) {
  for (const size_t size : {23, 25}) {
    EXPECT_THAT(
        Parse(NpyBytes("<f4", {3, 2}, std::string(size, '\0'))),
        StatusIs(
            absl::StatusCode::kInvalidArgument,
            absl::StrCat("expected 24 bytes for F32 [3, 2], found ", size)));
  }
  const int64_t huge = int64_t{1} << 40;
  EXPECT_THAT(Parse(NpyBytes("<f4", {huge, huge}, std::string(24, '\0'))),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected far too many bytes for F32 ")));
}

TEST(NpyTest, RefusesOtherHeaders) {
  const std::string good =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
  ASSERT_THAT(Parse(WithHeader(good)), IsOk());
  const struct {
    const char* from;
    const char* to;
    const char* message;
  } kCases[] = {
      {"{'descr'", "'descr'", "expected { in the numpy header"},
      {"'descr':", "'descr'", "expected a key and ':' in the numpy header"},
      {"'descr'", "'descr", "expected a key and ':' in the numpy header"},
      {"'descr'", "'desc'", "once in the numpy header, found \"desc\""},
      {"'shape'", "'descr'", "once in the numpy header, found \"descr\""},
      {"'<f4'", "[('x', '<f4')]", "expected one dtype as descr"},
      {"False", "Maybe", "expected True or False"},
      {"(3, 2)", "[3, 2]", "expected ( of the shape"},
      {"(3, 2)", "(3 2)", "expected ',' or ')'"},
      {"(3, 2)", "(-3, 2)", "expected a dimension of the shape"},
      {"(3, 2)", "(99999999999999999999,)",
       "expected a dimension of the shape"},
      {", }", "", "expected ',' or '}'"},
      {", }", "} x", "expected the end"},
      {", 'shape': (3, 2)", "", "fewer keys"},
  };
  for (const auto& c : kCases) {
    const std::string header = absl::StrReplaceAll(good, {{c.from, c.to}});
    EXPECT_THAT(
        Parse(WithHeader(header)),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << header;
  }
  std::string many = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < 65; ++i) many += "1,";
  EXPECT_THAT(Parse(WithHeader(many + "6)}")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected a dimension of the shape")));
}

TEST(NpyTest, RefusesWhatIsNoNumpyFile) {
  EXPECT_THAT(Parse("PK\x03\x04 and more"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected a numpy array's header, found")));
  std::string long_header = NpyBytes("<f4", {6}, std::string(24, '\0'));
  long_header[9] = 100;
  EXPECT_THAT(Parse(long_header),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("found a header length of ")));
}

}  // namespace
}  // namespace ulpscope
