#include "kernels/ops/panels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

// Bit patterns that name their place: each is another one.
template <typename Bits>
std::vector<Bits> Numbered(size_t n, size_t k) {
  std::vector<Bits> elements(n * k);
  for (size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<Bits>(i + 1);
  }
  return elements;
}

// Every element is where panels.h says, and the rest is zero.
template <typename Bits>
void ExpectLayout(DType dtype) {
  for (const size_t n : {1, 31, 32, 33, 70}) {
    for (const size_t k : {1, 2, 63, 64, 65, 200}) {
      for (const size_t threads : {1, 3}) {
        SCOPED_TRACE(testing::Message() << DTypeName(dtype) << " " << n << "x"
                                        << k << ", " << threads << " threads");
        const std::vector<Bits> b = Numbered<Bits>(n, k);
        Parallel parallel(threads);
        const Panels panels(dtype, b.data(), n, k, parallel);
        const PanelsView view = panels.view();
        EXPECT_TRUE(view.dtype == dtype);
        EXPECT_EQ(view.n, n);
        EXPECT_EQ(view.k, k);
        const size_t num_panels = (n + 31) / 32;
        ASSERT_GE(view.panel_stride, 32 * k);
        ASSERT_EQ(panels.bytes(),
                  num_panels * view.panel_stride * DTypeSize(dtype));
        const Bits* elements = static_cast<const Bits*>(view.data);
        for (size_t j = 0; j < num_panels * 32; ++j) {
          for (size_t i = 0; i < k; ++i) {
            const Bits expected = j < n ? b[j * k + i] : Bits{0};
            ASSERT_EQ(elements[j / 32 * view.panel_stride + i * 32 + j % 32],
                      expected)
                << "row " << j << ", column " << i;
          }
        }
      }
    }
  }
}

TEST(PanelsTest, HaveTheDocumentedLayout) {
  ExpectLayout<uint16_t>(DType::kBF16);
  ExpectLayout<uint16_t>(DType::kF16);
  ExpectLayout<uint32_t>(DType::kF32);
  ExpectLayout<uint64_t>(DType::kF64);
}

template <typename T, typename Widen>
void ExpectRows(DType dtype, const std::vector<T>& b, Widen widen) {
  constexpr size_t kN = 35, kK = 3;
  ASSERT_EQ(b.size(), kN * kK);
  Parallel parallel;
  const Panels panels(dtype, b.data(), kN, kK, parallel);
  for (size_t j = 0; j < kN; ++j) {
    double row[kK];
    panels.CopyRow(j, row);
    for (size_t i = 0; i < kK; ++i) {
      EXPECT_EQ(row[i], widen(b[j * kK + i])) << DTypeName(dtype) << j;
    }
  }
}

TEST(PanelsTest, CopyRowWidensExactly) {
  std::vector<double> f64;
  std::vector<float> f32;
  std::vector<hwy::float16_t> f16;
  std::vector<hwy::bfloat16_t> bf16;
  for (int i = 0; i < 35 * 3; ++i) {
    const float x = 0.1F * static_cast<float>(i - 50);
    f64.push_back(x / 3.0);
    f32.push_back(x);
    f16.push_back(hwy::F16FromF32(x));
    bf16.push_back(hwy::BF16FromF32(x));
  }
  ExpectRows(DType::kF64, f64, [](double x) { return x; });
  ExpectRows(DType::kF32, f32, [](float x) { return double{x}; });
  ExpectRows(DType::kF16, f16,
             [](hwy::float16_t x) { return double{hwy::F32FromF16(x)}; });
  ExpectRows(DType::kBF16, bf16,
             [](hwy::bfloat16_t x) { return double{hwy::F32FromBF16(x)}; });
}

TEST(PanelsTest, DefaultIsEmpty) {
  const Panels panels;
  EXPECT_EQ(panels.bytes(), 0u);
  EXPECT_EQ(panels.view().data, nullptr);
}

// A tensor of hundreds of megabytes is not one step.
TEST(PanelsTest, WatchSeesRowsOnTheWayAndEndsIt) {
  constexpr size_t kN = 2200, kK = 8192;  // 69 panels of 1 MiB
  const std::vector<float> data(kN * kK, 1.0f);
  Parallel parallel(2);
  std::vector<size_t> seen;
  const auto watch = [&seen](size_t rows) {
    seen.push_back(rows);
    return true;
  };
  ASSERT_THAT(Panels::Pack(DType::kF32, data.data(), kN, kK, parallel, watch),
              IsOk());
  EXPECT_GT(seen.size(), 2u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), kN);
  const size_t whole = seen.size();
  seen.clear();
  EXPECT_THAT(Panels::Pack(DType::kF32, data.data(), kN, kK, parallel,
                           [&](size_t rows) { return watch(rows) && false; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(seen.size(), 1u);
  EXPECT_LT(seen.size(), whole);
}

// More than an address space holds; the data is not read.
TEST(PanelsTest, WithoutMemoryThereIsAnErrorWithTheSize) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers end the process where there is no memory";
#endif
  Parallel serial;
  const float data[] = {1};
  EXPECT_THAT(Panels::Pack(DType::kF32, data, size_t{1} << 40, 1 << 10, serial),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("4503599627370496 bytes")));
  const auto one = Panels::Pack(DType::kF32, data, 1, 1, serial);
  ASSERT_THAT(one, IsOk());
  double row[1];
  one->CopyRow(0, row);
  EXPECT_EQ(row[0], 1.0);
}

}  // namespace
}  // namespace ulpscope
