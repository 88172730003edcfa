#include "model/files/gguf_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "model/files/tensor.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "GGUF is read in place: only little-endian machines."
#endif

namespace ulpscope {
namespace {

constexpr uint64_t kMaxKeySize = 65535;  // these two: the specification
constexpr uint64_t kMaxTensorNameSize = 64;
constexpr uint32_t kMaxDimensions = 4;
// Far above any model's; they bound the memory that a file can make us take.
constexpr uint64_t kMaxTensors = 1 << 17;
constexpr uint64_t kMaxValues = 1 << 17;

// Reads forward through the file and never past its end.
class Cursor {
 public:
  Cursor(absl::Span<const uint8_t> bytes, absl::string_view file)
      : bytes_(bytes), file_(file) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  // What has been read from there on.
  absl::Span<const uint8_t> Since(uint64_t begin) const {
    return bytes_.subspan(begin, position_ - begin);
  }

  // `what` is what is being read, for the message.
  template <class T>
  absl::Status Read(absl::string_view what, T& value) {
    if (remaining() < sizeof(T)) return Truncated(what, sizeof(T));
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return absl::OkStatus();
  }

  absl::Status ReadCount(absl::string_view what, uint64_t limit,
                         uint64_t& count) {
    const absl::Status status = Read(what, count);
    if (!status.ok() || count <= limit) return status;
    return Error(what, absl::StrCat("at most ", limit), absl::StrCat(count));
  }

  absl::Status ReadString(absl::string_view what, absl::string_view& value) {
    uint64_t size = 0;
    const absl::Status status = Read(what, size);
    if (!status.ok()) return status;
    if (remaining() < size) return Truncated(what, size);
    value = {reinterpret_cast<const char*>(bytes_.data()) + position_, size};
    position_ += size;
    return absl::OkStatus();
  }

  absl::Status Skip(absl::string_view what, uint64_t count, uint64_t size) {
    if (count > remaining() / size) {
      return Error(what,
                   absl::StrCat("at most ", remaining() / size, " elements of ",
                                size, " bytes in the rest of the file"),
                   absl::StrCat(count));
    }
    position_ += count * size;
    return absl::OkStatus();
  }

  absl::Status Error(absl::string_view what, absl::string_view expected,
                     absl::string_view found) const {
    return absl::InvalidArgumentError(absl::StrCat(
        file_, ": ", what, ": expected ", expected, ", found ", found));
  }

 private:
  absl::Status Truncated(absl::string_view what, uint64_t size) const {
    return Error(what, absl::StrCat(size, " bytes at ", position_),
                 absl::StrCat(remaining(), " (truncated)"));
  }

  const absl::Span<const uint8_t> bytes_;
  const absl::string_view file_;
  uint64_t position_ = 0;
};

template <class Stored, class Widened>
absl::Status ReadScalar(Cursor& cursor, absl::string_view what,
                        GgufValue& value) {
  Stored stored = 0;
  const absl::Status status = cursor.Read(what, stored);
  value = static_cast<Widened>(stored);
  return status;
}

// Moves behind the elements.
absl::Status SkipElements(Cursor& cursor, absl::string_view what,
                          const GgufArray& array) {
  if (const uint64_t size = GgufValueSize(array.type)) {
    return cursor.Skip(what, array.count, size);
  }
  if (array.type != kGgufString) {
    return cursor.Error(what, "an array of scalars or strings",
                        array.type == kGgufArray
                            ? "an array of arrays"
                            : absl::StrCat("element type ", array.type));
  }
  // Each string takes at least the eight bytes of its length, so the loop ends
  // with the file at the latest.
  for (uint64_t i = 0; i < array.count; ++i) {
    absl::string_view ignored;
    const absl::Status status = cursor.ReadString(what, ignored);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadArray(Cursor& cursor, absl::string_view what,
                       GgufValue& value) {
  GgufArray array;
  absl::Status status = cursor.Read(what, array.type);
  if (status.ok()) status = cursor.Read(what, array.count);
  if (!status.ok()) return status;
  const uint64_t begin = cursor.position();
  status = SkipElements(cursor, what, array);
  if (!status.ok()) return status;
  array.bytes = cursor.Since(begin);
  value = array;
  return absl::OkStatus();
}

absl::Status ReadValue(Cursor& cursor, absl::string_view what,
                       GgufValue& value) {
  uint32_t type = 0;
  const absl::Status status = cursor.Read(what, type);
  if (!status.ok()) return status;
  switch (type) {
    case kGgufUint8:
      return ReadScalar<uint8_t, uint64_t>(cursor, what, value);
    case kGgufInt8:
      return ReadScalar<int8_t, int64_t>(cursor, what, value);
    case kGgufUint16:
      return ReadScalar<uint16_t, uint64_t>(cursor, what, value);
    case kGgufInt16:
      return ReadScalar<int16_t, int64_t>(cursor, what, value);
    case kGgufUint32:
      return ReadScalar<uint32_t, uint64_t>(cursor, what, value);
    case kGgufInt32:
      return ReadScalar<int32_t, int64_t>(cursor, what, value);
    case kGgufFloat32:
      return ReadScalar<float, double>(cursor, what, value);
    case kGgufUint64:
      return ReadScalar<uint64_t, uint64_t>(cursor, what, value);
    case kGgufInt64:
      return ReadScalar<int64_t, int64_t>(cursor, what, value);
    case kGgufFloat64:
      return ReadScalar<double, double>(cursor, what, value);
    case kGgufBool: {
      uint8_t stored = 0;
      const absl::Status read = cursor.Read(what, stored);
      if (!read.ok()) return read;
      if (stored > 1) return cursor.Error(what, "0 or 1", absl::StrCat(stored));
      value = stored == 1;
      return absl::OkStatus();
    }
    case kGgufString: {
      absl::string_view text;
      const absl::Status read = cursor.ReadString(what, text);
      value = text;
      return read;
    }
    case kGgufArray:
      return ReadArray(cursor, what, value);
    default:
      return cursor.Error(what, "a value type of 0 to 12", absl::StrCat(type));
  }
}

absl::Status ReadValues(Cursor& cursor, uint64_t count,
                        std::map<std::string, GgufValue, std::less<>>& values) {
  for (uint64_t i = 0; i < count; ++i) {
    absl::string_view key;
    const std::string place = absl::StrCat("metadata key ", i);
    absl::Status status = cursor.ReadString(place, key);
    if (!status.ok()) return status;
    if (key.empty() || key.size() > kMaxKeySize) {
      return cursor.Error(place, absl::StrCat("1 to ", kMaxKeySize, " bytes"),
                          absl::StrCat(key.size()));
    }
    const std::string what = absl::StrCat("metadata ", NameText(key));
    GgufValue value;
    status = ReadValue(cursor, what, value);
    if (!status.ok()) return status;
    if (!values.emplace(key, value).second) {
      return cursor.Error(what, "each key once", "it twice");
    }
  }
  return absl::OkStatus();
}

// A tensor as listed; its place is known only after the last one.
struct Listed {
  std::string name;
  std::string what;
  uint64_t offset = 0;
  uint64_t size = 0;
  GgufTensor tensor;
};

absl::Status ReadDimensions(Cursor& cursor, Listed& listed) {
  uint32_t dimensions = 0;
  absl::Status status = cursor.Read(listed.what, dimensions);
  if (!status.ok()) return status;
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    return cursor.Error(listed.what,
                        absl::StrCat("1 to ", kMaxDimensions, " dimensions"),
                        absl::StrCat(dimensions));
  }
  uint64_t elements = 1;
  std::vector<int64_t>& shape = listed.tensor.shape;
  for (uint32_t i = 0; i < dimensions; ++i) {
    uint64_t n = 0;
    status = cursor.Read(listed.what, n);
    if (!status.ok()) return status;
    // With fewer than 2^56 elements no size in bytes or bits overflows.
    if (n < 1 || __builtin_mul_overflow(elements, n, &elements) ||
        elements >= uint64_t{1} << 56) {
      return cursor.Error(listed.what, "sizes whose product is 1 to 2^56",
                          absl::StrCat("dimension ", i, " = ", n));
    }
    shape.insert(shape.begin(), static_cast<int64_t>(n));
  }
  uint32_t type = 0;
  status = cursor.Read(listed.what, type);
  if (!status.ok()) return status;
  listed.tensor.type = FindGgmlType(type);
  if (listed.tensor.type == nullptr) {
    return cursor.Error(listed.what, "a known ggml type",
                        absl::StrCat("type ", type));
  }
  const GgmlType& known = *listed.tensor.type;
  if (shape.back() % known.block_elements != 0) {
    return cursor.Error(listed.what,
                        absl::StrCat("rows of a multiple of ",
                                     known.block_elements, " for ", known.name),
                        ShapeText(shape));
  }
  listed.size = elements / static_cast<uint64_t>(known.block_elements) *
                static_cast<uint64_t>(known.block_bytes);
  return cursor.Read(listed.what, listed.offset);
}

absl::StatusOr<std::vector<Listed>> ReadTensorTable(Cursor& cursor,
                                                    uint64_t count) {
  std::vector<Listed> list;
  for (uint64_t i = 0; i < count; ++i) {
    Listed listed;
    absl::string_view name;
    const std::string place = absl::StrCat("name of tensor ", i);
    absl::Status status = cursor.ReadString(place, name);
    if (!status.ok()) return status;
    if (name.empty() || name.size() > kMaxTensorNameSize) {
      return cursor.Error(place,
                          absl::StrCat("1 to ", kMaxTensorNameSize, " bytes"),
                          absl::StrCat(name.size()));
    }
    listed.name = std::string(name);
    listed.what = absl::StrCat("tensor ", NameText(name));
    status = ReadDimensions(cursor, listed);
    if (!status.ok()) return status;
    list.push_back(std::move(listed));
  }
  return list;
}

// Finds each tensor's bytes in `data`; no two may share any.
absl::Status PlaceTensors(const Cursor& cursor, absl::Span<const uint8_t> data,
                          uint64_t alignment, std::vector<Listed>& list) {
  std::sort(list.begin(), list.end(), [](const Listed& a, const Listed& b) {
    return a.offset < b.offset;
  });
  uint64_t end = 0;
  for (Listed& listed : list) {
    if (listed.offset % alignment != 0) {
      return cursor.Error(listed.what,
                          absl::StrCat("an offset aligned to ", alignment),
                          absl::StrCat(listed.offset));
    }
    if (listed.offset > data.size() ||
        listed.size > data.size() - listed.offset) {
      return cursor.Error(listed.what,
                          absl::StrCat(listed.size, " bytes at ", listed.offset,
                                       " of the data"),
                          absl::StrCat(data.size(), " bytes of data"));
    }
    if (listed.offset < end) {
      return cursor.Error(listed.what,
                          absl::StrCat("an offset of at least ", end,
                                       ", where the tensor before it ends"),
                          absl::StrCat(listed.offset));
    }
    end = listed.offset + listed.size;
    listed.tensor.bytes = data.subspan(listed.offset, listed.size);
  }
  return absl::OkStatus();
}

// Checks magic and version.
absl::Status ReadVersion(Cursor& cursor) {
  uint32_t magic = 0;
  uint32_t version = 0;
  absl::Status status = cursor.Read("magic", magic);
  if (!status.ok()) return status;
  if (magic != 0x46554747) {
    return cursor.Error("magic", "\"GGUF\"",
                        absl::StrCat("0x", absl::Hex(magic)));
  }
  status = cursor.Read("version", version);
  if (!status.ok()) return status;
  if (version != 2 && version != 3) {
    const bool swapped = version == 2u << 24 || version == 3u << 24;
    return cursor.Error("version", "2 or 3",
                        swapped ? "a big-endian file" : absl::StrCat(version));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufFile> GgufFile::OpenPart(absl::string_view path) {
  absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  GgufFile gguf(*std::move(file));
  const absl::Span<const uint8_t> bytes = gguf.file().bytes();
  Cursor cursor(bytes, path);
  absl::Status status = ReadVersion(cursor);
  uint64_t tensor_count = 0;
  uint64_t value_count = 0;
  if (status.ok()) {
    status = cursor.ReadCount("tensor count", kMaxTensors, tensor_count);
  }
  if (status.ok()) {
    status = cursor.ReadCount("metadata count", kMaxValues, value_count);
  }
  if (status.ok()) status = ReadValues(cursor, value_count, gguf.values_);
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<Listed>> list =
      ReadTensorTable(cursor, tensor_count);
  if (!list.ok()) return list.status();

  uint64_t alignment = 32;
  if (const GgufValue* value = gguf.FindValue("general.alignment")) {
    const uint64_t* stored = std::get_if<uint64_t>(value);
    if (stored == nullptr || *stored == 0 || (*stored & (*stored - 1)) != 0 ||
        *stored > uint64_t{1} << 32) {
      return cursor.Error(
          "metadata \"general.alignment\"", "a power of two",
          stored == nullptr ? "another type" : absl::StrCat(*stored));
    }
    alignment = *stored;
  }
  const uint64_t data_begin =
      (cursor.position() + alignment - 1) / alignment * alignment;
  const absl::Span<const uint8_t> data = data_begin < bytes.size()
                                             ? bytes.subspan(data_begin)
                                             : absl::Span<const uint8_t>();
  status = PlaceTensors(cursor, data, alignment, *list);
  if (!status.ok()) return status;
  for (Listed& listed : *list) {
    listed.tensor.file = gguf.file_;
    if (!gguf.tensors_.emplace(listed.name, std::move(listed.tensor)).second) {
      return cursor.Error(listed.what, "each name once", "it twice");
    }
  }
  return gguf;
}

absl::StatusOr<uint64_t> GgufFile::Integer(absl::string_view key,
                                           uint64_t missing) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return missing;
  const int64_t* const with_sign = std::get_if<int64_t>(value);
  if (with_sign != nullptr && *with_sign >= 0) {
    return static_cast<uint64_t>(*with_sign);
  }
  if (const uint64_t* stored = std::get_if<uint64_t>(value)) return *stored;
  return absl::InvalidArgumentError(
      absl::StrCat(file_->path(), ": metadata ", NameText(key),
                   ": expected an integer of at least 0, found another value"));
}

absl::StatusOr<GgufFile> GgufFile::Open(absl::string_view path) {
  absl::StatusOr<GgufFile> named = OpenPart(path);
  if (!named.ok()) return named.status();
  constexpr absl::string_view kCount = "split.count", kNumber = "split.no";
  const auto count = named->Integer(kCount, 1);
  if (!count.ok()) return count.status();
  if (*count <= 1) return named;
  const auto error = [](absl::string_view file, absl::string_view key,
                        absl::string_view expected, absl::string_view found) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": metadata ", NameText(key), ": expected ",
                     expected, ", found ", found));
  };
  constexpr uint64_t kMostParts = 99999;
  const auto number = named->Integer(kNumber, 0);
  if (!number.ok()) return number.status();
  absl::string_view stem = path;
  if (*count > kMostParts || *number >= *count ||
      !absl::ConsumeSuffix(
          &stem, absl::StrFormat("-%05d-of-%05d.gguf", *number + 1, *count))) {
    return error(path, kCount, "a file named -00001-of-0000N.gguf of N parts",
                 absl::StrCat("part ", *number + 1, " of ", *count));
  }
  absl::StatusOr<GgufFile> whole = named;
  for (uint64_t i = 0; i < *count; ++i) {
    const std::string name =
        absl::StrFormat("%s-%05d-of-%05d.gguf", stem, i + 1, *count);
    absl::StatusOr<GgufFile> part = OpenPart(name);
    if (!part.ok()) return part.status();
    const auto of = part->Integer(kCount, 1), which = part->Integer(kNumber, 0);
    if (!of.ok()) return of.status();
    if (!which.ok()) return which.status();
    if (*of != *count || *which != i) {
      return error(name, kNumber, absl::StrCat(i, " of ", *count),
                   absl::StrCat(*which, " of ", *of));
    }
    if (i == 0) {
      whole = std::move(part);
      continue;
    }
    for (auto& [tensor, stored] : part->tensors_) {
      if (!whole->tensors_.emplace(tensor, std::move(stored)).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, ": tensor ", NameText(tensor),
                         ": expected each name once, found it in a part "
                         "before this one too"));
      }
    }
  }
  constexpr absl::string_view kTensors = "split.tensors.count";
  const auto tensors = whole->Integer(kTensors, whole->tensors_.size());
  if (!tensors.ok()) return tensors.status();
  if (*tensors != whole->tensors_.size()) {
    return error(whole->file().path(), kTensors,
                 absl::StrCat(whole->tensors_.size(), ", which the parts have"),
                 absl::StrCat(*tensors));
  }
  return whole;
}

const GgufValue* GgufFile::FindValue(absl::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

const GgufTensor* GgufFile::FindTensor(absl::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace ulpscope
