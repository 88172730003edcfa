#include "model/files/stored_array.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"

namespace ulpscope {
namespace {

enum class Kind { kFloat, kSigned, kUnsigned };

struct ElementType {
  absl::string_view name;
  size_t size;
  Kind kind;
  DType dtype = DType::kF64;  // of floats
};

constexpr ElementType kElementTypes[] = {
    {"F64", 8, Kind::kFloat, DType::kF64},
    {"F32", 4, Kind::kFloat, DType::kF32},
    {"F16", 2, Kind::kFloat, DType::kF16},
    {"BF16", 2, Kind::kFloat, DType::kBF16},
    {"I64", 8, Kind::kSigned},
    {"I32", 4, Kind::kSigned},
    {"I16", 2, Kind::kSigned},
    {"I8", 1, Kind::kSigned},
    {"U32", 4, Kind::kUnsigned},
    {"U16", 2, Kind::kUnsigned},
    {"U8", 1, Kind::kUnsigned},
};

const ElementType* Find(absl::string_view dtype) {
  for (const ElementType& type : kElementTypes) {
    if (type.name == dtype) return &type;
  }
  return nullptr;
}

}  // namespace

size_t ElementSize(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type == nullptr ? 0 : type->size;
}

bool IsFloat(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type != nullptr && type->kind == Kind::kFloat;
}

bool IsInteger(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type != nullptr && type->kind != Kind::kFloat;
}

void Widen(const StoredArray& array, size_t first, absl::Span<double> out) {
  const ElementType& type = *Find(array.dtype);
  const uint8_t* at = array.bytes.data() + first * type.size;
  std::vector<uint8_t> swapped;
  if (array.big_endian) {
    swapped.reserve(out.size() * type.size);
    for (size_t i = 0; i < out.size(); ++i, at += type.size) {
      std::reverse_copy(at, at + type.size, std::back_inserter(swapped));
    }
    at = swapped.data();
  }
  Widen(type.dtype, at, 1, out.size(), out.data());
}

int64_t IntegerAt(const StoredArray& array, size_t index) {
  const ElementType& type = *Find(array.dtype);
  const uint8_t* const at = array.bytes.data() + index * type.size;
  uint64_t bits = 0;
  for (size_t byte = 0; byte < type.size; ++byte) {
    const size_t place = array.big_endian ? type.size - 1 - byte : byte;
    bits |= uint64_t{at[byte]} << (8 * place);
  }
  if (type.kind == Kind::kUnsigned) return static_cast<int64_t>(bits);
  const size_t unused = 64 - 8 * type.size;
  return static_cast<int64_t>(bits << unused) >> unused;
}

}  // namespace ulpscope
