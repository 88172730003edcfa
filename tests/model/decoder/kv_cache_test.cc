#include "model/decoder/kv_cache.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"
#include "tests/kernels/ops/bits.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

constexpr size_t kLayers = 3;

ModelConfig Config(size_t kv_heads, size_t head_dim) {
  ModelConfig config;
  config.num_hidden_layers = kLayers;
  config.num_attention_heads = config.num_key_value_heads =
      static_cast<int64_t>(kv_heads);
  config.head_dim = static_cast<int64_t>(head_dim);
  return config;
}

Plan Parsed(const std::string& text) {
  const auto plan = Plan::Parse(text, kLayers);
  EXPECT_THAT(plan, IsOk());
  return plan.ok() ? *plan : Plan(kLayers);
}

// Element [j][i] by the formula in kernels/ops/panels.h.
double At(const PanelsView& b, size_t j, size_t i) {
  const size_t index =
      j / kPanelWidth * b.panel_stride + i * kPanelWidth + j % kPanelWidth;
  double value;
  Widen(b.dtype, static_cast<const char*>(b.data) + index * DTypeSize(b.dtype),
        1, 1, &value);
  return value;
}

// KV heads, head_dim, positions.
class KvCacheTest
    : public testing::TestWithParam<std::tuple<size_t, size_t, size_t>> {};

TEST_P(KvCacheTest, PanelsHoldWhatWasStored) {
  const auto [heads, dim, positions] = GetParam();
  // Layer 1 has f64 keys, layer 2 f64 values, layer 3 neither.
  KvCache cache(Config(heads, dim), Parsed("rope@1=oracle,v_proj@2=oracle"),
                positions);
  ASSERT_GE(cache.capacity(), positions);

  // [layer - 1][position], all heads; f32 values, which either type holds.
  Random random(5);
  std::vector<std::vector<std::vector<double>>> keys(kLayers), values(kLayers);
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    for (size_t p = 0; p < positions; ++p) {
      for (auto* all : {&keys[layer - 1], &values[layer - 1]}) {
        std::vector<double> row(heads * dim);
        for (double& x : row) {
          x = static_cast<double>(static_cast<float>(random.Gaussian()));
        }
        all->push_back(row);
      }
      cache.Store(layer, p, keys[layer - 1][p].data(),
                  values[layer - 1][p].data());
    }
  }
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    for (size_t h = 0; h < heads; ++h) {
      for (const size_t length : {size_t{1}, positions}) {
        const PanelsView k = cache.Keys(layer, h, length);
        const PanelsView v = cache.Values(layer, h, length);
        EXPECT_EQ(k.dtype, layer == 1 ? DType::kF64 : DType::kF32);
        EXPECT_EQ(v.dtype, layer == 2 ? DType::kF64 : DType::kF32);
        ASSERT_EQ(k.n, length);
        ASSERT_EQ(k.k, dim);
        ASSERT_EQ(v.n, dim);
        ASSERT_EQ(v.k, length);
        for (size_t p = 0; p < length; ++p) {
          for (size_t d = 0; d < dim; ++d) {
            ASSERT_EQ(At(k, p, d), keys[layer - 1][p][h * dim + d]);
            ASSERT_EQ(At(v, d, p), values[layer - 1][p][h * dim + d]);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, KvCacheTest,
                         testing::Combine(testing::Values(1, 3),
                                          testing::Values(2, 32, 40, 64),
                                          testing::Values(1, 31, 32, 33, 70)));

TEST(KvCacheTypeTest, F64IsKeptWholeAndF32Rounded) {
  const double third = 1.0 / 3;
  KvCache cache(Config(1, 2), Parsed("rope=oracle"), 1);
  const std::vector<double> row = {third, -third};
  cache.Store(1, 0, row.data(), row.data());
  EXPECT_EQ(At(cache.Keys(1, 0, 1), 0, 1), -third);
  EXPECT_EQ(At(cache.Values(1, 0, 1), 1, 0),
            static_cast<double>(static_cast<float>(-third)));
}

// Numbers of 16 bits, infinities and NaN, in panels of 16 bits.
TEST(KvCacheTypeTest, SixteenBitsHoldWhatTheyAreGiven) {
  for (const bool f16 : {true, false}) {
    KvCache cache(Config(1, 2), Parsed(f16 ? "kv=f16" : "kv=bf16"), 1);
    for (uint32_t code = 0; code < 0x10000; ++code) {
      const uint16_t bits = static_cast<uint16_t>(code);
      double row[2];
      Widen(f16 ? DType::kF16 : DType::kBF16, &bits, 1, 1, &row[0]);
      row[1] = -row[0];
      cache.Store(1, 0, row, row);
      const PanelsView k = cache.Keys(1, 0, 1);
      const PanelsView v = cache.Values(1, 0, 1);
      ASSERT_EQ(k.dtype, f16 ? DType::kF16 : DType::kBF16);
      ASSERT_EQ(v.dtype, k.dtype);
      ASSERT_TRUE(k.activations && v.activations);
      for (size_t d = 0; d < 2; ++d) {
        ASSERT_TRUE(SameBits(At(k, 0, d), row[d])) << code;
        ASSERT_TRUE(SameBits(At(v, d, 0), row[d])) << code;
      }
    }
  }
}

// What is quantised, and what was rounded before it came here.
TEST(KvCacheTypeTest, TypesAreThoseOfTheStoredFormat) {
  const auto types = [](const std::string& text) {
    const KvCache cache(Config(1, 2), Parsed(text), 1);
    return std::make_pair(cache.Keys(1, 0, 1).dtype,
                          cache.Values(1, 0, 1).dtype);
  };
  const auto both = [](DType dtype) { return std::make_pair(dtype, dtype); };
  for (const char* kv : {"fp8", "int8", "q8_0", "q4_0", "f32", "f64"}) {
    EXPECT_EQ(types(std::string("kv=") + kv), both(DType::kF32)) << kv;
  }
  for (const char* kv : {"fp8", "int8", "q8_0", "q4_0"}) {
    EXPECT_EQ(types(std::string("oracle,kv=") + kv), both(DType::kF32)) << kv;
  }
  EXPECT_EQ(types("oracle,kv=f32"), both(DType::kF64));
  EXPECT_EQ(types("oracle,kv=bf16"), both(DType::kBF16));
  EXPECT_EQ(types("torch-bf16"), both(DType::kF32));
  EXPECT_EQ(types("kv_k=f16,kv_v=bf16"),
            std::make_pair(DType::kF16, DType::kBF16));
}

// MatMul reads whole panels: what is not stored yet must not be a NaN.
TEST(KvCacheTypeTest, WhatIsNotStoredIsZero) {
  KvCache cache(Config(2, 40), Plan(kLayers), 33);
  EXPECT_EQ(cache.capacity(), 64u);
  for (size_t h = 0; h < 2; ++h) {
    for (size_t p = 0; p < 64; ++p) {
      for (size_t d = 0; d < 40; ++d) {
        ASSERT_EQ(At(cache.Keys(kLayers, h, 64), p, d), 0);
      }
      for (size_t d = 0; d < 64; ++d) {  // padded to whole panels
        ASSERT_EQ(At(cache.Values(kLayers, h, 64), d, p), 0);
      }
    }
  }
}

TEST(KvCacheTypeTest, ALaterStoreReplaces) {
  KvCache cache(Config(1, 2), Plan(kLayers), 1);
  const std::vector<double> first = {1, 2}, second = {3, 4};
  cache.Store(2, 0, first.data(), first.data());
  cache.Store(2, 0, second.data(), second.data());
  EXPECT_EQ(At(cache.Keys(2, 0, 1), 0, 1), 4);
  EXPECT_EQ(At(cache.Values(2, 0, 1), 0, 0), 3);
  EXPECT_EQ(At(cache.Keys(1, 0, 1), 0, 1), 0);
}

TEST(KvCacheTypeTest, CapacityForNothingIsStillOnePanel) {
  EXPECT_EQ(KvCache(Config(1, 2), Plan(kLayers), 0).capacity(), kPanelWidth);
}

}  // namespace
}  // namespace ulpscope
