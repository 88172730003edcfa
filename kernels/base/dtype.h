#ifndef KERNELS_BASE_DTYPE_H_
#define KERNELS_BASE_DTYPE_H_

#include <cstddef>

namespace ulpscope {

// Element types of matrices in memory. Weights are F32, F16 or BF16, as stored
// in the checkpoint; F64 occurs in the KV cache of a plan that needs it.
enum class DType { kF64, kF32, kF16, kBF16 };

// As in safetensors: "F64", "F32", "F16", "BF16".
constexpr const char* DTypeName(DType dtype) {
  return dtype == DType::kF64   ? "F64"
         : dtype == DType::kF32 ? "F32"
         : dtype == DType::kF16 ? "F16"
                                : "BF16";
}

constexpr size_t DTypeSize(DType dtype) {  // bytes
  return dtype == DType::kF64 ? 8 : dtype == DType::kF32 ? 4 : 2;
}

// Copies n elements, of which `stride` - 1 others stand between neighbours, to
// f64, without rounding (a signaling NaN becomes quiet). They may be unaligned.
void Widen(DType dtype, const void* data, size_t stride, size_t n, double* out);

}  // namespace ulpscope

#endif  // KERNELS_BASE_DTYPE_H_
