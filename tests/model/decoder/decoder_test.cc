#include "model/decoder/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/trace/kept_states.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

std::vector<int32_t> Prompt(size_t n, const Weights& weights) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(
        (i * i * 7 + 3) % static_cast<size_t>(weights.config.vocab_size)));
  }
  return tokens;
}

std::vector<double> Values(Matrix<const double> m) {
  return {m.data, m.data + m.rows * m.cols};
}

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

// Logits of all positions, fed in chunks.
std::vector<double> AllLogits(const Weights& weights, const std::string& text,
                              const std::vector<int32_t>& tokens, size_t chunk,
                              size_t threads, Observer* observer = nullptr) {
  Parallel parallel(threads);
  const auto plan = Plan::Parse(text, weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  Decoder decoder(weights, *plan, tokens.size(), parallel);
  std::vector<double> logits;
  for (size_t i = 0; i < tokens.size(); i += chunk) {
    const std::vector<int32_t> part(
        tokens.begin() + static_cast<ptrdiff_t>(i),
        tokens.begin() +
            static_cast<ptrdiff_t>(std::min(i + chunk, tokens.size())));
    EXPECT_THAT(decoder.Forward(part, Logits::kAll, observer), IsOk());
    const std::vector<double> rows = Values(decoder.logits());
    logits.insert(logits.end(), rows.begin(), rows.end());
  }
  return logits;
}

constexpr const char* kPlans[] = {
    "f32",
    "kahan,residual=kahan",
    "torch-bf16",
    "torch-f16",
    "oracle",
    "matmul=dot2,rmsnorm=pairwise,softmax=bf16_acc,rope=f64,residual=f64",
    "matmul=bf16_acc,down_proj@2-3=oracle,rmsnorm=dot2,q_proj@1=pairwise",
    // Keys and values in f64 that other strategies read.
    "k_proj=oracle,rope=oracle,v_proj=oracle,qk=kahan,av=bf16",
    "torch-bf16-sdpa",
    "torch-f16,attention=ggml",
    "attention=fa2(16),attention@2=fa4(0.5),softmax=kahan,av@1=bf16",
    "oracle,attention=splitkv(3),qk@1=f32,softmax@2=bf16_acc,av@3=dot2",
    "kv=f16",
    "vllm-bf16",
    "torch-bf16,kv_k=q8_0,kv_v=q4_0,kv@2=fp8,kv@3=int8",
    "oracle,kv_k=bf16,kv_v=f16",
};

class SameBitsTest
    : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

// 40 positions: more than one panel of keys.
TEST_P(SameBitsTest, HoweverItIsRun) {
  const auto& [model, plan] = GetParam();
  const Weights& weights = LoadedOnce(model);
  const std::vector<int32_t> tokens = Prompt(40, weights);
  hwy::SetSupportedTargetsForTest(0);
  const std::vector<double> expected =
      AllLogits(weights, plan, tokens, tokens.size(), 1);
  for (const double logit : expected) ASSERT_TRUE(std::isfinite(logit));
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_TRUE(
        SameBits(AllLogits(weights, plan, tokens, tokens.size(), 2), expected))
        << "two threads";
    EXPECT_TRUE(SameBits(AllLogits(weights, plan, tokens, 1, 1), expected))
        << "token by token";
    EXPECT_TRUE(SameBits(AllLogits(weights, plan, tokens, 7, 3), expected))
        << "in chunks of 7, three threads";
    KeptStates trace(weights.config);
    EXPECT_TRUE(SameBits(
        AllLogits(weights, plan, tokens, tokens.size(), 2, &trace), expected))
        << "observed";
  }
  hwy::SetSupportedTargetsForTest(0);
}

INSTANTIATE_TEST_SUITE_P(
    Plans, SameBitsTest,
    testing::Combine(testing::Values("synthetic:tiny", "synthetic:tiny-qwen3"),
                     testing::ValuesIn(kPlans)));

// Without dot2 and residual=f64: on sums this short they round as f64 and
// residual=kahan do.
TEST(DecoderTest, PlansDiffer) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = Prompt(8, weights);
  std::vector<std::vector<double>> seen;
  for (const char* plan : {"f32",
                           "matmul=pairwise",
                           "matmul=kahan",
                           "matmul=f64",
                           "matmul=bf16",
                           "matmul=bf16_acc",
                           "rmsnorm=bf16",
                           "softmax=bf16",
                           "elementwise=bf16",
                           "residual=bf16",
                           "matmul=f16",
                           "rmsnorm=f16",
                           "softmax=f16",
                           "elementwise=f16",
                           "residual=f16",
                           "residual=kahan",
                           "attention=sdpa",
                           "attention=fa2(4)",
                           "attention=fa2(8)",
                           "kv=bf16",
                           "kv=f16",
                           "vllm-bf16",
                           "kv=fp8",
                           "kv=int8",
                           "kv=q8_0",
                           "kv=q4_0",
                           "kv_k=f16",
                           "kv_v=f16",
                           "oracle"}) {
    seen.push_back(AllLogits(weights, plan, tokens, 8, 1));
    for (size_t i = 0; i + 1 < seen.size(); ++i) {
      EXPECT_FALSE(SameBits(seen[i], seen.back())) << plan << " and " << i;
    }
  }
}

TEST(DecoderTest, WhatStoresAsComputedIsTheSame) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const std::vector<int32_t> tokens = Prompt(8, weights);
    for (const std::string plan :
         {"f32", "torch-bf16", "oracle", "rope=oracle"}) {
      const std::vector<double> expected =
          AllLogits(weights, plan + ",kv=f32", tokens, 8, 1);
      for (const char* kv : {",kv=f64", ",kv=oracle"}) {
        EXPECT_TRUE(
            SameBits(AllLogits(weights, plan + kv, tokens, 8, 1), expected))
            << plan << kv;
      }
    }
    // Rounded already.
    EXPECT_TRUE(
        SameBits(AllLogits(weights, "torch-bf16", tokens, 8, 1),
                 AllLogits(weights, "torch-bf16,kv=bf16", tokens, 8, 1)));
    EXPECT_TRUE(SameBits(AllLogits(weights, "torch-f16", tokens, 8, 1),
                         AllLogits(weights, "torch-f16,kv=f16", tokens, 8, 1)));
  }
}

TEST(DecoderTest, LastLogitsAreTheLastOfAll) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = Prompt(5, weights);
  const std::vector<double> all = AllLogits(weights, "f32", tokens, 5, 1);
  Parallel parallel;
  Decoder decoder(weights, Plan(weights.layers.size()), 5, parallel);
  ASSERT_THAT(decoder.Forward(tokens, Logits::kLast), IsOk());
  const std::vector<double> last = Values(decoder.logits());
  EXPECT_TRUE(SameBits(
      last, {all.end() - static_cast<ptrdiff_t>(last.size()), all.end()}));
  ASSERT_THAT(decoder.Forward({0}, Logits::kNone),
              StatusIs(absl::StatusCode::kOk));
  EXPECT_EQ(decoder.logits().rows, 0u);
}

TEST(DecoderTest, ResetForgetsTheSequence) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  Parallel parallel;
  Decoder decoder(weights, Plan(weights.layers.size()), 8, parallel);
  ASSERT_THAT(decoder.Forward({3, 5, 7}, Logits::kLast), IsOk());
  const std::vector<double> first = Values(decoder.logits());
  decoder.Reset();
  ASSERT_THAT(decoder.Forward({3, 5, 7}, Logits::kLast), IsOk());
  EXPECT_TRUE(SameBits(Values(decoder.logits()), first));
}

// A stopped pass is as if it had not begun.
TEST(DecoderTest, StopsBetweenLayers) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t num_layers = weights.layers.size();
  Parallel parallel;
  Decoder decoder(weights, Plan(num_layers), 8, parallel);
  ASSERT_THAT(decoder.Forward({3, 5}, Logits::kLast), IsOk());
  ASSERT_THAT(decoder.Forward({7}, Logits::kLast), IsOk());
  const std::vector<double> expected = Values(decoder.logits());
  // Once before each layer, and once before the logits.
  for (size_t allowed = 0; allowed <= num_layers + 1; ++allowed) {
    decoder.Reset();
    decoder.set_stop(nullptr);
    ASSERT_THAT(decoder.Forward({3, 5}, Logits::kLast), IsOk());
    size_t asked = 0;
    decoder.set_stop([&asked, allowed] { return ++asked > allowed; });
    const absl::Status status = decoder.Forward({7}, Logits::kLast);
    if (allowed <= num_layers) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled)) << allowed;
      EXPECT_EQ(decoder.position(), 2u);
      decoder.set_stop(nullptr);
      ASSERT_THAT(decoder.Forward({7}, Logits::kLast), IsOk());
    } else {
      EXPECT_THAT(status, IsOk());
    }
    EXPECT_TRUE(SameBits(Values(decoder.logits()), expected)) << allowed;
  }
}

TEST(DecoderTest, RefusesTokensThatItCannotRun) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  Parallel parallel;
  Decoder decoder(weights, Plan(weights.layers.size()), 32, parallel);
  EXPECT_THAT(decoder.Forward({}, Logits::kLast),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(decoder.Forward({-1}, Logits::kLast),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("-1")));
  const int32_t vocab = static_cast<int32_t>(weights.config.vocab_size);
  EXPECT_THAT(decoder.Forward({0, vocab}, Logits::kLast),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("not in the vocabulary")));
  EXPECT_EQ(decoder.position(), 0u);
  EXPECT_THAT(decoder.Forward(std::vector<int32_t>(33, 0), Logits::kLast),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("capacity of 32")));
  EXPECT_THAT(decoder.Forward(std::vector<int32_t>(32, 0), Logits::kLast),
              IsOk());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// More than there are addresses.
TEST(DecoderMemoryTest, ACacheThatIsTooLargeIsAnError) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  Parallel parallel;
  constexpr size_t kCapacity = size_t{1} << 46;
  Decoder decoder(weights, Plan(weights.layers.size()), kCapacity, parallel);
  EXPECT_THAT(decoder.Forward({1, 2}, Logits::kLast),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("KV cache of 70368744177664 positions")));
  EXPECT_EQ(decoder.position(), 0u);
}
#endif

}  // namespace
}  // namespace ulpscope
