#include "tests/kernels/strategy/engine_inputs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/measure/random.h"

namespace ulpscope::engine_models {
namespace {

// Every draw is a statement of its own: compilers order them differently.

int LargestExponent(const FloatFormat& format) {
  return std::ilogb(format.largest);
}

// Of either sign and magnitude in [2^exponent, 2^(exponent + 1)), or as near to
// that as the format has it; then of the least subnormal's multiples.
double Draw(const FloatFormat& format, int exponent, Random& random) {
  const double significand = random.Sign() * random.Uniform(1, 2);
  const int nearest = std::min(exponent, LargestExponent(format));
  const double x = RoundToNearest(format, std::ldexp(significand, nearest));
  return std::min(std::max(x, -format.largest), format.largest);
}

double DrawBetween(const FloatFormat& format, int low, int high,
                   Random& random) {
  const auto choices = static_cast<uint64_t>(high - low + 1);
  const int exponent = low + static_cast<int>(random.Below(choices));
  return Draw(format, exponent, random);
}

void FillGaussian(const FloatFormat& format, uint64_t seed,
                  EngineInputs& inputs) {
  Random random(seed);
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    inputs.a[i] = RoundToNearest(format, random.Gaussian());
    inputs.b[i] = RoundToNearest(format, random.Gaussian());
  }
}

void FillSwamped(const FloatFormat& format, uint64_t seed,
                 EngineInputs& inputs) {
  Random random(seed);
  const int large = std::min(4, LargestExponent(format));
  const int small = std::max(-4, format.least_exponent - 1);
  const size_t place = inputs.a.empty() ? 0 : random.Below(inputs.a.size());
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    inputs.a[i] = Draw(format, i == place ? large : small, random);
    inputs.b[i] = Draw(format, i == place ? large : small, random);
  }
}

void FillCancelling(const FloatFormat& format, uint64_t seed,
                    EngineInputs& inputs) {
  Random random(seed);
  const size_t k = inputs.a.size();
  for (size_t i = 0; i + 1 < k; i += 2) {
    const double x = DrawBetween(format, 0, 1, random);
    const double y = DrawBetween(format, 0, 1, random);
    const int unit = std::ilogb(y) - format.fraction_bits;
    const auto units = static_cast<double>(random.Below(3));
    inputs.a[i] = x;
    inputs.b[i] = y;
    inputs.a[i + 1] = -x;
    inputs.b[i + 1] = RoundToNearest(format, y + std::ldexp(units, unit));
  }
  if (k % 2 == 1) {
    inputs.a[k - 1] = DrawBetween(format, -4, -4, random);
    inputs.b[k - 1] = DrawBetween(format, -4, -4, random);
  }
  for (size_t i = k; i > 1; --i) {
    const size_t other = random.Below(i);
    std::swap(inputs.a[i - 1], inputs.a[other]);
    std::swap(inputs.b[i - 1], inputs.b[other]);
  }
}

void FillSubnormal(const FloatFormat& format, uint64_t seed,
                   EngineInputs& inputs) {
  Random random(seed);
  const int bottom = format.least_exponent - format.fraction_bits;
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    switch (random.Below(3)) {
      case 0:
        inputs.a[i] =
            DrawBetween(format, bottom, format.least_exponent + 1, random);
        inputs.b[i] =
            DrawBetween(format, bottom, format.least_exponent + 1, random);
        break;
      case 1: {
        const int half = std::max(-75, bottom);
        inputs.a[i] = DrawBetween(format, half, half + 11, random);
        inputs.b[i] = DrawBetween(format, half, half + 11, random);
        break;
      }
      default: {
        const int high = std::max(-30, bottom);
        inputs.a[i] = DrawBetween(format, bottom, bottom + 9, random);
        inputs.b[i] = DrawBetween(format, high, high + 9, random);
      }
    }
    if (random.Below(2) == 0) std::swap(inputs.a[i], inputs.b[i]);
  }
}

void FillOverflow(const FloatFormat& format, uint64_t seed,
                  EngineInputs& inputs) {
  Random random(seed);
  const int top = LargestExponent(format);
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    if (top > 64) {  // bf16, tf32, f32: products of 2^121 to 2^128
      inputs.a[i] = DrawBetween(format, 61, 63, random);
      inputs.b[i] = DrawBetween(format, 60, 63, random);
      continue;
    }
    for (double* x : {&inputs.a[i], &inputs.b[i]}) {
      const uint64_t eighth = random.Below(8);
      *x = DrawBetween(format, top - 2, top, random);
      // Beyond the largest number: to infinity, or saturated.
      if (eighth == 0) *x *= static_cast<double>(1 + random.Below(16));
    }
  }
}

void FillZerosAndSigns(const FloatFormat& format, uint64_t seed,
                       EngineInputs& inputs) {
  Random random(seed);
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    for (double* x : {&inputs.a[i], &inputs.b[i]}) {
      const bool zero = random.Below(4) == 0;
      *x = DrawBetween(format, -12, 12, random);
      if (zero) *x = std::copysign(0.0, *x);
    }
  }
}

void FillWide(const FloatFormat& format, uint64_t seed, EngineInputs& inputs) {
  Random random(seed);
  const int low = std::max(format.least_exponent - 2, -70);
  const int high = std::min(LargestExponent(format), 60);
  for (size_t i = 0; i < inputs.a.size(); ++i) {
    inputs.a[i] = DrawBetween(format, low, high, random);
    inputs.b[i] = DrawBetween(format, low, high, random);
  }
}

constexpr EngineFamily kFamilies[] = {
    {"gaussian", &FillGaussian},
    {"swamped", &FillSwamped},
    {"cancelling", &FillCancelling},
    {"subnormal", &FillSubnormal},
    {"overflow", &FillOverflow},
    {"zeros_and_signs", &FillZerosAndSigns},
    {"wide", &FillWide},
};

}  // namespace

absl::Span<const EngineFamily> EngineFamilies() { return kFamilies; }

EngineInputs MakeEngineInputs(const EngineFamily& family,
                              const FloatFormat& format, size_t k,
                              uint64_t seed) {
  EngineInputs inputs = {std::vector<double>(k), std::vector<double>(k)};
  family.fill(format, seed, inputs);
  return inputs;
}

}  // namespace ulpscope::engine_models
