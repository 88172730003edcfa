#ifndef TESTS_KERNELS_OPS_RANDOM_BLOCKS_H_
#define TESTS_KERNELS_OPS_RANDOM_BLOCKS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/panels.h"

namespace ulpscope {

// n rows of k values in random blocks: all bytes are, but for the sizes of d
// and dmin where `finite`, so that signs, zeros and subnormals occur.
struct RandomBlocks {
  RandomBlocks(const BlockType& type_in, size_t n_in, size_t k_in, bool finite)
      : type(type_in),
        n(n_in),
        k(k_in),
        bytes(n * k / type.layout.elements * type.bytes),
        values(n * k) {
    Random random(n * k);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Next());
    const size_t blocks = bytes.size() / type.bytes;
    for (size_t b = 0; b < blocks; ++b) {
      uint8_t* const block = bytes.data() + b * type.bytes;
      float* const out = values.data() + b * type.layout.elements;
      Dequantize(type, block, out);
      while (finite && !Moderate(out)) {
        for (size_t i = 0; i < type.bytes; ++i) {
          block[i] = static_cast<uint8_t>(random.Next());
        }
        Dequantize(type, block, out);
      }
    }
  }

  // Sums of such values are finite.
  bool Moderate(const float* block) const {
    for (size_t i = 0; i < type.layout.elements; ++i) {
      if (!(std::abs(block[i]) < 1e30f)) return false;
    }
    return true;
  }

  Panels Packed() const {
    Parallel parallel(2);
    auto panels = Panels::Pack(type, bytes.data(), n, k, parallel);
    EXPECT_THAT(panels, absl_testing::IsOk());
    return panels.ok() ? *std::move(panels) : Panels();
  }
  Panels PackedValues() const {
    Parallel parallel;
    return Panels(DType::kF32, values.data(), n, k, parallel);
  }

  const BlockType& type;
  const size_t n, k;
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};

}  // namespace ulpscope

#endif  // TESTS_KERNELS_OPS_RANDOM_BLOCKS_H_
