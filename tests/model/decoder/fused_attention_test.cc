#include "model/decoder/fused_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/decoder/attention.h"
#include "model/decoder/kv_cache.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"
#include "tests/model/decoder/textbook_attention.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kHeads = 4, kKvHeads = 2;

constexpr const char* kForms[] = {
    "sdpa",   "fa2(64)",    "fa2(128)",   "fa2(1)",     "fa2(48)", "fa4",
    "fa4(2)", "splitkv(1)", "splitkv(2)", "splitkv(7)", "ggml"};

AttentionForm FormOf(const std::string& text) {
  const auto form = AttentionForm::Parse(text);
  EXPECT_THAT(form, IsOk());
  return form.value_or(AttentionForm());
}

Strategy Named(const std::string& name, Kernel kernel) {
  const auto strategy = FindStrategy(name, kernel);
  EXPECT_THAT(strategy, IsOk());
  return strategy.value_or(Strategy());
}

// Queries, keys and values of some positions.
class Positions {
 public:
  // Scores have about this standard deviation, and grow as positions do.
  Positions(size_t count, size_t head_dim, double spread, uint64_t seed)
      : count_(count),
        head_dim_(head_dim),
        q_(count * kHeads * head_dim),
        k_(count * kKvHeads * head_dim),
        v_(k_.size()) {
    Random random(seed);
    for (double& x : q_) x = spread * random.Gaussian();
    for (size_t i = 0; i < k_.size(); ++i) {
      k_[i] = random.Gaussian() *
              (1 + static_cast<double>(i) / static_cast<double>(k_.size()));
      v_[i] = random.Gaussian() + 0.5;
    }
  }

  size_t count() const { return count_; }
  size_t head_dim() const { return head_dim_; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(head_dim_)); }
  double* Key(size_t position) {
    return k_.data() + position * kKvHeads * head_dim_;
  }
  Matrix<const double> q() const {
    return {q_.data(), count_, kHeads * head_dim_};
  }
  std::vector<double>& queries() { return q_; }

  // Rounds everything.
  void RoundTo(Format format) {
    for (std::vector<double>* values : {&q_, &k_, &v_}) {
      *values = Rounded(format, *values);
    }
  }

  KvCache Cache() const {
    ModelConfig config;
    config.num_hidden_layers = 1;
    config.num_attention_heads = kHeads;
    config.num_key_value_heads = kKvHeads;
    config.head_dim = static_cast<int64_t>(head_dim_);
    KvCache cache(config, Plan::Oracle(1), count_);
    const size_t width = kKvHeads * head_dim_;
    for (size_t p = 0; p < count_; ++p) {
      cache.Store(1, p, k_.data() + p * width, v_.data() + p * width);
    }
    return cache;
  }

  // Of one head at one position.
  TextbookQuery QueryOf(size_t position, size_t head) const {
    TextbookQuery query;
    query.scale = scale();
    const auto some = [&](const std::vector<double>& values, size_t at) {
      const auto begin = values.begin() + static_cast<ptrdiff_t>(at);
      return std::vector<double>(begin,
                                 begin + static_cast<ptrdiff_t>(head_dim_));
    };
    query.q = some(q_, (position * kHeads + head) * head_dim_);
    const size_t kv_head = head / (kHeads / kKvHeads);
    for (size_t p = 0; p <= position; ++p) {
      const size_t at = (p * kKvHeads + kv_head) * head_dim_;
      query.k.push_back(some(k_, at));
      query.v.push_back(some(v_, at));
    }
    return query;
  }

 private:
  size_t count_, head_dim_;
  std::vector<double> q_, k_, v_;
};

struct Strategies3 {
  std::string qk, softmax, av;
};

AttentionArgs ArgsOf(const Positions& positions, const KvCache& cache,
                     const AttentionForm& form, const Strategies3& strategies,
                     std::vector<double>& y) {
  y.assign(positions.count() * kHeads * positions.head_dim(), -1);
  AttentionArgs args;
  args.q = positions.q();
  args.cache = &cache;
  args.layer = 1;
  args.kv_heads = kKvHeads;
  args.head_dim = positions.head_dim();
  args.qk = Named(strategies.qk, Kernel::kMatMul);
  args.softmax = Named(strategies.softmax, Kernel::kSoftmax);
  args.av = Named(strategies.av, Kernel::kMatMul);
  args.form = form;
  args.y = {y.data(), positions.count(), kHeads * positions.head_dim()};
  return args;
}

void AttendAll(const AttentionArgs& args, size_t rows_at_once) {
  for (size_t row = 0; row < args.q.rows; row += rows_at_once) {
    const size_t rows = std::min(rows_at_once, args.q.rows - row);
    for (size_t h = 0; h < kKvHeads; ++h) AttendGroup(args, row, rows, h);
  }
}

std::vector<double> All(const Positions& positions, const std::string& form,
                        const Strategies3& strategies) {
  const KvCache cache = positions.Cache();
  std::vector<double> y;
  AttendAll(ArgsOf(positions, cache, FormOf(form), strategies, y), 3);
  return y;
}

// What is shown of one position: a row per head.
struct Shown {
  std::vector<double> scores, weights, y;
};

Shown ShownAt(const Positions& positions, const KvCache& cache, size_t position,
              const AttentionForm& form, const Strategies3& strategies) {
  Shown shown;
  AttentionArgs args = ArgsOf(positions, cache, form, strategies, shown.y);
  args.q = {positions.q().Row(position), 1, args.q.cols};
  args.y = {shown.y.data(), 1, args.y.cols};
  args.first_position = position;
  shown.y.resize(args.y.cols);
  Parallel parallel;
  AttendShowing(
      args, parallel, [&](Op op, size_t at, Matrix<const double> rows) {
        EXPECT_EQ(at, position);
        std::vector<double>& to = op == Op::kQk ? shown.scores : shown.weights;
        to.assign(rows.data, rows.data + rows.rows * rows.cols);
      });
  return shown;
}

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
