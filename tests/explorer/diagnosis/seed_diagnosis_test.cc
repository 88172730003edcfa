// The seed report, reproduced: our f32 against a bf16 reference whose last
// state is the one after the final norm.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/diagnosis/diagnosis.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "model/synthetic/synthetic.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kLayers = 24;
constexpr int32_t kSeedsToken = 9707;

// Of the token alone.
const Diagnosis& DiagnosisOfToken(int32_t token) {
  static auto* const all = new std::map<int32_t, Diagnosis>();
  const auto found = all->find(token);
  if (found != all->end()) return found->second;
  const ReferenceTrace trace = TraceOf("synthetic:seed", "torch-bf16", {token},
                                       TraceKind::kFolder, true);
  DiagnosedWith options;
  options.explain_rounding = token == kSeedsToken;
  return all->emplace(token, DiagnosisOf("synthetic:seed", trace, options))
      .first->second;
}

std::vector<int32_t> PlantedTokens() {
  const auto planted = SyntheticMassiveActivation("seed");
  EXPECT_THAT(planted, IsOk());
  return {planted->tokens.begin(), planted->tokens.end()};
}

// Over all planted tokens; of an even number the mean of the two in the middle.
template <typename Fn>
double Median(const Fn& of) {
  std::vector<double> values;
  for (const int32_t token : PlantedTokens()) {
    values.push_back(of(DiagnosisOfToken(token)));
  }
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

double GrowthAt(const Diagnosis& d, size_t layer) {
  return d.rows[layer - 1].growth.value();
}

TEST(SeedDiagnosisTest, TheTableHasTheSeedsShape) {
  EXPECT_EQ(PlantedTokens().size(), 8u);
  EXPECT_EQ(PlantedTokens().front(), kSeedsToken);
  for (const int32_t token : PlantedTokens()) {
    ASSERT_EQ(DiagnosisOfToken(token).rows.size(), kLayers) << token;
  }
  const auto growth_at = [](size_t layer) {
    return Median([=](const Diagnosis& d) { return GrowthAt(d, layer); });
  };
  EXPECT_GE(growth_at(3), 5);
  EXPECT_GE(growth_at(23), 2.5);
  EXPECT_GE(growth_at(24), 8);
  const double average = Median([](const Diagnosis& d) {
    double sum = 0;
    for (size_t layer = 4; layer <= 21; ++layer) sum += GrowthAt(d, layer);
    return sum / 18;
  });
  EXPECT_GE(average, 0.9);
  EXPECT_LE(average, 1.3);
  const double share = Median([](const Diagnosis& d) {
    double count = 0;
    for (size_t layer = 4; layer <= 21; ++layer) {
      const double max = d.rows[layer - 1].error.max_abs;
      if (max >= 2 && max <= 20) ++count;
    }
    return count / 18;
  });
  EXPECT_GT(share, 0.5);
}

TEST(SeedDiagnosisTest, NothingIsWrongButTheComparison) {
  for (const int32_t token : PlantedTokens()) {
    SCOPED_TRACE(token);
    const Diagnosis& d = DiagnosisOfToken(token);
    ASSERT_THAT(FoundIn(d), ElementsAre("last_state_normed"));
    EXPECT_EQ(d.arithmetic.name, "torch-bf16");
    EXPECT_FALSE(d.arithmetic.stored_rounded);
    EXPECT_TRUE(d.explained());
    EXPECT_FALSE(d.differs());
    EXPECT_FALSE(d.first_difference.has_value());
    EXPECT_EQ(d.nearer_to_oracle, -1);
    EXPECT_EQ(d.rounding.has_value(), token == kSeedsToken);
    const DiagnosedCause& last = d.causes.back();
    EXPECT_EQ(last.id, "last_state_normed");
    EXPECT_GE(last.removed.value(), 0.95);
    EXPECT_LT(last.replay_with.value(), last.replay_without.value() / 10);
  }
  // What it explains of the last row, of which the rest is the reference's
  // rounding.
  EXPECT_GE(Median([](const Diagnosis& d) {
              return d.rows.back().shares.value().comparison;
            }),
            0.9);
  EXPECT_GE(DiagnosisOfToken(kSeedsToken).rows.back().shares.value().comparison,
            0.9);
  for (size_t layer = 1; layer < kLayers; ++layer) {
    EXPECT_EQ(
        DiagnosisOfToken(kSeedsToken).rows[layer - 1].shares.value().comparison,
        0);
  }
}

TEST(SeedDiagnosisTest, NamesTheThreeCausesInOrder) {
  const Diagnosis& d = DiagnosisOfToken(kSeedsToken);
  ASSERT_EQ(d.causes.size(), 3u);
  const DiagnosedCause& rounding = d.causes[0];
  EXPECT_EQ(rounding.id, "rounding_of_massive_activation");
  EXPECT_EQ(rounding.kind, CauseKind::kRounding);
  EXPECT_EQ(rounding.first_layer, 3u);
  EXPECT_THAT(rounding.what, HasSubstr("to bf16 of channel 62"));
  EXPECT_THAT(rounding.what, HasSubstr("born in layer 3"));
  EXPECT_LT(rounding.replay_with.value(), rounding.replay_without.value());
  EXPECT_LT(rounding.run_with.value(), rounding.run_without.value());
  EXPECT_GT(rounding.removed.value(), 0.9);
  const DiagnosedCause& cancellation = d.causes[1];
  EXPECT_EQ(cancellation.id, "cancellation");
  EXPECT_EQ(cancellation.kind, CauseKind::kRounding);
  EXPECT_EQ(cancellation.first_layer, 22u);
  EXPECT_EQ(cancellation.first_op, Op::kMlpResidual);
  EXPECT_THAT(cancellation.what, HasSubstr("in mlp_residual of layer 22"));
  EXPECT_THAT(cancellation.what, HasSubstr("layer 23 spreads it"));
  // The relative error before the layer and after it.
  EXPECT_GT(cancellation.replay_with.value(),
            10 * cancellation.replay_without.value());
  EXPECT_GT(cancellation.run_with.value(),
            10 * cancellation.run_without.value());
  const DiagnosedCause& comparison = d.causes[2];
  EXPECT_EQ(comparison.id, "last_state_normed");
  EXPECT_EQ(comparison.kind, CauseKind::kComparison);
  EXPECT_EQ(comparison.first_op, Op::kFinalNorm);
}

}  // namespace
}  // namespace ulpscope
