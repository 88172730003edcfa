#include "model/checkpoint/rounded_tensors.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "model/architecture/rounding.h"
#include "model/files/tensor.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/model/decoder/textbook_decoder.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Every number of f16, ascending, infinity included.
std::vector<double> PositiveF16() {
  std::vector<double> all;
  for (uint16_t bits = 0; bits <= 0x7C00; ++bits) {
    all.push_back(hwy::F32FromF16(hwy::float16_t::FromBits(bits)));
  }
  return all;
}

TEST(RoundedToF16Test, EveryNumberOfF16IsItself) {
  for (const double x : PositiveF16()) {
    EXPECT_TRUE(SameBits(RoundedToF16(x), x)) << x;
    EXPECT_TRUE(SameBits(RoundedToF16(-x), -x)) << x;
  }
  EXPECT_TRUE(std::isnan(RoundedToF16(std::nan(""))));
}

// Subnormals and overflow included: half of the last step to 2^16 is infinite.
TEST(RoundedToF16Test, GoesToTheNearestAndHalfwayToEven) {
  std::vector<double> all = PositiveF16();
  all.back() = 65536;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const bool last = i + 2 == all.size();
    const double low = all[i], high = last ? kInfinity : all[i + 1];
    const double halfway = (all[i] + all[i + 1]) / 2;
    EXPECT_EQ(RoundedToF16(halfway), i % 2 == 0 ? low : high);
    EXPECT_EQ(RoundedToF16(std::nextafter(halfway, 0)), low);
    EXPECT_EQ(RoundedToF16(std::nextafter(halfway, kInfinity)), high);
    EXPECT_EQ(RoundedToF16(-std::nextafter(halfway, kInfinity)), -high);
  }
}

TEST(RoundedToBF16Test, IsTheTextbooks) {
  Random random(1);
  for (size_t i = 0; i < 100000; ++i) {
    const double x = std::ldexp(random.Uniform(-1, 1),
                                static_cast<int>(random.Below(290)) - 145);
    EXPECT_TRUE(SameBits(RoundedToBF16(x), Rounded(Format::kBF16, x))) << x;
  }
  EXPECT_EQ(RoundedToBF16(0x1.FFp127), kInfinity);
  EXPECT_EQ(RoundedToBF16(-1e300), -kInfinity);
  EXPECT_TRUE(std::isnan(RoundedToBF16(std::nan(""))));
}

// Tensors of f32, or of f16 and bf16 as their bits say.
class Source : public TensorSource {
 public:
  void Add(const std::string& name, std::vector<int64_t> shape,
           const std::vector<float>& values) {
    Add(name, DType::kF32, std::move(shape), values.data(),
        values.size() * sizeof(float));
  }
  void Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
           const void* data, size_t bytes) {
    auto buffer = NewTensorBuffer(bytes);
    std::memcpy(buffer.get(), data, bytes);
    tensors_[name] = {name, dtype, std::move(shape), buffer.get(), buffer};
  }

  bool Has(absl::string_view name) const override {
    return tensors_.count(std::string(name)) > 0;
  }
  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> /*shape*/) const override {
    const auto found = tensors_.find(std::string(name));
    return found != tensors_.end() ? found->second.bytes() : 0;
  }
  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const auto found = tensors_.find(std::string(name));
    if (found == tensors_.end()) return absl::NotFoundError(name);
    if (found->second.shape !=
        std::vector<int64_t>(shape.begin(), shape.end())) {
      return absl::InvalidArgumentError("shape");
    }
    return found->second;
  }

 private:
  std::map<std::string, Tensor> tensors_;
};

// What a kernel reads of a tensor.
std::vector<double> ValuesOf(const Tensor& tensor) {
  size_t count = 1;
  for (const int64_t size : tensor.shape) count *= static_cast<size_t>(size);
  Parallel parallel;
  std::vector<double> values(count);
  Panels(tensor.dtype, tensor.data, 1, count, parallel)
      .CopyRow(0, values.data());
  return values;
}

Tensor Loaded(Source& source, WeightRounding rounding, const char* name,
              std::vector<int64_t> shape) {
  const auto tensor = RoundedTensors(source, rounding)->Load(name, shape);
  EXPECT_THAT(tensor, IsOk());
  EXPECT_EQ(tensor->name, name);
  EXPECT_EQ(tensor->shape, shape);
  return *tensor;
}

std::vector<float> RandomFloats(size_t n, Random& random) {
  std::vector<float> values(n);
  for (float& value : values) {
    value = static_cast<float>(std::ldexp(
        random.Uniform(-1, 1), static_cast<int>(random.Below(40)) - 22));
  }
  return values;
}

TEST(RoundedTensorsTest, ToBF16AndF16RoundMatricesAndVectors) {
  Random random(2);
  Source source;
  const std::vector<float> matrix = RandomFloats(6 * 33, random);
  const std::vector<float> vector = RandomFloats(5, random);
  source.Add("matrix", {6, 33}, matrix);
  source.Add("vector", {5}, vector);
  for (const auto& [name, values] :
       {std::make_pair("matrix", matrix), {"vector", vector}}) {
    const std::vector<int64_t> shape = values.size() == 5
                                           ? std::vector<int64_t>{5}
                                           : std::vector<int64_t>{6, 33};
    const Tensor bf16 = Loaded(source, WeightRounding::kBF16, name, shape);
    const Tensor f16 = Loaded(source, WeightRounding::kF16, name, shape);
    EXPECT_EQ(bf16.dtype, DType::kBF16);
    EXPECT_EQ(f16.dtype, DType::kF16);
    std::vector<double> in_bf16, in_f16;
    for (const float x : values) {
      in_bf16.push_back(Rounded(Format::kBF16, x));
      in_f16.push_back(TextbookF16(x));
    }
    EXPECT_TRUE(HasBits<double>(ValuesOf(bf16), in_bf16));
    EXPECT_TRUE(HasBits<double>(ValuesOf(f16), in_f16));
  }
}

TEST(RoundedTensorsTest, F16HasSubnormalsAndOverflows) {
  Source source;
  source.Add("edges", {6},
             {65519, 65520, -7e4f, 0x1p-24f, 0x1.8p-25f, -0x1p-25f});
  const Tensor f16 = Loaded(source, WeightRounding::kF16, "edges", {6});
  EXPECT_TRUE(HasBits<double>(
      ValuesOf(f16), {65504, kInfinity, -kInfinity, 0x1p-24, 0x1p-24, -0.0}));
}

TEST(RoundedTensorsTest, WhatIsOfTheFormatStaysAsItIs) {
  const std::vector<uint16_t> bits = {0x3F80, 0x7F80, 0x0001, 0xC049};
  Source source;
  source.Add("x", DType::kBF16, {4}, bits.data(), 8);
  const Tensor same = Loaded(source, WeightRounding::kBF16, "x", {4});
  EXPECT_EQ(std::memcmp(same.data, bits.data(), 8), 0);
  // To f16 from bf16: 1, infinity, 0 and -3.140625.
  const Tensor f16 = Loaded(source, WeightRounding::kF16, "x", {4});
  EXPECT_TRUE(HasBits<double>(ValuesOf(f16), {1, kInfinity, 0, -3.140625}));
}

TEST(RoundedTensorsTest, Q8HasAScalePerBlockOfARow) {
  Random random(3);
  const std::vector<float> values = RandomFloats(3 * 64, random);
  Source source;
  source.Add("matrix", {3, 64}, values);
  const Tensor q8 = Loaded(source, WeightRounding::kQ8_0, "matrix", {3, 64});
  EXPECT_EQ(q8.dtype, DType::kF32);
  std::vector<double> expected;
  for (size_t block = 0; block < 6; ++block) {
    const float* const x = values.data() + block * 32;
    float most = 0;
    for (size_t i = 0; i < 32; ++i) most = std::fmax(most, std::fabs(x[i]));
    const float d = most / 127;
    const float inverse = 1 / d;
    for (size_t i = 0; i < 32; ++i) {
      const double q = std::round(static_cast<double>(x[i] * inverse));
      EXPECT_LE(std::fabs(q), 127);
      expected.push_back(static_cast<float>(q * TextbookF16(d)));
    }
  }
  EXPECT_TRUE(HasBits<double>(ValuesOf(q8), expected));
}

// By hand: the scale is 1, halves go away from zero.
TEST(RoundedTensorsTest, Q8RoundsHalvesAwayFromZero) {
  std::vector<float> values(64);
  values[0] = 127;
  values[1] = 0.5f;
  values[2] = -2.5f;
  values[3] = 2.25f;
  // The second block is zeros: of no scale.
  Source source;
  source.Add("matrix", {1, 64}, values);
  std::vector<double> expected(64);
  expected[0] = 127;
  expected[1] = 1;
  expected[2] = -3;
  expected[3] = 2;
  EXPECT_TRUE(HasBits<double>(
      ValuesOf(Loaded(source, WeightRounding::kQ8_0, "matrix", {1, 64})),
      expected));
}

TEST(RoundedTensorsTest, Q8LeavesVectorsAndPartialBlocks) {
  Random random(4);
  const std::vector<float> values = RandomFloats(32 * 33, random);
  Source source;
  source.Add("vector", {32 * 33}, values);
  source.Add("narrow", {32, 33}, values);
  for (const auto& [name, shape] :
       {std::pair<const char*, std::vector<int64_t>>{"vector", {32 * 33}},
        {"narrow", {32, 33}}}) {
    const std::vector<double> got =
        ValuesOf(Loaded(source, WeightRounding::kQ8_0, name, shape));
    EXPECT_TRUE(
        HasBits<double>(got, std::vector<double>(values.begin(), values.end())))
        << name;
  }
}

TEST(RoundedTensorsTest, SourceDecidesWhatThereIs) {
  Source source;
  source.Add("x", {2}, {1, 2});
  const auto rounded = RoundedTensors(source, WeightRounding::kF16);
  EXPECT_TRUE(rounded->Has("x"));
  EXPECT_FALSE(rounded->Has("y"));
  EXPECT_THAT(rounded->Load("y", {2}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(rounded->Load("x", {3}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ulpscope
