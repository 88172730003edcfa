#ifndef TESTS_KERNELS_STRATEGY_ENGINE_INPUTS_H_
#define TESTS_KERNELS_STRATEGY_ENGINE_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "tests/kernels/strategy/engine_formats.h"

namespace ulpscope::engine_models {

// Operands for a dot product of numbers of a format. All are f32 numbers; only
// kOverflow has some that are not numbers of `format`.
struct EngineInputs {
  std::vector<double> a;
  std::vector<double> b;
};

// - gaussian: 0 mean, unit variance.
// - swamped: one product of 2^8 or more at a random place (2^5 or more in
//   E2M1), the rest about 2^-8 (1/4 or less in E2M1), both signs.
// - cancelling: pairs that cancel but for at most 2 units in the last place of
//   b, shuffled; with an odd k one product of at most 2^-6 of theirs.
// - subnormal: a third each of the format's subnormals (times up to 4), and of
//   products around f32's least subnormal where the format's exponents reach
//   that far; the rest moderate.
// - overflow: operands up to the largest of the format, an eighth of them up to
//   16 times that (f32 permitting); where products can pass f32's range, most
//   are around its end, so that sums go beyond it and may come back.
// - zeros_and_signs: a quarter of the operands is zero of either sign, the rest
//   have exponents from -12 to 12, or what the format has of them.
// - wide: exponents over all that the format and f32's sums have.
struct EngineFamily {
  absl::string_view name;
  void (*fill)(const FloatFormat& format, uint64_t seed, EngineInputs& inputs);
};
absl::Span<const EngineFamily> EngineFamilies();

// k products. Same arguments, same bits, anywhere.
EngineInputs MakeEngineInputs(const EngineFamily& family,
                              const FloatFormat& format, size_t k,
                              uint64_t seed);

}  // namespace ulpscope::engine_models

#endif  // TESTS_KERNELS_STRATEGY_ENGINE_INPUTS_H_
