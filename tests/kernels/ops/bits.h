#ifndef TESTS_KERNELS_OPS_BITS_H_
#define TESTS_KERNELS_OPS_BITS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace ulpscope {

inline uint64_t BitsOf(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// Same bits, signs of zeros included; any two NaN are the same. Floats are
// passed widened.
inline bool SameBits(double a, double b) {
  return BitsOf(a) == BitsOf(b) || (std::isnan(a) && std::isnan(b));
}

// EXPECT_TRUE(SameBits(...)) for rows, naming the first difference.
template <typename T>
testing::AssertionResult HasBits(absl::Span<const T> got,
                                 absl::Span<const double> expected) {
  if (got.size() != expected.size()) {
    return testing::AssertionFailure()
           << got.size() << " values instead of " << expected.size();
  }
  for (size_t i = 0; i < got.size(); ++i) {
    if (!SameBits(got[i], expected[i])) {
      return testing::AssertionFailure()
             << absl::StrFormat("value %d of %d is %a, expected %a", i,
                                got.size(), got[i], expected[i]);
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace ulpscope

#endif  // TESTS_KERNELS_OPS_BITS_H_
