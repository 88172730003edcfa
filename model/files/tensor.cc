#include "model/files/tensor.h"

#include <cstring>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ulpscope {

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string NameText(absl::string_view name) {
  constexpr size_t kMaxLength = 128;
  return absl::StrCat("\"", absl::CHexEscape(name.substr(0, kMaxLength)),
                      name.size() > kMaxLength ? "...\"" : "\"");
}

std::shared_ptr<uint8_t[]> NewTensorBuffer(size_t size) {
  return std::shared_ptr<uint8_t[]>(new (std::nothrow) uint8_t[size]);
}

absl::StatusOr<Tensor> TensorOverBytes(absl::string_view name, DType dtype,
                                       absl::Span<const int64_t> shape,
                                       absl::Span<const uint8_t> bytes,
                                       std::shared_ptr<const void> owner) {
  Tensor tensor{std::string(name),
                dtype,
                {shape.begin(), shape.end()},
                bytes.data(),
                std::move(owner)};
  if (reinterpret_cast<uintptr_t>(bytes.data()) % DTypeSize(dtype) != 0) {
    std::shared_ptr<uint8_t[]> copy = NewTensorBuffer(bytes.size());
    if (copy == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("tensor ", NameText(name), ": no memory for ",
                       bytes.size(), " bytes"));
    }
    std::memcpy(copy.get(), bytes.data(), bytes.size());
    tensor.data = copy.get();
    tensor.owner = std::move(copy);
  }
  return tensor;
}

}  // namespace ulpscope
