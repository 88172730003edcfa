#include "tests/vector_exp.h"

#include <cstddef>

#include "absl/types/span.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/vector_exp.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/exp-inl.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename Lane>
void Exponentials(absl::Span<Lane> x) {
  Lane* const p = x.data();
  ForEachVector<Lane>(x.size(), [p](auto d, size_t i) HWY_ATTR {
    hn::StoreU(ExpOrNaN(d, hn::LoadU(d, p + i)), d, p + i);
  });
}

void ExponentialsF32(absl::Span<float> x) { Exponentials(x); }
void ExponentialsF64(absl::Span<double> x) { Exponentials(x); }

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(ExponentialsF32);
HWY_EXPORT(ExponentialsF64);

void VectorExp(absl::Span<float> x) {
  HWY_DYNAMIC_DISPATCH(ExponentialsF32)(x);
}
void VectorExp(absl::Span<double> x) {
  HWY_DYNAMIC_DISPATCH(ExponentialsF64)(x);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
