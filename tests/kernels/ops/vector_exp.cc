#include "tests/kernels/ops/vector_exp.h"

#include <cstddef>

#include "absl/types/span.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/ops/vector_exp.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename Lane>
void Exponentials(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, ExpOrNaN(d, v), p + i, left...);
  });
}

template <typename Lane>
void OfNonPositive(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, ExpOfNonPositive(d, v), p + i, left...);
  });
}

template <typename Lane>
void OnePlus(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, OnePlusExp(d, v), p + i, left...);
  });
}

void ExponentialsF32(absl::Span<float> x) { Exponentials(x); }
void ExponentialsF64(absl::Span<double> x) { Exponentials(x); }
void OfNonPositiveF32(absl::Span<float> x) { OfNonPositive(x); }
void OfNonPositiveF64(absl::Span<double> x) { OfNonPositive(x); }
void OnePlusF32(absl::Span<float> x) { OnePlus(x); }
void OnePlusF64(absl::Span<double> x) { OnePlus(x); }

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(ExponentialsF32);
HWY_EXPORT(ExponentialsF64);
HWY_EXPORT(OfNonPositiveF32);
HWY_EXPORT(OfNonPositiveF64);
HWY_EXPORT(OnePlusF32);
HWY_EXPORT(OnePlusF64);

void VectorExp(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(ExponentialsF32)(x);
}
void VectorExp(absl::Span<double> x) {
  HWY_DYNAMIC_DISPATCH(ExponentialsF64)(x);
}
void VectorExpOfNonPositive(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(OfNonPositiveF32)(x);
}
void VectorExpOfNonPositive(absl::Span<double> x) {
  HWY_DYNAMIC_DISPATCH(OfNonPositiveF64)(x);
}
void VectorOnePlusExp(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(OnePlusF32)(x);
}
void VectorOnePlusExp(absl::Span<double> x) {
  HWY_DYNAMIC_DISPATCH(OnePlusF64)(x);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
