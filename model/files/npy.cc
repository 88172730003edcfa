#include "model/files/npy.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxDimensions = 64;  // numpy's limit

absl::Status Expected(absl::string_view expected, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", found));
}

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// Reads the header, a literal of a Python dictionary.
class HeaderParser {
 public:
  explicit HeaderParser(absl::string_view text) : rest_(text) {}

  absl::StatusOr<Header> Parse() {
    Header header;
    if (!Consume("{")) return Bad("{");
    while (!Consume("}")) {
      const std::optional<std::string> key = ConsumeString();
      if (!key || !Consume(":")) return Bad("a key and ':'");
      const absl::Status status = ParseValue(*key, &header);
      if (!status.ok()) return status;
      if (Consume(",")) continue;
      if (!Consume("}")) return Bad("',' or '}'");
      break;
    }
    if (!absl::StripAsciiWhitespace(rest_).empty()) return Bad("the end");
    if (!header.descr || !header.fortran_order || !header.shape) {
      return Expected("a numpy header with descr, fortran_order and shape",
                      "fewer keys");
    }
    return header;
  }

 private:
  absl::Status Bad(absl::string_view expected) const {
    return Expected(absl::StrCat(expected, " in the numpy header"),
                    NameText(rest_.substr(0, 40)));
  }

  bool Consume(absl::string_view token) {
    rest_ = absl::StripLeadingAsciiWhitespace(rest_);
    return absl::ConsumePrefix(&rest_, token);
  }

  std::optional<std::string> ConsumeString() {
    rest_ = absl::StripLeadingAsciiWhitespace(rest_);
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) {
      return std::nullopt;
    }
    const size_t end = rest_.find(rest_[0], 1);
    if (end == absl::string_view::npos) return std::nullopt;
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }

  absl::Status ParseValue(absl::string_view key, Header* header) {
    if (key == "descr" && !header->descr) {
      header->descr = ConsumeString();
      if (!header->descr) return Bad("one dtype as descr");
    } else if (key == "fortran_order" && !header->fortran_order) {
      const bool is_true = Consume("True");
      if (!is_true && !Consume("False")) return Bad("True or False");
      header->fortran_order = is_true;
    } else if (key == "shape" && !header->shape) {
      return ParseShape(&header->shape.emplace());
    } else {
      return Expected(
          "the keys descr, fortran_order and shape once in the numpy header",
          NameText(key));
    }
    return absl::OkStatus();
  }

  absl::Status ParseShape(std::vector<int64_t>* shape) {
    if (!Consume("(")) return Bad("( of the shape");
    while (!Consume(")")) {
      rest_ = absl::StripLeadingAsciiWhitespace(rest_);
      size_t digits = 0;
      while (digits < rest_.size() && absl::ascii_isdigit(rest_[digits])) {
        ++digits;
      }
      int64_t n = 0;
      if (!absl::SimpleAtoi(rest_.substr(0, digits), &n) ||
          shape->size() == kMaxDimensions) {
        return Bad("a dimension of the shape");
      }
      rest_.remove_prefix(digits);
      shape->push_back(n);
      if (Consume(",")) continue;
      if (!Consume(")")) return Bad("',' or ')'");
      break;
    }
    return absl::OkStatus();
  }

  absl::string_view rest_;
};

struct NumpyType {
  absl::string_view code;
  absl::string_view dtype;
};

constexpr NumpyType kNumpyTypes[] = {
    {"f8", "F64"}, {"f4", "F32"}, {"f2", "F16"}, {"i8", "I64"}, {"i4", "I32"},
    {"i2", "I16"}, {"i1", "I8"},  {"u4", "U32"}, {"u2", "U16"}, {"u1", "U8"},
};

// The dtype and byte order of '<f4', '|u1', '>i8'.
absl::Status SetType(absl::string_view descr, StoredArray* array) {
  absl::string_view code = descr;
  if (absl::ConsumePrefix(&code, ">")) {
    array->big_endian = true;
  } else if (!absl::ConsumePrefix(&code, "<")) {
    absl::ConsumePrefix(&code, "|");
  }
  for (const NumpyType& type : kNumpyTypes) {
    if (code != type.code) continue;
    array->dtype = std::string(type.dtype);
    return absl::OkStatus();
  }
  return Expected(
      "the dtype f8, f4, f2 or an integer",
      absl::StrCat(NameText(descr),
                   code == "V2" ? " (numpy cannot tell bf16: save it as f4, or "
                                  "in a .safetensors file)"
                                : ""));
}

}  // namespace

absl::StatusOr<StoredArray> ParseNpy(absl::Span<const uint8_t> bytes,
                                     std::shared_ptr<const void> owner) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()),
                               bytes.size());
  if (!absl::StartsWith(text, kMagic) || bytes.size() < 10) {
    return Expected("a numpy array's header",
                    absl::StrCat(bytes.size(), " bytes that begin with ",
                                 NameText(text.substr(0, 8))));
  }
  const int major = bytes[6];
  if (major < 1 || major > 3) {
    return Expected("numpy's format 1.0, 2.0 or 3.0",
                    absl::StrCat(major, ".", int{bytes[7]}));
  }
  const size_t length_size = major == 1 ? 2 : 4;
  const size_t begin = 8 + length_size;
  size_t length = 0;
  for (size_t i = std::min(begin, bytes.size()); i > 8; --i) {
    length = length << 8 | bytes[i - 1];
  }
  if (bytes.size() < begin || length > bytes.size() - begin ||
      length > kMaxNpyHeader) {
    return Expected(absl::StrCat("a numpy header of at most ",
                                 bytes.size() < begin
                                     ? 0
                                     : std::min<uint64_t>(bytes.size() - begin,
                                                          kMaxNpyHeader),
                                 " bytes"),
                    absl::StrCat("a header length of ", length));
  }
  absl::StatusOr<Header> header =
      HeaderParser(text.substr(begin, length)).Parse();
  if (!header.ok()) return header.status();

  StoredArray array;
  const absl::Status status = SetType(*header->descr, &array);
  if (!status.ok()) return status;
  array.shape = *std::move(header->shape);
  array.bytes = bytes.subspan(begin + length);
  array.owner = std::move(owner);
  uint64_t size = ElementSize(array.dtype);
  bool fits = true;
  for (const int64_t n : array.shape) {
    fits =
        fits && !__builtin_mul_overflow(size, static_cast<uint64_t>(n), &size);
  }
  if (!fits || size != array.bytes.size()) {
    return Expected(
        absl::StrCat(fits ? absl::StrCat(size) : "far too many", " bytes for ",
                     array.dtype, " ", ShapeText(array.shape)),
        absl::StrCat(array.bytes.size()));
  }
  // Of one dimension, both orders are the same.
  const auto is_one = [](int64_t n) { return n == 1; };
  if (*header->fortran_order &&
      std::count_if(array.shape.begin(), array.shape.end(), is_one) + 1 <
          static_cast<std::ptrdiff_t>(array.shape.size())) {
    return Expected("C order (numpy.ascontiguousarray makes it)",
                    absl::StrCat("Fortran order, ", ShapeText(array.shape)));
  }
  return array;
}

}  // namespace ulpscope
