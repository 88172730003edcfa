// MatMul under `ggml`: what llama.cpp's CPU backend rounds activations to, by
// the type of the weights, against scalar models of it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/random_blocks.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/engine_models.h"
#include "tests/kernels/strategy/engine_quantizers.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

namespace models = engine_models;

class GgmlTest : public testing::TestWithParam<int64_t> {
 protected:
  GgmlTest() : scoped_target_(GetParam()) {}

  static std::vector<double> Computed(const std::vector<double>& a, size_t m,
                                      const Panels& panels) {
    Parallel parallel(2);
    std::vector<double> c(m * panels.view().n);
    MatMulArgs args;
    args.a = {a.data(), m, a.size() / m};
    args.b = panels.view();
    args.c = {c.data(), m, panels.view().n};
    MatMul(*FindStrategy("ggml", Kernel::kMatMul), args, parallel);
    return c;
  }

  static std::vector<double> Activations(size_t count) {
    Random random(count);
    std::vector<double> a(count);
    for (double& x : a) x = static_cast<float>(random.Gaussian());
    for (size_t i = 64; i < 96; ++i) a[i] = 0;  // a block of zeros
    return a;
  }

  ScopedTarget scoped_target_;
};

// The types that ggml takes q8_1 for: d and m, two f16, begin a block.
bool HasMinima(const BlockType& type) {
  return type.name == "Q4_1" || type.name == "Q5_1";
}

std::vector<double> MinimaOf(const BlockType& type, const uint8_t* row,
                             size_t blocks) {
  std::vector<double> minima;
  for (size_t b = 0; b < blocks; ++b) {
    uint16_t bits;
    std::memcpy(&bits, row + b * type.bytes + 2, sizeof(bits));
    minima.push_back(hwy::F32FromF16(hwy::float16_t::FromBits(bits)));
  }
  return minima;
}

TEST_P(GgmlTest, BlocksTakeActivationsOfEightBits) {
  constexpr size_t kM = 3, kN = 40, kK = 512;
  const std::vector<double> a = Activations(kM * kK);
  for (const BlockType& type : BlockTypes()) {
    if (type.name == "F8_E4M3") continue;  // no type of ggml's
    const RandomBlocks b(type, kN, kK, /*finite=*/true);
    const std::vector<double> c = Computed(a, kM, b.Packed());
    std::vector<double> expected;
    for (size_t r = 0; r < kM; ++r) {
      const auto row = absl::MakeConstSpan(a).subspan(r * kK, kK);
      const models::Q8Row q8 = type.layout.elements == 256
                                   ? models::QuantizeQ8K(row)
                                   : models::QuantizeQ8(row);
      for (size_t j = 0; j < kN; ++j) {
        const std::vector<double> w(b.values.begin() + j * kK,
                                    b.values.begin() + (j + 1) * kK);
        const size_t blocks = kK / type.layout.elements;
        expected.push_back(
            HasMinima(type)
                ? models::Q8Dot(
                      q8, w,
                      MinimaOf(type, b.bytes.data() + j * blocks * type.bytes,
                               blocks))
                : models::Q8Dot(q8, w));
      }
    }
    EXPECT_TRUE(HasBits<double>(c, expected)) << type.name;
  }
}

// Weights of 16 bits: activations are rounded to their type, and products are
// added in f32.
TEST_P(GgmlTest, SixteenBitsTakeActivationsOfTheirType) {
  constexpr size_t kM = 2, kN = 33, kK = 100;
  const std::vector<double> a = Activations(kM * kK);
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    const Format format = dtype == DType::kF16    ? Format::kF16
                          : dtype == DType::kBF16 ? Format::kBF16
                                                  : Format::kF32;
    Random random(7);
    std::vector<double> values;
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i < kN * kK; ++i) {
      const float x = static_cast<float>(Rounded(format, random.Gaussian()));
      values.push_back(x);
      const auto append = [&](auto stored) {
        const auto* from = reinterpret_cast<const uint8_t*>(&stored);
        bytes.insert(bytes.end(), from, from + sizeof(stored));
      };
      if (dtype == DType::kF16) {
        append(hwy::F16FromF32(x));
      } else if (dtype == DType::kBF16) {
        append(hwy::BF16FromF32(x));
      } else {
        append(x);
      }
    }
    Parallel parallel;
    const Panels panels(dtype, bytes.data(), kN, kK, parallel);
    const std::vector<double> c = Computed(a, kM, panels);
    const Textbook& f32 = *FindTextbook("f32");
    for (size_t r = 0; r < kM; ++r) {
      const std::vector<double> row =
          Rounded(format, absl::MakeConstSpan(a).subspan(r * kK, kK));
      for (size_t j = 0; j < kN; ++j) {
        ASSERT_EQ(c[r * kN + j],
                  TextbookDot(f32, row,
                              absl::MakeConstSpan(values).subspan(j * kK, kK),
                              nullptr, 1));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgmlTest, testing::ValuesIn(RunnableTargets()),
                         NameOfTarget);

}  // namespace
}  // namespace ulpscope
