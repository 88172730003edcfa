// What is read off logits.

#include "explorer/diagnosis/evident_logits.h"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "explorer/diagnosis/hypotheses.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "model/architecture/rounding.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

constexpr size_t kRows = 3, kVocab = 64;

std::vector<double> Logits() {
  Random random(1);
  std::vector<double> logits(kRows * kVocab);
  for (double& x : logits) x = static_cast<float>(6 * random.Uniform() - 3);
  return logits;
}

Matrix<const double> View(const std::vector<double>& x) {
  return {x.data(), kRows, kVocab};
}

// Ids for theirs made of ours by `f`, rounded to f32 or bf16.
template <typename F>
std::vector<std::string> IdsOf(const F& f, bool bf16) {
  const std::vector<double> ours = Logits();
  std::vector<double> theirs;
  for (const double x : ours) {
    const double y = f(x);
    theirs.push_back(bf16 ? RoundedToBF16(y) : static_cast<float>(y));
  }
  std::vector<std::string> ids;
  for (const Hypothesis& h :
       LogitsHypotheses(View(theirs), View(ours), bf16 ? 0x1p-8 : 0x1p-24)) {
    ids.push_back(h.id);
  }
  return ids;
}

TEST(LogitsHypothesesTest, TellsWhatWasDoneToThem) {
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  const std::vector<double> logits = Logits();
  for (const bool bf16 : {false, true}) {
    SCOPED_TRACE(bf16 ? "bf16" : "f32");
    EXPECT_THAT(IdsOf([](double x) { return 0.7 * x; }, bf16),
                ElementsAre("logits_scaled_0.7"));
    EXPECT_THAT(IdsOf([](double x) { return 2 * std::tanh(x / 2); }, bf16),
                ElementsAre("logits_capped_2"));
    EXPECT_THAT(IdsOf([](double x) { return std::fabs(x); }, bf16), IsEmpty());
    EXPECT_THAT(IdsOf([](double x) { return x; }, bf16), IsEmpty());
  }
}

TEST(LogitsHypothesesTest, TellsLogarithmsOfProbabilities) {
  for (const double temperature : {1.0, 0.5}) {
    const std::vector<double> ours = Logits();
    std::vector<double> theirs;
    for (size_t r = 0; r < kRows; ++r) {
      double sum = 0;
      for (size_t c = 0; c < kVocab; ++c) {
        sum += std::exp(ours[r * kVocab + c] / temperature);
      }
      for (size_t c = 0; c < kVocab; ++c) {
        theirs.push_back(static_cast<float>(ours[r * kVocab + c] / temperature -
                                            std::log(sum)));
      }
    }
    const auto all = LogitsHypotheses(View(theirs), View(ours), 0x1p-24);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].kind, CauseKind::kComparison);
    Variant variant;
    all[0].variant(variant);
    EXPECT_TRUE(variant.log_softmax);
    EXPECT_EQ(variant.logits_scale, 1 / temperature);
  }
}

TEST(NearestNumberTest, IsOneThatIsMeant) {
  EXPECT_EQ(NearestNumber(223.99, 1e-4), 224);
  EXPECT_EQ(NearestNumber(1 / 447.9, 1e-4), 1 / 448.0);
  EXPECT_EQ(NearestNumber(-0.2500001, 1e-6), -0.25);
  EXPECT_EQ(NearestNumber(1.1000001, 1e-6), 1.1);
  EXPECT_EQ(NearestNumber(1.23456, 1e-6), 1.23456);
}

}  // namespace
}  // namespace ulpscope
