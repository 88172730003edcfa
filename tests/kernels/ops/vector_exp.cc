#include "tests/kernels/ops/vector_exp.h"

#include <cstddef>

#include "absl/types/span.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/ops/vector_exp.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/ops/torch_exp-inl.h"
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

template <typename Lane>
void PowersOf2(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, Exp2OrNaN(d, v), p + i, left...);
  });
}

template <typename Lane>
void Logarithms(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, LogOrNaN(d, v), p + i, left...);
  });
}

void TorchExpsU20(absl::Span<float> x) {
  float* const p = x.data();
  ForEachVector<float>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, TorchExpU20(d, v), p + i, left...);
  });
}

void TorchFastExps(absl::Span<float> x) {
  float* const p = x.data();
  ForEachVector<float>(x.size(), [p](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, p + i, left...);
    StoreSome(d, TorchFastExp(d, v), p + i, left...);
  });
}

void ExponentialsF32(absl::Span<float> x) { Exponentials(x); }
void ExponentialsF64(absl::Span<double> x) { Exponentials(x); }
void OfNonPositiveF32(absl::Span<float> x) { OfNonPositive(x); }
void OfNonPositiveF64(absl::Span<double> x) { OfNonPositive(x); }
void OnePlusF32(absl::Span<float> x) { OnePlus(x); }
void OnePlusF64(absl::Span<double> x) { OnePlus(x); }
void PowersOf2F32(absl::Span<float> x) { PowersOf2(x); }
void PowersOf2F64(absl::Span<double> x) { PowersOf2(x); }
void LogarithmsF32(absl::Span<float> x) { Logarithms(x); }
void LogarithmsF64(absl::Span<double> x) { Logarithms(x); }

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
HWY_EXPORT(PowersOf2F32);
HWY_EXPORT(PowersOf2F64);
HWY_EXPORT(LogarithmsF32);
HWY_EXPORT(LogarithmsF64);
HWY_EXPORT(TorchExpsU20);
HWY_EXPORT(TorchFastExps);

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
void VectorExp2(absl::Span<float> x) { HWY_DYNAMIC_DISPATCH(PowersOf2F32)(x); }
void VectorExp2(absl::Span<double> x) { HWY_DYNAMIC_DISPATCH(PowersOf2F64)(x); }
void VectorLog(absl::Span<float> x) { HWY_DYNAMIC_DISPATCH(LogarithmsF32)(x); }
void VectorLog(absl::Span<double> x) { HWY_DYNAMIC_DISPATCH(LogarithmsF64)(x); }
void VectorTorchExpU20(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(TorchExpsU20)(x);
}
void VectorTorchFastExp(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(TorchFastExps)(x);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
