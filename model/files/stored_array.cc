#include "model/files/stored_array.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "hwy/base.h"

namespace ulpscope {
namespace {

enum class Kind { kIeee, kBrain, kSigned, kUnsigned };

struct ElementType {
  absl::string_view name;
  size_t size;
  Kind kind;
};

constexpr ElementType kElementTypes[] = {
    {"F64", 8, Kind::kIeee},     {"F32", 4, Kind::kIeee},
    {"F16", 2, Kind::kIeee},     {"BF16", 2, Kind::kBrain},
    {"I64", 8, Kind::kSigned},   {"I32", 4, Kind::kSigned},
    {"I16", 2, Kind::kSigned},   {"I8", 1, Kind::kSigned},
    {"U32", 4, Kind::kUnsigned}, {"U16", 2, Kind::kUnsigned},
    {"U8", 1, Kind::kUnsigned},
};

const ElementType* Find(absl::string_view dtype) {
  for (const ElementType& type : kElementTypes) {
    if (type.name == dtype) return &type;
  }
  return nullptr;
}

// Bits is unsigned, of the element's size.
template <typename Bits>
Bits LoadBits(const uint8_t* at, bool big_endian) {
  Bits bits;
  std::memcpy(&bits, at, sizeof(bits));
  if (!big_endian) return bits;
  if constexpr (sizeof(Bits) == 8) return __builtin_bswap64(bits);
  if constexpr (sizeof(Bits) == 4) return __builtin_bswap32(bits);
  return __builtin_bswap16(bits);
}

double FromF64(uint64_t bits) { return hwy::BitCastScalar<double>(bits); }

double FromF32(uint32_t bits) { return hwy::BitCastScalar<float>(bits); }

double FromF16(uint16_t bits) {
  return hwy::F32FromF16(hwy::BitCastScalar<hwy::float16_t>(bits));
}

double FromBF16(uint16_t bits) { return FromF32(uint32_t{bits} << 16); }

template <typename Bits>
void WidenAs(const StoredArray& array, size_t first, absl::Span<double> out,
             double (*convert)(Bits)) {
  const uint8_t* at = array.bytes.data() + first * sizeof(Bits);
  for (double& value : out) {
    value = convert(LoadBits<Bits>(at, array.big_endian));
    at += sizeof(Bits);
  }
}

}  // namespace

size_t ElementSize(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type == nullptr ? 0 : type->size;
}

bool IsFloat(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type != nullptr &&
         (type->kind == Kind::kIeee || type->kind == Kind::kBrain);
}

bool IsInteger(absl::string_view dtype) {
  const ElementType* const type = Find(dtype);
  return type != nullptr &&
         (type->kind == Kind::kSigned || type->kind == Kind::kUnsigned);
}

void Widen(const StoredArray& array, size_t first, absl::Span<double> out) {
  if (array.dtype == "F64") {
    WidenAs(array, first, out, FromF64);
  } else if (array.dtype == "F32") {
    WidenAs(array, first, out, FromF32);
  } else if (array.dtype == "F16") {
    WidenAs(array, first, out, FromF16);
  } else {
    WidenAs(array, first, out, FromBF16);
  }
}

int64_t IntegerAt(const StoredArray& array, size_t index) {
  const ElementType& type = *Find(array.dtype);
  const uint8_t* const at = array.bytes.data() + index * type.size;
  uint64_t bits = 0;
  switch (type.size) {
    case 1:
      bits = *at;
      break;
    case 2:
      bits = LoadBits<uint16_t>(at, array.big_endian);
      break;
    case 4:
      bits = LoadBits<uint32_t>(at, array.big_endian);
      break;
    default:
      bits = LoadBits<uint64_t>(at, array.big_endian);
  }
  if (type.kind == Kind::kUnsigned) return static_cast<int64_t>(bits);
  const size_t unused = 64 - 8 * type.size;
  return static_cast<int64_t>(bits << unused) >> unused;
}

}  // namespace ulpscope
