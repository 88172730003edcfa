#include "model/checkpoint/float8.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"
#include "model/files/safetensors_file.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

constexpr size_t kBlock = 128;  // rows, and columns, of one scale

// The scales, row-major.
std::vector<float> ScalesOf(DType dtype, const SafetensorsEntry& stored) {
  const size_t count = stored.bytes.size() / DTypeSize(dtype);
  std::vector<double> wide(count);
  Widen(dtype, stored.bytes.data(), 1, count, wide.data());
  return std::vector<float>(wide.begin(), wide.end());
}

}  // namespace

absl::StatusOr<Tensor> Float8Tensor(
    absl::string_view name, absl::Span<const int64_t> shape,
    const SafetensorsEntries::value_type& codes,
    const SafetensorsEntries::value_type& scales) {
  const std::string& file = codes.second.file->path();
  if (absl::MakeConstSpan(codes.second.shape) != shape || shape.size() != 2) {
    return SafetensorsError(
        file, codes.first,
        absl::StrCat("shape ", ShapeText(shape), " of two dimensions"),
        ShapeText(codes.second.shape));
  }
  const size_t n = static_cast<size_t>(shape[0]);
  const size_t k = static_cast<size_t>(shape[1]);
  const size_t row_blocks = hwy::DivCeil(k, kBlock);
  const std::vector<int64_t> scales_shape = {
      static_cast<int64_t>(hwy::DivCeil(n, kBlock)),
      static_cast<int64_t>(row_blocks)};
  const bool is_f32 = scales.second.dtype == "F32";
  if (!is_f32 && scales.second.dtype != "BF16") {
    return SafetensorsError(file, scales.first, "dtype F32 or BF16",
                            scales.second.dtype);
  }
  if (scales.second.shape != scales_shape) {
    return SafetensorsError(file, scales.first,
                            absl::StrCat("shape ", ShapeText(scales_shape),
                                         ", a scale for every 128 x 128"),
                            ShapeText(scales.second.shape));
  }
  const BlockType& type = *FindBlockType("F8_E4M3");
  const std::vector<float> factors =
      ScalesOf(is_f32 ? DType::kF32 : DType::kBF16, scales.second);
  const bool whole = k % kBlock == 0;
  const size_t bytes =
      whole ? n * row_blocks * type.bytes : n * k * sizeof(float);
  std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat(file, ": tensor ", NameText(codes.first),
                     ": no memory for ", bytes, " bytes"));
  }
  const uint8_t* from = codes.second.bytes.data();
  std::vector<uint8_t> block(type.bytes);
  float values[kBlock];
  for (size_t row = 0; row < n; ++row) {
    for (size_t b = 0; b < row_blocks; ++b) {
      const size_t count = std::min(kBlock, k - b * kBlock);
      const float& scale = factors[row / kBlock * row_blocks + b];
      uint8_t* const to =
          whole ? buffer.get() + (row * row_blocks + b) * type.bytes
                : block.data();
      std::memcpy(to, &scale, sizeof(scale));
      std::memcpy(to + sizeof(scale), from, count);
      from += count;
      if (whole) continue;
      std::fill(to + sizeof(scale) + count, to + type.bytes, uint8_t{0});
      Dequantize(type, to, values);
      std::memcpy(buffer.get() + (row * k + b * kBlock) * sizeof(float), values,
                  count * sizeof(float));
    }
  }
  const uint8_t* const data = buffer.get();
  return Tensor{std::string(name),
                DType::kF32,
                {shape.begin(), shape.end()},
                data,
                std::move(buffer),
                whole ? &type : nullptr};
}

}  // namespace ulpscope
