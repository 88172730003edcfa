#include "model/decoder/kv_cache.h"

#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

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
  return b.dtype == DType::kF64 ? static_cast<const double*>(b.data)[index]
                                : static_cast<const float*>(b.data)[index];
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
