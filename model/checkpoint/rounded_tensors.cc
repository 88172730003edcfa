#include "model/checkpoint/rounded_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "model/architecture/rounding.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

constexpr size_t kBlock = 32;  // weights of Q8_0 that share a scale

// As ggml's reference quantizer rounds them, and back.
void RoundBlockToQ8(float* x) {
  float most = 0;
  for (size_t i = 0; i < kBlock; ++i) most = std::max(most, std::abs(x[i]));
  const float scale = most / 127;
  const float inverse = scale != 0 ? 1 / scale : 0;
  const float stored = static_cast<float>(RoundedToF16(scale));
  for (size_t i = 0; i < kBlock; ++i) {
    x[i] = std::round(x[i] * inverse) * stored;
  }
}

float Widened(const Tensor& tensor, size_t i) {
  double value = 0;
  Widen(tensor.dtype,
        static_cast<const char*>(tensor.data) + i * DTypeSize(tensor.dtype), 1,
        1, &value);
  return static_cast<float>(value);
}

DType TypeOf(WeightRounding rounding) {
  switch (rounding) {
    case WeightRounding::kBF16:
      return DType::kBF16;
    case WeightRounding::kF16:
      return DType::kF16;
    case WeightRounding::kQ8_0:
      break;
  }
  return DType::kF32;
}

void Round(const Tensor& from, size_t count, WeightRounding rounding,
           void* to) {
  switch (rounding) {
    case WeightRounding::kBF16: {
      auto* const values = static_cast<hwy::bfloat16_t*>(to);
      for (size_t i = 0; i < count; ++i) {
        values[i] = hwy::BF16FromF32(RoundedToBF16(Widened(from, i)));
      }
      return;
    }
    case WeightRounding::kF16: {
      auto* const values = static_cast<hwy::float16_t*>(to);
      for (size_t i = 0; i < count; ++i) {
        values[i] =
            hwy::F16FromF32(static_cast<float>(RoundedToF16(Widened(from, i))));
      }
      return;
    }
    case WeightRounding::kQ8_0: {
      auto* const values = static_cast<float*>(to);
      for (size_t i = 0; i < count; ++i) values[i] = Widened(from, i);
      for (size_t i = 0; i < count; i += kBlock) RoundBlockToQ8(values + i);
    }
  }
}

class Rounded : public TensorSource {
 public:
  Rounded(TensorSource& source, WeightRounding rounding)
      : source_(source), rounding_(rounding) {}

  bool Has(absl::string_view name) const override { return source_.Has(name); }

  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> shape) const override {
    return source_.StoredBytes(name, shape);
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    absl::StatusOr<Tensor> loaded = source_.Load(name, shape);
    if (!loaded.ok()) return loaded;
    loaded = Dequantized(*std::move(loaded));
    if (!loaded.ok() || Keeps(*loaded)) return loaded;
    const size_t count = loaded->elements();
    const DType dtype = TypeOf(rounding_);
    const size_t bytes = count * DTypeSize(dtype);
    std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(bytes);
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "tensor ", NameText(name), ": no memory for ", bytes, " bytes"));
    }
    Round(*loaded, count, rounding_, buffer.get());
    const void* const data = buffer.get();
    return Tensor{std::move(loaded->name),  dtype,
                  std::move(loaded->shape), data,
                  std::move(buffer),        nullptr};
  }

  absl::Status CheckUnchanged() const override {
    return source_.CheckUnchanged();
  }

 private:
  // Whether the tensor is used as it is stored.
  bool Keeps(const Tensor& tensor) const {
    if (rounding_ != WeightRounding::kQ8_0) {
      return tensor.dtype == TypeOf(rounding_);
    }
    // llama.cpp quantizes neither vectors nor rows that are no whole blocks.
    return tensor.shape.size() < 2 ||
           static_cast<size_t>(tensor.shape.back()) % kBlock != 0;
  }

  TensorSource& source_;
  const WeightRounding rounding_;
};

}  // namespace

std::unique_ptr<TensorSource> RoundedTensors(TensorSource& source,
                                             WeightRounding rounding) {
  return std::make_unique<Rounded>(source, rounding);
}

}  // namespace ulpscope
