#include "tests/kernels/strategy/engine_quantizers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace ulpscope::engine_models {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Of one operation on f32 numbers: a double has more than twice f32's digits
// and two, so rounding to it first changes nothing (Figueroa 1995).
double F32(double x) { return RoundToNearest(kF32, x); }

// NaN where a number is not finite.
double LargestMagnitude(Values x) {
  double largest = 0;
  for (const double value : x) {
    if (!std::isfinite(value)) return kNan;
    largest = std::max(largest, std::fabs(value));
  }
  return largest;
}

size_t NumBlocks(size_t n, size_t block) { return (n + block - 1) / block; }

double Fp8Scale(double largest) {
  if (std::isnan(largest)) return kNan;
  return F32(std::max(largest, F32(1e-4)) / 448);
}

double Fp8Value(double x, double scale) {
  return RoundToNearest(kE4m3, F32(x * F32(1 / scale)));
}

MxRow QuantizeMx(const FloatFormat& element, int emax, Values x) {
  constexpr size_t kBlock = 32;
  MxRow row = {element, {}, {}};
  for (size_t i = 0; i < x.size(); i += kBlock) {
    const Values block = x.subspan(i, kBlock);
    const double largest = LargestMagnitude(block);
    int exponent = -127;
    if (largest > 0) exponent = std::ilogb(largest) - emax;
    const double scale =
        std::isnan(largest)
            ? kNan
            : std::ldexp(1.0, std::min(std::max(exponent, -127), 127));
    row.scales.push_back(scale);
    for (const double value : block) {
      row.values.push_back(RoundToNearest(element, value / scale));
    }
  }
  return row;
}

}  // namespace

Fp8Row Fp8Weights::Row(size_t j) const {
  const size_t k = shape.cols;
  const size_t blocks = NumBlocks(k, block);
  const auto value = values.begin() + static_cast<ptrdiff_t>(j * k);
  const auto scale =
      scales.begin() + static_cast<ptrdiff_t>(j / block * blocks);
  return {block,
          {value, value + static_cast<ptrdiff_t>(k)},
          {scale, scale + static_cast<ptrdiff_t>(blocks)}};
}

Fp8Row QuantizeFp8(Values x, size_t block) {
  Fp8Row row = {block, {}, {}};
  for (size_t i = 0; i < x.size(); i += block) {
    const double scale = Fp8Scale(LargestMagnitude(x.subspan(i, block)));
    row.scales.push_back(scale);
    for (const double value : x.subspan(i, block)) {
      row.values.push_back(Fp8Value(value, scale));
    }
  }
  return row;
}

Fp8Weights QuantizeFp8Weights(ValueMatrix b, size_t block) {
  Fp8Weights weights = {block, b, std::vector<double>(b.rows * b.cols), {}};
  for (size_t row = 0; row < b.rows; row += block) {
    const size_t row_end = std::min(row + block, b.rows);
    for (size_t col = 0; col < b.cols; col += block) {
      const size_t cols = std::min(block, b.cols - col);
      std::vector<double> all;
      for (size_t j = row; j < row_end; ++j) {
        all.insert(all.end(), b.Row(j) + col, b.Row(j) + col + cols);
      }
      const double scale = Fp8Scale(LargestMagnitude(all));
      weights.scales.push_back(scale);
      for (size_t j = row; j < row_end; ++j) {
        for (size_t i = col; i < col + cols; ++i) {
          weights.values[j * b.cols + i] = Fp8Value(b.Row(j)[i], scale);
        }
      }
    }
  }
  return weights;
}

MxRow QuantizeMxFp8(Values x) { return QuantizeMx(kE4m3, 8, x); }
MxRow QuantizeMxFp4(Values x) { return QuantizeMx(kE2m1, 2, x); }

double NvFp4Global(ValueMatrix all) {
  double largest = 0;
  for (size_t row = 0; row < all.rows; ++row) {
    const double of_row = LargestMagnitude({all.Row(row), all.cols});
    if (std::isnan(of_row)) return kNan;
    largest = std::max(largest, of_row);
  }
  return F32(largest / (448 * 6));
}

NvFp4Row QuantizeNvFp4(Values x, double global) {
  constexpr size_t kBlock = 16;
  NvFp4Row row = {{}, {}, global};
  for (size_t i = 0; i < x.size(); i += kBlock) {
    const Values block = x.subspan(i, kBlock);
    const double wanted = F32(F32(LargestMagnitude(block) / 6) / global);
    double scale = kNan;
    if (global == 0) {
      scale = 0x1p-6;
    } else if (!std::isnan(wanted)) {
      scale = RoundToNearest(kE4m3, std::min(std::max(wanted, 0x1p-6), 448.0));
    }
    row.scales.push_back(scale);
    const double reciprocal = F32(F32(1 / global) / scale);
    for (const double value : block) {
      const double scaled = global == 0 ? 0.0 : F32(value * reciprocal);
      row.values.push_back(RoundToNearest(kE2m1, scaled));
    }
  }
  return row;
}

Int8Row QuantizeInt8(Values x) {
  const double largest = LargestMagnitude(x);
  Int8Row row = {std::vector<int>(x.size()), F32(largest / 127)};
  if (!(largest > 0)) return row;
  const double reciprocal = F32(127 / largest);
  for (size_t i = 0; i < x.size(); ++i) {
    const double q = std::nearbyint(F32(x[i] * reciprocal));
    row.values[i] = static_cast<int>(std::min(std::max(q, -128.0), 127.0));
  }
  return row;
}

Q8Row QuantizeQ8(Values x) {
  Q8Row row;
  row.block = 32;
  for (size_t i = 0; i < x.size(); i += row.block) {
    const Values block = x.subspan(i, row.block);
    const double amax = LargestMagnitude(block);
    const double d = F32(amax / 127);
    const double factor = amax > 0 ? F32(127 / amax) : 0;
    row.scales.push_back(RoundToNearest(kF16, d));
    int sum = 0;
    for (const double value : block) {
      row.values.push_back(
          static_cast<int>(std::nearbyint(F32(value * factor))));
      sum += row.values.back();
    }
    row.sums.push_back(RoundToNearest(kF16, F32(d * sum)));
  }
  return row;
}

Q8Row QuantizeQ8K(Values x) {
  Q8Row row;
  row.block = 256;
  for (size_t i = 0; i < x.size(); i += row.block) {
    const Values block = x.subspan(i, row.block);
    double most = 0;
    for (const double value : block) {
      if (std::fabs(value) > std::fabs(most)) most = value;
    }
    const double factor = most != 0 ? F32(-127 / most) : 0;
    row.scales.push_back(most != 0 ? F32(1 / factor) : 0);
    for (const double value : block) {
      const double q = std::nearbyint(F32(value * factor));
      row.values.push_back(static_cast<int>(std::min(q, 127.0)));
    }
  }
  return row;
}

std::array<uint32_t, 4> Philox(uint64_t key, std::array<uint32_t, 4> counter) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  auto [x0, x1, x2, x3] = counter;
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53} * x0;
    const uint64_t right = uint64_t{0xCD9E8D57} * x2;
    const uint32_t y0 = static_cast<uint32_t>(right >> 32) ^ x1 ^ k0;
    const uint32_t y2 = static_cast<uint32_t>(left >> 32) ^ x3 ^ k1;
    x1 = static_cast<uint32_t>(right);
    x3 = static_cast<uint32_t>(left);
    x0 = y0;
    x2 = y2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {x0, x1, x2, x3};
}

double RoundStochasticallyToBf16(double x, uint64_t seed,
                                 std::array<uint32_t, 4> counter) {
  if (std::isnan(x)) return kNan;
  const float narrow = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof(bits));
  bits = (bits + (Philox(seed, counter)[0] & 0xFFFF)) & 0xFFFF0000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof(rounded));
  return rounded;
}

}  // namespace ulpscope::engine_models
