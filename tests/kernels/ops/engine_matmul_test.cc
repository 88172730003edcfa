#include "kernels/ops/engine_matmul.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/engine_formats.h"
#include "tests/kernels/strategy/engine_inputs.h"
#include "tests/kernels/strategy/engine_models.h"
#include "tests/kernels/strategy/engine_quantizers.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

namespace models = engine_models;
using models::ValueMatrix;
using models::Values;

// A row of A times row j of B, before the result is rounded; whether B is made
// of activations.
using Model = std::function<double(Values, ValueMatrix, size_t, bool)>;

Values RowOf(ValueMatrix b, size_t j) { return {b.Row(j), b.cols}; }

// A model that needs no more of B than the row.
Model OfRows(double (*dot)(Values, Values)) {
  return [dot](Values a, ValueMatrix b, size_t j, bool) {
    return dot(a, RowOf(b, j));
  };
}

Model OfCore(const models::TensorCore& core,
             const models::FloatFormat& format) {
  return [core, format](Values a, ValueMatrix b, size_t j, bool) {
    return models::TensorCoreDot(core, format, a, RowOf(b, j));
  };
}

Model OfScaledRows(const models::TensorCore& core) {
  return [core](Values a, ValueMatrix b, size_t j, bool) {
    return models::Fp8RowScaledDot(core, models::QuantizeFp8(a, a.size()),
                                   models::QuantizeFp8(RowOf(b, j), b.cols));
  };
}

double Fp8H100(Values a, ValueMatrix b, size_t j, bool activations) {
  if (!activations) return models::Fp8H100(a, b, j);
  return models::Fp8PromotedDot(models::QuantizeFp8(a),
                                models::QuantizeFp8(RowOf(b, j)));
}

double NvFp4(Values a, ValueMatrix b, size_t j, bool activations) {
  if (!activations) return models::NvFp4(a, b, j);
  return models::NvFp4(a, {b.Row(j), 1, b.cols}, 0);
}

double Bf16Fma(Values a, Values b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum = std::fma(static_cast<float>(Rounded(Format::kBF16, a[i])),
                   static_cast<float>(Rounded(Format::kBF16, b[i])), sum);
  }
  return sum;
}

double F16Accumulated(Values a, Values b) {
  return models::F16AccumulatedDot(Rounded(Format::kF16, a),
                                   Rounded(Format::kF16, b));
}

double F32Fma(Values a, Values b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum = std::fma(static_cast<float>(a[i]), static_cast<float>(b[i]), sum);
  }
  return sum;
}

// To 10 fraction bits, ties away from zero, by the definition.
double ToTf32(double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), models::kTf32.least_exponent);
  const double spacing = std::ldexp(1.0, exponent - 10);
  return std::copysign(std::round(std::fabs(x) / spacing) * spacing, x);
}

double Tf32Fma(Values a, Values b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum = std::fma(static_cast<float>(ToTf32(a[i])),
                   static_cast<float>(ToTf32(b[i])), sum);
  }
  return sum;
}

struct Engine {
  absl::string_view name;
  models::FloatFormat inputs;  // what inputs are made for
  Model model;
  uint64_t seed = 0;  // of results that are rounded at random
};

Model SplitK4(const models::FloatFormat& partial) {
  return [partial](Values a, ValueMatrix b, size_t j, bool) {
    return models::SplitK(4, partial, a, RowOf(b, j), &Bf16Fma);
  };
}

const std::vector<Engine>& Engines() {
  static const auto& engines = *new std::vector<Engine>{
      {"f16_acc", models::kF16, OfRows(&F16Accumulated)},
      {"splitk4", models::kBf16, SplitK4(models::kF32)},
      {"splitk4_bf16", models::kBf16, SplitK4(models::kBf16)},
      {"bf16_sr1", models::kBf16, OfRows(&Bf16Fma), 1},
      {"bf16_sr2", models::kBf16, OfRows(&Bf16Fma), 2},
      {"bf16_sr3", models::kBf16, OfRows(&Bf16Fma), 3},
      {"bf16_sr4", models::kBf16, OfRows(&Bf16Fma), 4},
      {"tc_h100", models::kBf16, OfCore(models::kH100, models::kBf16)},
      {"tc_h100_f16", models::kF16, OfCore(models::kH100, models::kF16)},
      {"tc_a100", models::kBf16, OfCore(models::kA100, models::kBf16)},
      {"tc_v100", models::kF16, OfCore(models::kV100, models::kF16)},
      {"tf32", models::kTf32, OfRows(&models::Tf32Dot)},
      {"tf32_fma", models::kTf32, OfRows(&Tf32Fma)},
      {"fp8_h100", models::kE4m3, &Fp8H100},
      {"fp8_h100_fast", models::kE4m3, OfScaledRows(models::kH100Fp8)},
      {"fp8_b200", models::kE4m3, OfScaledRows(models::kB200Fp8)},
      {"mxfp8", models::kE4m3, OfRows(&models::MxFp8)},
      {"mxfp4", models::kE2m1, OfRows(&models::MxFp4)},
      {"nvfp4", models::kE2m1, &NvFp4},
      {"int8", models::kE4m3, OfRows(&models::Int8)},
      // Of f32 weights; the rest is in ggml_matmul_test.cc.
      {"ggml", models::kTf32, OfRows(&F32Fma)},
  };
  return engines;
}

const Engine* FindEngine(absl::string_view name) {
  for (const Engine& engine : Engines()) {
    if (engine.name == name) return &engine;
  }
  return nullptr;
}

TEST(EngineModelTest, EveryEngineHasOne) {
  size_t engines = 0;
  for (const StrategyInfo& info : Strategies()) {
    if (info.engine == nullptr) continue;
    ++engines;
    EXPECT_NE(FindEngine(info.name), nullptr) << info.name;
    EXPECT_TRUE(info.fixed_bits) << info.name;
    EXPECT_NE(info.kernels & KernelBit(Kernel::kMatMul), 0u) << info.name;
  }
  EXPECT_EQ(engines, Engines().size());
}

// Rows of A and B, pair by pair a family's operands.
struct Operands {
  size_t m, n, k;
  std::vector<double> a, b;

  Operands(const models::EngineFamily& family,
           const models::FloatFormat& format, size_t m_in, size_t n_in,
           size_t k_in, uint64_t seed)
      : m(m_in), n(n_in), k(k_in) {
    for (size_t row = 0; row < std::max(m, n); ++row) {
      const models::EngineInputs inputs =
          models::MakeEngineInputs(family, format, k, seed * 1000 + row);
      if (row < m) a.insert(a.end(), inputs.a.begin(), inputs.a.end());
      if (row < n) b.insert(b.end(), inputs.b.begin(), inputs.b.end());
    }
  }

  Values A(size_t r) const { return absl::MakeConstSpan(a).subspan(r * k, k); }
  ValueMatrix B() const { return {b.data(), n, k}; }
};

class EngineMatMulTest : public KernelTest {
 protected:
  static std::vector<double> Expected(const Operands& operands,
                                      bool activations, const double* bias,
                                      double scale) {
    const Engine& engine = *FindEngine(strategy().name());
    const auto result = [&](float x) {
      if (engine.seed == 0) return Rounded(info().result, x);
      uint32_t bits;
      std::memcpy(&bits, &x, sizeof(bits));
      return models::RoundStochasticallyToBf16(x, engine.seed, {bits, 0, 0, 0});
    };
    std::vector<double> c;
    for (size_t r = 0; r < operands.m; ++r) {
      for (size_t j = 0; j < operands.n; ++j) {
        float value = static_cast<float>(
            engine.model(operands.A(r), operands.B(), j, activations));
        if (bias != nullptr) {
          value += static_cast<float>(Rounded(info().operand, bias[j]));
        }
        if (scale != 1) {
          value = static_cast<float>(result(value)) * static_cast<float>(scale);
        }
        c.push_back(result(value));
      }
    }
    return c;
  }

  static std::vector<double> Computed(const Operands& operands,
                                      bool activations, const double* bias,
                                      double scale, size_t threads = 1) {
    Parallel parallel(threads);
    const Panels panels(DType::kF64, operands.b.data(), operands.n, operands.k,
                        parallel);
    std::vector<double> c(operands.m * operands.n);
    MatMulArgs args;
    args.a = {operands.a.data(), operands.m, operands.k};
    args.b = panels.view();
    args.b.activations = activations;
    args.bias = bias;
    args.scale = scale;
    args.c = {c.data(), operands.m, operands.n};
    MatMul(strategy(), args, parallel);
    return c;
  }
};

TEST_P(EngineMatMulTest, HasTheModelsBits) {
  const Engine& engine = *FindEngine(strategy().name());
  for (const models::EngineFamily& family : models::EngineFamilies()) {
    for (const size_t k : {1, 3, 16, 33, 64, 130, 300}) {
      const Operands operands(family, engine.inputs, 3, 9, k, k);
      for (const bool activations : {false, true}) {
        ASSERT_TRUE(
            HasBits<double>(Computed(operands, activations, nullptr, 1),
                            Expected(operands, activations, nullptr, 1)))
            << family.name << " k=" << k << " activations=" << activations;
      }
    }
  }
}

// Of operands that have more bits than the engine takes: they are rounded, ties
// away from zero as well.
TEST_P(EngineMatMulTest, RoundsOperandsToTf32) {
  if (strategy().name() != "tf32_fma") GTEST_SKIP() << "of tf32_fma";
  for (const models::EngineFamily& family : models::EngineFamilies()) {
    Operands operands(family, models::kF32, 3, 9, 70, 5);
    operands.a[1] = 1 + 0x1p-11;  // a tie
    operands.a[2] = -(1 + 0x3p-11);
    ASSERT_TRUE(HasBits<double>(Computed(operands, false, nullptr, 1),
                                Expected(operands, false, nullptr, 1)))
        << family.name;
  }
}

TEST_P(EngineMatMulTest, ShapesBiasesScalesAndThreads) {
  const Engine& engine = *FindEngine(strategy().name());
  const models::EngineFamily& gaussian = models::EngineFamilies()[0];
  Random random(1);
  for (const size_t m : {1, 2, 5, 33}) {
    for (const size_t n : {1, 31, 64, 161}) {
      const Operands operands(gaussian, engine.inputs, m, n, 96, m * 100 + n);
      std::vector<double> bias(n);
      for (double& value : bias) value = random.Gaussian();
      const std::vector<double> expected =
          Expected(operands, false, bias.data(), 0.3);
      for (const size_t threads : {1, 3}) {
        ASSERT_TRUE(HasBits<double>(
            Computed(operands, false, bias.data(), 0.3, threads), expected))
            << m << " x " << n << ", " << threads << " threads";
      }
    }
  }
}

// Lockstep computes B in parts of whole tiles: scales that are shared, or are
// of the whole tensor, are the whole's.
TEST_P(EngineMatMulTest, PartsOfBHaveTheBitsOfTheWhole) {
  constexpr size_t kM = 2, kN = 300, kPart = 128;
  Operands operands(models::EngineFamilies()[0],
                    FindEngine(strategy().name())->inputs, kM, kN, 160, 4);
  operands.b[5] *= 8;  // the largest is in the first part alone
  const std::vector<double> whole = Computed(operands, false, nullptr, 1);
  Parallel parallel;
  const Panels panels(DType::kF64, operands.b.data(), kN, operands.k, parallel);
  std::vector<double> c(kM * kN);
  for (size_t first = 0; first < kN; first += kPart) {
    MatMulArgs args;
    args.a = {operands.a.data(), kM, operands.k};
    args.b = panels.view();
    args.b.data = static_cast<const unsigned char*>(args.b.data) +
                  first / kPanelWidth * args.b.panel_bytes();
    args.b.n = std::min(kPart, kN - first);
    args.c = {c.data() + first, kM, args.b.n, kN};
    MatMul(strategy(), args, parallel);
  }
  EXPECT_TRUE(HasBits<double>(c, whole));
}

// Whatever is in a row, the others' results are what they are without it.
TEST_P(EngineMatMulTest, NansAndInfinitiesStayInTheirRows) {
  const Engine& engine = *FindEngine(strategy().name());
  for (const double special : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Operands operands(models::EngineFamilies()[0], engine.inputs, 6, 40, 70, 3);
    const std::vector<double> before = Computed(operands, true, nullptr, 1);
    operands.a[2 * 70 + 20] = special;
    operands.b[33 * 70 + 69] = special;
    const std::vector<double> after = Computed(operands, true, nullptr, 1);
    for (size_t r = 0; r < 6; ++r) {
      for (size_t j = 0; j < 40; ++j) {
        const double x = after[r * 40 + j];
        if (r == 2 || j == 33) {
          EXPECT_FALSE(std::isfinite(x)) << r << ", " << j;
        } else {
          EXPECT_EQ(x, before[r * 40 + j]);
        }
      }
    }
  }
}

// What the quantiser of an engine makes of a row, as f64, which hold it
// exactly.
std::vector<double> Dequantized(absl::string_view engine, Values x) {
  const auto scaled = [&](const std::vector<double>& values,
                          const std::vector<double>& scales, size_t block,
                          double outer) {
    std::vector<double> result;
    for (size_t i = 0; i < values.size(); ++i) {
      result.push_back(values[i] * scales[i / block] * outer);
    }
    return result;
  };
  if (engine == "fp8_h100" || engine == "fp8_h100_fast" ||
      engine == "fp8_b200") {
    const models::Fp8Row row =
        models::QuantizeFp8(x, engine == "fp8_h100" ? 128 : x.size());
    return scaled(row.values, row.scales, row.block, 1);
  }
  if (engine == "mxfp8" || engine == "mxfp4") {
    const models::MxRow row =
        engine == "mxfp8" ? models::QuantizeMxFp8(x) : models::QuantizeMxFp4(x);
    return scaled(row.values, row.scales, 32, 1);
  }
  if (engine == "nvfp4") {
    const models::NvFp4Row row =
        models::QuantizeNvFp4(x, models::NvFp4Global({x.data(), 1, x.size()}));
    return scaled(row.values, row.scales, 16, row.global);
  }
  if (engine == "int8") {
    const models::Int8Row row = models::QuantizeInt8(x);
    const std::vector<double> values(row.values.begin(), row.values.end());
    return scaled(values, {row.scale}, x.size(), 1);
  }
  return {x.begin(), x.end()};
}

SumTerms TermsOf(const std::vector<double>& a, const std::vector<double>& b) {
  SumTerms terms;
  terms.n = a.size();
  terms.abs_result = std::fabs(ExactDot(a, b).Round());
  terms.abs_terms = ExactAbsDot(a, b).Round();
  return terms;
}

// Against the exact sum of the quantised operands' products.
TEST_P(EngineMatMulTest, StaysWithinItsBound) {
  const Engine& engine = *FindEngine(strategy().name());
  for (const models::EngineFamily& family : models::EngineFamilies()) {
    // Those without overflow or underflow.
    if (family.name != "gaussian" && family.name != "swamped" &&
        family.name != "cancelling") {
      continue;
    }
    for (const size_t k : {1, 2, 31, 128, 1000}) {
      for (uint64_t seed = 0; seed < 5; ++seed) {
        const Operands operands(family, engine.inputs, 1, 1, k, seed);
        const std::vector<double> a = Dequantized(engine.name, operands.a);
        const std::vector<double> b = Dequantized(engine.name, operands.b);
        const double c = Computed(operands, true, nullptr, 1)[0];
        ASSERT_LE(std::fabs(ExactDot(a, b).ErrorOf(c)),
                  info().error_bound(TermsOf(a, b)))
            << family.name << " k=" << k << " seed=" << seed;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineMatMulTest,
                         testing::ValuesIn(EnginesOnTargets()), NameOf);

// Neighbours that read `operand` alike: 1, then k - 1 products that the worse
// one loses more of than the better one's bound allows, and -1 at the end of
// B's exact counterpart: sums are read before they are rounded to a result.
struct Neighbours {
  const char* worse;
  const char* better;
  double product;  // of all but the first
};

std::string NameOfNeighbours(const testing::TestParamInfo<Neighbours>& info) {
  return absl::StrCat(info.param.worse, "_and_", info.param.better);
}

class EnginePowerTest : public testing::TestWithParam<Neighbours> {};

TEST_P(EnginePowerTest, WorseEngineMissesTheBoundOfTheBetter) {
  constexpr size_t kTerms = 1024;
  std::vector<double> a(kTerms, 1.0), b(kTerms, GetParam().product);
  b[0] = 1;
  const auto error = [&](const char* name) {
    Parallel parallel;
    const Panels panels(DType::kF64, b.data(), 1, kTerms, parallel);
    double c = 0;
    MatMulArgs args;
    args.a = {a.data(), 1, kTerms};
    args.b = panels.view();
    args.c = {&c, 1, 1};
    args.unrounded = true;
    MatMul(*FindStrategy(name, Kernel::kMatMul), args, parallel);
    return std::fabs(ExactDot(a, b).ErrorOf(c));
  };
  SumTerms terms = TermsOf(a, b);
  terms.abs_result = 0;  // nothing is rounded to the result's format
  const Strategy better = *FindStrategy(GetParam().better, Kernel::kMatMul);
  const double bound = better.info().error_bound(terms);
  EXPECT_LE(error(GetParam().better), bound);
  EXPECT_GT(error(GetParam().worse), bound);
}

// What is left of 1.96875 2^-25 beside 1: nothing in f32 and with 24 bits, half
// with 25. With 13 bits nothing is left of 1.75 2^-14, which f32 keeps.
INSTANTIATE_TEST_SUITE_P(All, EnginePowerTest,
                         testing::ValuesIn(std::vector<Neighbours>{
                             {"bf16", "tc_h100", 0x1.F8p-25},
                             {"tc_a100", "tc_h100", 0x1.F8p-25},
                             {"f16_acc", "f16", 0x1.F8p-14},
                             {"f16_acc", "tc_v100", 0x1.F8p-14},
                             {"splitk4_bf16", "splitk4", 0x1.F8p-14},
                         }),
                         NameOfNeighbours);

}  // namespace
}  // namespace ulpscope
