#include "model/decoder/fused_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/variant.h"
#include "model/decoder/attention.h"
#include "model/decoder/kv_cache.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"
#include "tests/model/decoder/attended_positions.h"
#include "tests/model/decoder/textbook_attention.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr const char* kForms[] = {
    "sdpa",   "fa2(64)",    "fa2(128)",   "fa2(1)",     "fa2(48)", "fa4",
    "fa4(2)", "splitkv(1)", "splitkv(2)", "splitkv(7)", "ggml"};

class FusedAttentionTest : public testing::TestWithParam<int64_t> {
 protected:
  FusedAttentionTest() : scoped_target_(GetParam()) {}

 private:
  ScopedTarget scoped_target_;
};

// Everything that the textbook says of these positions.
void Compare(const Positions& positions, const std::vector<size_t>& which,
             const std::string& form, const Strategies3& strategies,
             size_t* taken = nullptr, size_t* left = nullptr) {
  SCOPED_TRACE(absl::StrCat(form, ", qk=", strategies.qk, ", softmax=",
                            strategies.softmax, ", av=", strategies.av));
  const std::vector<double> all = All(positions, form, strategies);
  const KvCache cache = positions.Cache();
  const size_t width = positions.head_dim();
  for (const size_t p : which) {
    const Shown shown = ShownAt(positions, cache, p, FormOf(form), strategies);
    for (size_t h = 0; h < kHeads; ++h) {
      TextbookQuery query = positions.QueryOf(p, h);
      query.form = FormOf(form);
      query.qk = FindTextbook(strategies.qk);
      query.softmax = FindTextbook(strategies.softmax);
      query.av = FindTextbook(strategies.av);
      const TextbookAttention expected = Attended(query);
      const auto of = [&](const std::vector<double>& values, size_t at,
                          size_t n) {
        return absl::MakeConstSpan(values).subspan(at, n);
      };
      ASSERT_TRUE(
          HasBits<double>(of(all, (p * kHeads + h) * width, width), expected.y))
          << "position " << p << ", head " << h;
      ASSERT_TRUE(HasBits<double>(of(shown.y, h * width, width), expected.y));
      ASSERT_TRUE(HasBits<double>(of(shown.scores, h * (p + 1), p + 1),
                                  expected.scores));
      ASSERT_TRUE(HasBits<double>(of(shown.weights, h * (p + 1), p + 1),
                                  expected.weights))
          << "position " << p << ", head " << h;
      if (taken != nullptr) *taken += expected.taken;
      if (left != nullptr) *left += expected.left;
    }
  }
}

constexpr size_t kSome[] = {0, 1, 15, 16, 47, 63, 64, 100, 127, 128, 149};

TEST_P(FusedAttentionTest, HasTheTextbooksBits) {
  const Positions positions(150, 40, 3, 1);
  const std::vector<size_t> which(std::begin(kSome), std::end(kSome));
  for (const char* form : kForms) {
    for (const Strategies3& strategies :
         {Strategies3{"f32", "f32", "f32"},
          {"bf16", "bf16", "bf16"},
          {"f16", "f16", "f16"},
          {"oracle", "oracle", "oracle"},
          {"bf16", "f32", "oracle"},
          {"oracle", "bf16_acc", "kahan"},
          {"kahan", "f64", "bf16_acc"},
          {"dot2", "kahan", "f64"},
          {"pairwise", "pairwise", "pairwise"}}) {
      Compare(positions, which, form, strategies);
    }
  }
}

TEST_P(FusedAttentionTest, OfMoreThanOneBlockOfSdpa) {
  const Positions positions(530, 8, 3, 2);
  for (const char* strategy : {"f32", "bf16", "f64"}) {
    Compare(positions, {511, 512, 527, 529}, "sdpa",
            {strategy, strategy, strategy});
  }
}

// The data of the other tests take some of the larger maxima, and leave some.
TEST_P(FusedAttentionTest, Flash4LeavesMaximaThatAreLittleLarger) {
  const Positions positions(1000, 8, 3, 3);
  size_t taken = 0, left = 0;
  Compare(positions, {999}, "fa4(2)", {"f32", "f32", "f32"}, &taken, &left);
  EXPECT_GT(taken, size_t{kHeads});  // the first block's is always taken
  EXPECT_GT(left, 0u);
  // No threshold: as fa2(128).
  EXPECT_TRUE(
      HasBits<double>(All(positions, "fa4(0)", {"bf16", "bf16", "bf16"}),
                      All(positions, "fa2(128)", {"bf16", "bf16", "bf16"})));
}

TEST_P(FusedAttentionTest, OnePartIsFlash2BeforeItsLastRounding) {
  // The only part's share is e^(L - L), 1.
  const Positions positions(150, 40, 3, 4);
  EXPECT_TRUE(
      HasBits<double>(All(positions, "splitkv(1)", {"bf16", "bf16", "bf16"}),
                      All(positions, "fa2(64)", {"bf16", "bf16", "bf16"})));
}

TEST_P(FusedAttentionTest, BitsDoNotDependOnRowsAtOnce) {
  const Positions positions(70, 16, 3, 5);
  const KvCache cache = positions.Cache();
  for (const char* form : kForms) {
    for (const char* strategy : {"bf16", "f32", "oracle"}) {
      std::vector<double> expected, y;
      const Strategies3 strategies = {strategy, strategy, strategy};
      AttendAll(ArgsOf(positions, cache, FormOf(form), strategies, expected),
                1);
      for (const size_t rows : {7, 70}) {
        AttendAll(ArgsOf(positions, cache, FormOf(form), strategies, y), rows);
        EXPECT_TRUE(HasBits<double>(y, expected)) << form << " " << rows;
      }
    }
  }
}

double Norm(const std::vector<double>& x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

TEST_P(FusedAttentionTest, EveryFormUnderOracleIsTheEagerOracle) {
  for (const size_t count : {1, 33, 600}) {
    const Positions positions(count, 24, 3, 6);
    const Strategies3 oracle = {"oracle", "oracle", "oracle"};
    const std::vector<double> expected = All(positions, "eager", oracle);
    const KvCache cache = positions.Cache();
    const Shown eager =
        ShownAt(positions, cache, count - 1, AttentionForm(), oracle);
    for (const char* form : kForms) {
      std::vector<double> y = All(positions, form, oracle);
      for (size_t i = 0; i < y.size(); ++i) y[i] -= expected[i];
      EXPECT_LE(Norm(y), 1e-13 * Norm(expected)) << form;
      Shown shown = ShownAt(positions, cache, count - 1, FormOf(form), oracle);
      EXPECT_TRUE(HasBits<double>(shown.scores, eager.scores)) << form;
      for (size_t i = 0; i < shown.weights.size(); ++i) {
        EXPECT_NEAR(shown.weights[i], eager.weights[i],
                    1e-13 * eager.weights[i] + 1e-300)
            << form << " " << i;
      }
    }
  }
}

// The error of fa2(64) under bf16, of operands that bf16 holds.
//
// Any m cancels in O / l, whatever its error. What is left of a weight 2^((s -
// m) c) is, relatively and to first order in u = 2^-24, k = log(2):
//   the score: k c gamma_d sum |q k|
//   c, rounded twice: 2 k u |s - m| c
//   FMA's result, and exp2's 1.04 ULP: k u |(s - m) c| + 2.08 u
//   per block, m c rounded, of both maxima; m - m', its product, and alpha's
//   exp2; FMA of O or l: k u (|m| + |m'|) c + 2 k u |m - m'| c + 2.08 u + u
// and of sums, of PV gamma_64, of l gamma_9 (16 lanes of 4, and 4 merges). P is
// rounded to bf16 for the values alone, 2^-8. l, its reciprocal and the product
// add 2 u, and y is rounded to bf16 once. With all of these as E_j, of a weight
// w_j, E = sum of w_j |v_j| (2^-8 + 2 E_j), twice as l has them too.
TEST_P(FusedAttentionTest, ErrorOfBF16StaysWithinItsBound) {
  constexpr double u = 0x1p-24;
  const double k = std::log(2.0);
  constexpr size_t kCount = 300, kDim = 32;
  Positions positions(kCount, kDim, 3, 7);
  positions.RoundTo(Format::kBF16);
  const std::vector<double> y =
      All(positions, "fa2(64)", {"bf16", "bf16", "bf16"});
  const std::vector<double> exact =
      All(positions, "eager", {"oracle", "oracle", "oracle"});
  double worst = 0;
  for (size_t p = 0; p < kCount; ++p) {
    for (size_t h = 0; h < kHeads; ++h) {
      const TextbookQuery query = positions.QueryOf(p, h);
      const double c = query.scale / k;
      std::vector<double> s, magnitude;
      for (const std::vector<double>& key : query.k) {
        double sum = 0, sum_of_magnitudes = 0;
        for (size_t d = 0; d < kDim; ++d) {
          sum += query.q[d] * key[d];
          sum_of_magnitudes += std::fabs(query.q[d] * key[d]);
        }
        s.push_back(sum);
        magnitude.push_back(sum_of_magnitudes);
      }
      const double m = *std::max_element(s.begin(), s.end());
      double largest = 0;
      for (const double score : s) {
        largest = std::max(largest, std::fabs(score));
      }
      double l = 0;
      for (const double score : s) l += std::exp((score - m) * query.scale);
      const double blocks = std::ceil(static_cast<double>(s.size()) / 64);
      for (size_t d = 0; d < kDim; ++d) {
        double bound = 0;
        for (size_t j = 0; j < s.size(); ++j) {
          const double w = std::exp((s[j] - m) * query.scale) / l;
          const double far = (m - s[j]) * c;
          const double of_block =
              u * (k * 2 * largest * c + 2 * k * 2 * largest * c + 2.08 + 1);
          const double small = k * c * Gamma(kDim, u) * magnitude[j] +
                               3 * k * u * far + 2.08 * u + blocks * of_block +
                               Gamma(64, u) + Gamma(9, u);
          bound += w * std::fabs(query.v[j][d]) * (0x1p-8 + 2 * small);
        }
        bound += 2 * u * bound;
        const size_t at = (p * kHeads + h) * kDim + d;
        bound += 0x1p-8 * (std::fabs(exact[at]) + bound);
        const double error = std::fabs(y[at] - exact[at]);
        ASSERT_LE(error, bound) << p << " " << h << " " << d;
        worst = std::max(worst, error / bound);
      }
    }
  }
  EXPECT_GT(worst, 0.2) << "the bound is larger than it has to be";
}

// Queries of 1 and heads of one value: scores are the keys.
class ScoresAsGiven : public FusedAttentionTest {
 protected:
  ScoresAsGiven() : positions_(200, 1, 1, 8) {
    for (double& q : positions_.queries()) q = 1;
  }
  void Set(size_t first, size_t end, double score) {
    for (size_t p = first; p < end; ++p) {
      for (size_t h = 0; h < kKvHeads; ++h) positions_.Key(p)[h] = score;
    }
  }
  // Every form against the textbook, at the last position, and what y is in all
  // forms but ggml.
  template <typename Check>
  void CompareAll(const Check& check) {
    for (const char* form : kForms) {
      for (const char* strategy : {"f32", "bf16", "oracle"}) {
        Compare(positions_, {199}, form, {strategy, strategy, strategy});
        if (FormOf(form).kind == AttentionKind::kGgml) continue;
        const std::vector<double> y =
            All(positions_, form, {strategy, strategy, strategy});
        for (size_t h = 0; h < kHeads; ++h) {
          EXPECT_TRUE(check(y[199 * kHeads + h]))
              << form << " " << strategy << ": " << y[199 * kHeads + h];
        }
      }
    }
  }

  Positions positions_;
};

TEST_P(ScoresAsGiven, NothingAboveMinusInfinityGivesZero) {
  Set(0, 200, -kInfinity);
  CompareAll([](double y) { return y == 0; });
}

TEST_P(ScoresAsGiven, BlocksOfMinusInfinityHaveNoWeight) {
  Set(0, 130, -kInfinity);
  CompareAll([](double y) { return std::isfinite(y) && y != 0; });
  Set(0, 20, 1);
  Set(20, 200, -kInfinity);
  CompareAll([](double y) { return std::isfinite(y) && y != 0; });
}

TEST_P(ScoresAsGiven, InfinityAndNanGiveNan) {
  for (const double bad : {kInfinity, std::nan("")}) {
    for (const size_t at : {0, 70, 199}) {
      SCOPED_TRACE(absl::StrCat(bad, " at ", at));
      Set(0, 200, 0.5);
      Set(at, at + 1, bad);
      CompareAll([](double y) { return std::isnan(y); });
    }
  }
}

TEST_P(ScoresAsGiven, GgmlTakesTheFirstInfinity) {
  const auto last = [this] {
    return All(positions_, "ggml", {"f32", "f32", "f32"})[199 * kHeads];
  };
  Set(0, 200, 0.5);
  EXPECT_TRUE(std::isfinite(last()));
  Set(70, 71, kInfinity);
  EXPECT_EQ(last(), static_cast<float>(positions_.QueryOf(199, 0).v[70][0]));
  Set(80, 81, kInfinity);
  EXPECT_TRUE(std::isnan(last()));
  Set(0, 200, 0.5);
  Set(0, 1, -kInfinity);
  EXPECT_TRUE(std::isnan(last()));
}

TEST_P(ScoresAsGiven, HugeScoresAreNoFault) {
  // m c is far from exact: what it is rounded by is in every exponent.
  Set(0, 200, 1e30);
  Set(3, 4, 1.1e30);
  for (const char* form : kForms) {
    Compare(positions_, {199}, form, {"f32", "f32", "f32"});
    Compare(positions_, {199}, form, {"oracle", "oracle", "oracle"});
  }
}

// A variant's softmax is a step of its own.
TEST_P(FusedAttentionTest, OtherSoftmaxesAreEager) {
  const Positions positions(20, 8, 1, 9);
  const KvCache cache = positions.Cache();
  std::vector<double> expected, y;
  const Strategies3 strategies = {"f16", "f16", "f16"};
  AttentionArgs eager =
      ArgsOf(positions, cache, AttentionForm(), strategies, expected);
  AttentionArgs fused =
      ArgsOf(positions, cache, FormOf("fa2(4)"), strategies, y);
  eager.softmax_form = fused.softmax_form = SoftmaxForm::kF16WithoutMax;
  AttendAll(eager, 20);
  AttendAll(fused, 20);
  EXPECT_TRUE(HasBits<double>(y, expected));
}

INSTANTIATE_TEST_SUITE_P(All, FusedAttentionTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);
INSTANTIATE_TEST_SUITE_P(All, ScoresAsGiven,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

}  // namespace
}  // namespace ulpscope
