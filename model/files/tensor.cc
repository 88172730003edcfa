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

size_t Tensor::elements() const {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

size_t Tensor::bytes() const {
  return blocks != nullptr
             ? elements() / blocks->layout.elements * blocks->bytes
             : elements() * DTypeSize(dtype);
}

absl::string_view Tensor::type_name() const {
  return blocks != nullptr ? blocks->name : DTypeName(dtype);
}

absl::StatusOr<Tensor> Dequantized(Tensor tensor) {
  if (tensor.blocks == nullptr) return tensor;
  const BlockType& type = *tensor.blocks;
  const size_t count = tensor.elements() / type.layout.elements;
  Tensor values{std::move(tensor.name),
                DType::kF32,
                std::move(tensor.shape),
                nullptr,
                nullptr,
                nullptr};
  const size_t bytes = count * type.layout.elements * sizeof(float);
  std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "tensor ", NameText(values.name), ": no memory for ", bytes, " bytes"));
  }
  float* const floats = reinterpret_cast<float*>(buffer.get());
  const auto* const blocks = static_cast<const uint8_t*>(tensor.data);
  for (size_t i = 0; i < count; ++i) {
    Dequantize(type, blocks + i * type.bytes,
               floats + i * type.layout.elements);
  }
  values.data = buffer.get();
  values.owner = std::move(buffer);
  return values;
}

absl::StatusOr<Tensor> TensorOverBytes(absl::string_view name, DType dtype,
                                       absl::Span<const int64_t> shape,
                                       absl::Span<const uint8_t> bytes,
                                       std::shared_ptr<const void> owner) {
  Tensor tensor{
      std::string(name), dtype,  {shape.begin(), shape.end()}, bytes.data(),
      std::move(owner),  nullptr};
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
