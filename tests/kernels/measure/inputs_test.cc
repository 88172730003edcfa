#include "tests/kernels/measure/inputs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

constexpr double kU = 0x1p-24;
constexpr Operands kAllOperands[] = {Operands::kF32, Operands::kBF16,
                                     Operands::kF16};
constexpr size_t kOddSizes[] = {1, 2, 3, 5, 16, 31, 63, 64, 65, 1000};

const InputFamily& Family(absl::string_view name) {
  for (const InputFamily& family : InputFamilies()) {
    if (family.name == name) return family;
  }
  ADD_FAILURE() << "no family " << name;
  return InputFamilies()[0];
}

struct Vectors {
  std::vector<float> a, b;
};

Vectors Filled(const InputFamily& family, Operands operands, uint64_t seed,
               size_t n) {
  Vectors vectors{std::vector<float>(n), std::vector<float>(n)};
  FillDot(family, operands, seed, absl::MakeSpan(vectors.a),
          absl::MakeSpan(vectors.b));
  return vectors;
}

uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

bool IsBf16(float x) { return (BitsOf(x) & 0xFFFF) == 0; }

// 11 bits down to 2^-14, then multiples of 2^-24.
bool IsF16(float x) {
  return (BitsOf(x) & 0x1FFF) == 0 && std::fabs(x) <= 65504 &&
         x * 0x1p24F == std::trunc(x * 0x1p24F);
}

// FNV-1a of the bits.
uint64_t HashOf(absl::Span<const float> x, uint64_t hash = 0xCBF29CE484222325) {
  for (const float value : x) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((BitsOf(value) >> shift) & 0xFF)) * 0x100000001B3;
    }
  }
  return hash;
}

// The textbook loops, in f32.
float FmaInOrder(absl::Span<const float> a, absl::Span<const float> b) {
  float sum = 0.0F;
  for (size_t i = 0; i < a.size(); ++i) sum = std::fma(a[i], b[i], sum);
  return sum;
}

float MultiplyThenAddInOrder(absl::Span<const float> a,
                             absl::Span<const float> b) {
  float sum = 0.0F;
  for (size_t i = 0; i < a.size(); ++i) {
    const float product = a[i] * b[i];
    sum += product;
  }
  return sum;
}

// Sums of 64, added as a balanced tree. The number of blocks is a power of two.
float PairwiseBy64(absl::Span<const float> a, absl::Span<const float> b) {
  if (a.size() <= 64) return FmaInOrder(a, b);
  const size_t half = a.size() / 2;
  return PairwiseBy64(a.first(half), b.first(half)) +
         PairwiseBy64(a.subspan(half), b.subspan(half));
}

float In16Lanes(absl::Span<const float> a, absl::Span<const float> b) {
  float lanes[16] = {};
  for (size_t i = 0; i < a.size(); ++i) {
    lanes[i % 16] = std::fma(a[i], b[i], lanes[i % 16]);
  }
  float sum = 0.0F;
  for (const float lane : lanes) sum += lane;
  return sum;
}

double ErrorInUnits(float result, absl::Span<const float> a,
                    absl::Span<const float> b) {
  return std::fabs(ExactDot(a, b).ErrorOf(result)) / ExactAbsDot(a, b).Round() /
         kU;
}

// Reference values of splitmix64.c by Sebastiano Vigna.
TEST(RandomTest, IsSplitMix64) {
  Random random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
  EXPECT_EQ(random.Next(), 4593380528125082431u);
  EXPECT_EQ(random.Next(), 16408922859458223821u);
}

TEST(RandomTest, GaussianHasMeanZeroAndVarianceOne) {
  Random random(1);
  constexpr int kN = 1 << 16;
  ExactSum sum, squares;
  for (int i = 0; i < kN; ++i) {
    const double x = random.Gaussian();
    sum.Add(x);
    squares.AddProduct(x, x);
  }
  // Five standard deviations: 1 / sqrt(n), and below sqrt(2 / n) for squares.
  EXPECT_NEAR(sum.Round() / kN, 0.0, 5.0 / std::sqrt(kN));
  EXPECT_NEAR(squares.Round() / kN, 1.0, 5.0 * std::sqrt(2.0 / kN));
}

TEST(InputsTest, NamesAreUnique) {
  std::vector<absl::string_view> names;
  for (const InputFamily& family : InputFamilies())
    names.push_back(family.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(names.size(), 13u);
}

TEST(InputsTest, ProductsNeitherOverflowNorUnderflow) {
  for (const InputFamily& family : InputFamilies()) {
    for (const Operands operands : kAllOperands) {
      for (const size_t n : kOddSizes) {
        for (uint64_t seed = 0; seed < 5; ++seed) {
          const Vectors v = Filled(family, operands, seed, n);
          for (size_t i = 0; i < n; ++i) {
            ASSERT_TRUE(std::isfinite(v.a[i]) && std::isfinite(v.b[i]));
            const double product = std::fabs(double{v.a[i]} * v.b[i]);
            ASSERT_TRUE(product == 0.0 ||
                        (product >= 0x1p-100 && product <= 0x1p100))
                << family.name << " n=" << n << " i=" << i << ": " << product;
          }
        }
      }
    }
  }
}

TEST(InputsTest, Bf16OperandsAreBf16AndOthersAreNot) {
  for (const InputFamily& family : InputFamilies()) {
    const Vectors bf16 = Filled(family, Operands::kBF16, 3, 500);
    EXPECT_TRUE(std::all_of(bf16.a.begin(), bf16.a.end(), IsBf16));
    EXPECT_TRUE(std::all_of(bf16.b.begin(), bf16.b.end(), IsBf16));
    const Vectors f32 = Filled(family, Operands::kF32, 3, 500);
    // 1 in 2^16 numbers is a bf16 by chance, and 1 in 2^13 an f16.
    for (const auto is : {&IsBf16, &IsF16}) {
      EXPECT_LT(std::count_if(f32.a.begin(), f32.a.end(), is), 5);
      EXPECT_LT(std::count_if(f32.b.begin(), f32.b.end(), is), 5);
    }
  }
}

TEST(InputsTest, F16OperandsAreF16) {
  for (const InputFamily& family : InputFamilies()) {
    for (const size_t n : {1, 2, 3, 17, 1000, 4097, 16385, 1 << 15}) {
      for (uint64_t seed = 0; seed < 3; ++seed) {
        const Vectors v = Filled(family, Operands::kF16, seed, n);
        EXPECT_TRUE(std::all_of(v.a.begin(), v.a.end(), IsF16)) << family.name;
        EXPECT_TRUE(std::all_of(v.b.begin(), v.b.end(), IsF16)) << family.name;
        // They have what bf16 lacks.
        if (n < 1000) continue;
        EXPECT_LT(std::count_if(v.a.begin(), v.a.end(), IsBf16),
                  static_cast<ptrdiff_t>(n / 4))
            << family.name;
      }
    }
  }
}

TEST(InputsTest, SeedsDiffer) {
  for (const InputFamily& family : InputFamilies()) {
    EXPECT_NE(Filled(family, Operands::kF32, 1, 20).a,
              Filled(family, Operands::kF32, 2, 20).a)
        << family.name;
  }
}

TEST(InputsTest, SwampedTermsAreAllLostInOrder) {
  for (const Operands operands : kAllOperands) {
    for (const size_t n : {2, 5, 64, 4096, 1 << 18}) {
      for (uint64_t seed = 0; seed < 3; ++seed) {
        const Vectors v = Filled(Family("swamped"), operands, seed, n);
        const float first = v.a[0] * v.b[0];
        EXPECT_EQ(FmaInOrder(v.a, v.b), first);
        EXPECT_EQ(MultiplyThenAddInOrder(v.a, v.b), first);
        // Rounding the first product may give back half a spacing: u.
        EXPECT_GE(ErrorInUnits(first, v.a, v.b), (n - 1.0) / 4.0 - 1.0);
        double f64 = 0.0;
        for (size_t i = 0; i < n; ++i) f64 += double{v.a[i]} * v.b[i];
        EXPECT_LE(ErrorInUnits(static_cast<float>(f64), v.a, v.b),
                  1.0 + static_cast<double>(n) * 0x1p-29 / (1.0 - 0x1p-10));
      }
    }
  }
}

TEST(InputsTest, SwampedTermsAreLostUpToTheLongestSum) {
  const size_t n = size_t{1} << 22;
  const Vectors v = Filled(Family("swamped"), Operands::kF32, 1, n);
  EXPECT_GE(ErrorInUnits(FmaInOrder(v.a, v.b), v.a, v.b), (n - 1) / 4.0);
}

TEST(InputsTest, SwampedTermsAreLostByLanesInASixteenth) {
  for (const Operands operands : kAllOperands) {
    const size_t n = 4096;
    const Vectors v = Filled(Family("swamped"), operands, 1, n);
    // Adding the lanes rounds 15 times more.
    EXPECT_GE(ErrorInUnits(In16Lanes(v.a, v.b), v.a, v.b),
              (n / 16.0 - 1.0) / 4.0 - 15.0);
  }
}

TEST(InputsTest, SwampedBlocksBreakSumsByBlocks) {
  for (const Operands operands : kAllOperands) {
    for (const size_t n : {64, 128, 4096, 1 << 16}) {
      const Vectors v = Filled(Family("swamped_blocks"), operands, 1, n);
      // The loss is above 0.46 u per term; the tree rounds log2(n / 64) times,
      // the first product once.
      const double roundings = std::log2(n / 64.0) + 1.0;
      EXPECT_GE(ErrorInUnits(PairwiseBy64(v.a, v.b), v.a, v.b),
                63 * 0.46 - roundings);
      ExactSum blocks;
      for (size_t i = 0; i < n; i += 64) {
        blocks.Add(FmaInOrder(absl::MakeConstSpan(v.a).subspan(i, 64),
                              absl::MakeConstSpan(v.b).subspan(i, 64)));
      }
      EXPECT_GE(ErrorInUnits(blocks.RoundToFloat(), v.a, v.b), 63 / 4.0);
    }
  }
}

// Why there are families: on these a faulty sum still looks good.
TEST(InputsTest, GaussianHidesWhatSwampedShows) {
  const size_t n = 4096;
  const Vectors v = Filled(Family("gaussian"), Operands::kF32, 1, n);
  EXPECT_LT(ErrorInUnits(FmaInOrder(v.a, v.b), v.a, v.b), 16.0);
}

TEST(InputsTest, CancellingPairsCancel) {
  for (const size_t n : {2, 3, 4, 65, 1000, 4096}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Vectors f32 = Filled(Family("cancelling"), Operands::kF32, seed, n);
      EXPECT_GT(ConditionNumber(f32.a, f32.b), 0x1p21) << n << " " << seed;
      const Vectors bf16 =
          Filled(Family("cancelling"), Operands::kBF16, seed, n);
      EXPECT_GT(ConditionNumber(bf16.a, bf16.b), 0x1p6) << n << " " << seed;
      const Vectors f16 = Filled(Family("cancelling"), Operands::kF16, seed, n);
      EXPECT_GT(ConditionNumber(f16.a, f16.b), 0x1p9) << n << " " << seed;
    }
  }
}

TEST(InputsTest, OneChannelIsAnOutlier) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Vectors v = Filled(Family("outlier_channel"), Operands::kF32, seed, 1000);
    for (float& value : v.a) value = std::fabs(value);
    std::sort(v.a.begin(), v.a.end());
    EXPECT_GE(v.a.back(), 800.0F);
    EXPECT_LT(v.a[998], 6.0F);  // the range of Random::Gaussian
  }
}

TEST(InputsTest, ConditionNumberIsTheOneAskedFor) {
  for (const InputFamily& family : InputFamilies()) {
    if (family.condition == 0.0) continue;
    const double asked = std::max(2.0, family.condition);
    for (const Operands operands : kAllOperands) {
      for (const size_t n : {16, 17, 31, 64, 1000, 4096}) {
        for (uint64_t seed = 0; seed < 10; ++seed) {
          const Vectors v = Filled(family, operands, seed, n);
          const double condition = ConditionNumber(v.a, v.b);
          EXPECT_GE(condition, asked / 2.0) << family.name << " n=" << n;
          EXPECT_LE(condition, asked * 2.0) << family.name << " n=" << n;
        }
      }
    }
  }
}

TEST(InputsTest, IllConditionedSumsHaveNoCorrectBitInF32) {
  const Vectors v = Filled(Family("condition_1e12"), Operands::kF32, 1, 1000);
  const double exact = ExactDot(v.a, v.b).Round();
  EXPECT_GT(std::fabs(FmaInOrder(v.a, v.b) - exact), std::fabs(exact));
}

const RowFamily& Row(absl::Span<const RowFamily> families,
                     absl::string_view name) {
  for (const RowFamily& family : families) {
    if (family.name == name) return family;
  }
  ADD_FAILURE() << "no row family " << name;
  return families[0];
}

TEST(InputsTest, RowsAreFiniteOfAnySizeAndFormat) {
  for (const auto families : {NormRowFamilies(), SoftmaxRowFamilies()}) {
    for (const RowFamily& family : families) {
      for (const size_t n : kOddSizes) {
        std::vector<float> x(n, NAN);
        FillRow(family, Operands::kF32, 1, absl::MakeSpan(x));
        for (const float value : x) ASSERT_TRUE(std::isfinite(value));
        FillRow(family, Operands::kBF16, 1, absl::MakeSpan(x));
        EXPECT_TRUE(std::all_of(x.begin(), x.end(), IsBf16)) << family.name;
        FillRow(family, Operands::kF16, 1, absl::MakeSpan(x));
        EXPECT_TRUE(std::all_of(x.begin(), x.end(), IsF16)) << family.name;
      }
    }
  }
}

TEST(InputsTest, SwampedSquaresAreLost) {
  for (const Operands operands : kAllOperands) {
    std::vector<float> x(4096);
    FillRow(Row(NormRowFamilies(), "swamped"), operands, 1, absl::MakeSpan(x));
    EXPECT_GE(ErrorInUnits(FmaInOrder(x, x), x, x), 4095 / 4.0 - 1.0);
    FillRow(Row(NormRowFamilies(), "swamped_blocks"), operands, 1,
            absl::MakeSpan(x));
    EXPECT_GE(ErrorInUnits(PairwiseBy64(x, x), x, x), 63 * 0.46 - 7.0);
  }
}

TEST(InputsTest, SwampedExponentialsAreLost) {
  for (const Operands operands : kAllOperands) {
    std::vector<float> logits(4096);
    FillRow(Row(SoftmaxRowFamilies(), "swamped"), operands, 1,
            absl::MakeSpan(logits));
    std::vector<float> terms;
    for (const float logit : logits) terms.push_back(std::exp(logit));
    const std::vector<float> ones(logits.size(), 1.0F);
    EXPECT_EQ(FmaInOrder(terms, ones), 1.0F);
    EXPECT_GE(ErrorInUnits(1.0F, terms, ones), 4095 / 4.0);
  }
}

struct GoldenBits {
  absl::string_view name;
  uint64_t of[3];  // as kAllOperands
};

constexpr GoldenBits kGoldenDots[] = {
    {"gaussian", {0x8F408B0EEAA7597E, 0x0E3C241763F61526, 0x10B682C9647F7A1C}},
    {"positive", {0x75C8D4A8E16C2BF6, 0xCDC20C11C10AE6DB, 0xB1DE8D665A4190C8}},
    {"swamped", {0xEB90C8DAE0073F9D, 0xE5F2BAF57F333C34, 0xA471304A13B34821}},
    {"swamped_blocks",
     {0x7F130B2EB7DA9DCE, 0x938B680B53CEE8FA, 0x2C30FDE40813BFF6}},
    {"cancelling",
     {0xF2E582AAEDAD1B96, 0x43545CB4C6CA39D3, 0xBD8C83DFBFA1E296}},
    {"outlier_channel",
     {0x24E4337209F5E079, 0x5BFE98DF1041F564, 0x28B058FDD947A853}},
    {"condition_1e0",
     {0x5E18896B16E3EAC2, 0xC8FA31BC11D8F260, 0xC5A8BCC13F4DB113}},
    {"condition_1e2",
     {0x0BB4D07269AD7F11, 0xC1D7710561981DB4, 0x3EDDEE571DFE1B66}},
    {"condition_1e4",
     {0x358899A1E2B506D3, 0xA297976311337952, 0x60C6A03F50ED3DB8}},
    {"condition_1e6",
     {0x4F26FF1229042425, 0xD1284B03EE090929, 0xD1BA11ABC977F4F9}},
    {"condition_1e8",
     {0xB70E4DB8C5D8752B, 0xEAF5114CEF553E4A, 0x14B77A46DD125773}},
    {"condition_1e10",
     {0xD10B1869455E6CC6, 0x573CF7ECBAFC402E, 0xA41786785F077D7B}},
    {"condition_1e12",
     {0x81EB0D88A79F845C, 0xB9D309BC67D2EF25, 0xC4F18DBC4C7C37A1}},
};

constexpr GoldenBits kGoldenRows[] = {
    {"gaussian", {0x19CA52B13900208E, 0x4DD47FA7D0CC11C1, 0x3D53D37C017485F5}},
    {"outlier_channel",
     {0x8A7B38A1C7785C72, 0xB90276A87DCB2C19, 0xAF28A0DAC3EC52FA}},
    {"swamped", {0xE510FF384DD40075, 0x6B29B0D35DFCC8E9, 0x91FD558CC0E9A7B5}},
    {"swamped_blocks",
     {0xABA3AA11FF044F0D, 0x21C057BEA759311E, 0x282EE7C62422C597}},
    {"gaussian", {0x460F79ED289F28FD, 0x83CD4BBE3718BD65, 0xCB16B68F6204A9BA}},
    {"equal", {0x0904F569F55C8085, 0x3C8E6EA914640BC5, 0x3C8E6EA914640BC5}},
    {"wide", {0x0E99FC2C43CE8586, 0x52F8D5F41F929A5E, 0x27E29C5969F12787}},
    {"swamped", {0xAD6969934AC51A74, 0x4A6B48643F32F272, 0x87CBB548C85A6F88}},
};

TEST(InputsTest, BitsAreThoseOfEveryMachine) {
  ASSERT_EQ(std::size(kGoldenDots), InputFamilies().size());
  for (const GoldenBits& golden : kGoldenDots) {
    for (size_t i = 0; i < std::size(kAllOperands); ++i) {
      const Vectors v = Filled(Family(golden.name), kAllOperands[i], 42, 100);
      EXPECT_EQ(HashOf(v.b, HashOf(v.a)), golden.of[i]) << golden.name;
    }
  }
  size_t row = 0;
  for (const auto families : {NormRowFamilies(), SoftmaxRowFamilies()}) {
    for (const RowFamily& family : families) {
      ASSERT_LT(row, std::size(kGoldenRows));
      const GoldenBits& golden = kGoldenRows[row++];
      EXPECT_EQ(family.name, golden.name);
      for (size_t i = 0; i < std::size(kAllOperands); ++i) {
        std::vector<float> x(100);
        FillRow(family, kAllOperands[i], 42, absl::MakeSpan(x));
        EXPECT_EQ(HashOf(x), golden.of[i]) << golden.name;
      }
    }
  }
}

}  // namespace
}  // namespace ulpscope
