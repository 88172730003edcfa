#ifndef KERNELS_MEASURE_RANDOM_H_
#define KERNELS_MEASURE_RANDOM_H_

#include <cstdint>

namespace ulpscope {

// SplitMix64 (Steele, Lea and Flood 2014). The distributions are integer sums
// scaled by powers of two: the same bits on every machine and library, which
// those of <random> and log or cos do not promise.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

  // In [0, n), n > 0. The bias of the remainder is below n / 2^64.
  uint64_t Below(uint64_t n) { return Next() % n; }

  // Odd multiples of 2^-33 in (0, 1): never 0.
  double Uniform() {
    return (2.0 * static_cast<double>(Next() >> 32) + 1.0) * 0x1p-33;
  }

  double Uniform(double low, double high) {
    return low + (high - low) * Uniform();
  }

  double Sign() { return Next() >> 63 != 0 ? -1.0 : 1.0; }

  // Mean 0, variance 1, within (-6, 6): the sum of 12 uniform numbers, of which
  // each Next gives two (Irwin-Hall). A multiple of 2^-32.
  double Gaussian() {
    uint64_t sum = 6;  // the mean of 32-bit numbers is half a unit below 2^31
    for (int i = 0; i < 6; ++i) {
      const uint64_t pair = Next();
      sum += (pair >> 32) + (pair & 0xFFFFFFFF);
    }
    return static_cast<double>(sum) * 0x1p-32 - 6.0;
  }

 private:
  uint64_t state_;
};

}  // namespace ulpscope

#endif  // KERNELS_MEASURE_RANDOM_H_
