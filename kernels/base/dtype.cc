#include "kernels/base/dtype.h"

#include <cstddef>
#include <cstring>

#include "hwy/base.h"

namespace ulpscope {
namespace {

template <typename T, typename Fn>
void WidenAs(const void* data, size_t stride, size_t n, double* out,
             const Fn& widened) {
  const char* at = static_cast<const char*>(data);
  for (size_t i = 0; i < n; ++i, at += stride * sizeof(T)) {
    T element;
    std::memcpy(&element, at, sizeof(T));
    out[i] = widened(element);
  }
}

}  // namespace

void Widen(DType dtype, const void* data, size_t stride, size_t n,
           double* out) {
  const auto as_is = [](double x) { return x; };
  switch (dtype) {
    case DType::kF64:
      return WidenAs<double>(data, stride, n, out, as_is);
    case DType::kF32:
      return WidenAs<float>(data, stride, n, out, as_is);
    case DType::kF16:
      return WidenAs<hwy::float16_t>(data, stride, n, out, hwy::F32FromF16);
    case DType::kBF16:
      return WidenAs<hwy::bfloat16_t>(data, stride, n, out, hwy::F32FromBF16);
  }
}

}  // namespace ulpscope
