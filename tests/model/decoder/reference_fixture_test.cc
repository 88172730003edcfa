#include "tests/model/checkpoint/reference_fixture.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ReferenceFixtureTest : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceFixtureTest, HoldsRowsOfEveryTokenFromEmbeddingsToLogits) {
  const absl::StatusOr<ReferenceFixture> fixture =
      LoadReferenceFixture(GetParam());
  ASSERT_TRUE(fixture.ok()) << fixture.status();
  EXPECT_EQ(fixture->folder, "tests/testdata/reference/" + GetParam());
  for (const char* name : {"hidden_states.0", "hidden_states.1",
                           "hidden_states.2", "final_norm", "logits"}) {
    ASSERT_TRUE(fixture->arrays.count(name)) << name;
    const ReferenceArray& array = fixture->arrays.at(name);
    ASSERT_EQ(array.shape.size(), 2u) << name;
    EXPECT_EQ(array.shape[0], static_cast<int64_t>(fixture->tokens.size()));
    EXPECT_EQ(array.values.size(),
              static_cast<size_t>(array.shape[0] * array.shape[1]));
  }
}

// Tokens 0 and 1 are the same, and so are their embeddings, bit for bit; rows
// of attention weights are probabilities of what lies not ahead.
TEST_P(ReferenceFixtureTest, ReadsEveryArrayAtItsOffset) {
  const absl::StatusOr<ReferenceFixture> fixture =
      LoadReferenceFixture(GetParam());
  ASSERT_TRUE(fixture.ok()) << fixture.status();
  ASSERT_EQ(fixture->tokens[0], fixture->tokens[1]);
  ASSERT_NE(fixture->tokens[0], fixture->tokens[2]);
  const ReferenceArray& embeddings = fixture->arrays.at("hidden_states.0");
  const int64_t width = embeddings.shape[1];
  const double* row = embeddings.values.data();
  for (int64_t i = 0; i < width; ++i) {
    EXPECT_EQ(row[i], row[width + i]) << i;
    EXPECT_NE(row[i], row[2 * width + i]) << i;
  }
  for (const auto& [name, array] : fixture->arrays) {
    if (!absl::EndsWith(name, ".attention_weights")) continue;
    ASSERT_EQ(array.shape.size(), 3u) << name;
    ASSERT_EQ(array.shape[1], array.shape[2]) << name;
    const int64_t n = array.shape[1];
    for (int64_t i = 0; i < array.shape[0] * n; ++i) {
      // At most n divisions and n - 1 additions here and as many additions
      // in the softmax, each rounding a number of at most 1 by 2^-53.
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) sum += array.values[i * n + j];
      EXPECT_NEAR(sum, 1, static_cast<double>(3 * n) * 0x1p-53) << name;
      for (int64_t j = i % n + 1; j < n; ++j) {
        EXPECT_EQ(array.values[i * n + j], 0) << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceFixtureTest,
                         testing::Values("qwen3_untied", "qwen3_tied",
                                         "qwen3_bias", "qwen2", "llama",
                                         "qwen3_bf16", "qwen3_sharded"),
                         [](const auto& test) { return test.param; });

TEST(ReferenceFixture, NamesTheFileThatIsMissing) {
  EXPECT_THAT(LoadReferenceFixture("none"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("reference/none/expected.json")));
}

// The numbers as Python prints them for the first row of the file.
TEST(ReferenceFixture, ReadsLittleEndianDoubles) {
  const absl::StatusOr<ReferenceFixture> fixture =
      LoadReferenceFixture("qwen3_bf16");
  ASSERT_TRUE(fixture.ok()) << fixture.status();
  EXPECT_THAT(fixture->tokens,
              ElementsAre(5, 5, 17, 3, 58, 17, 41, 5, 29, 41, 2));
  const ReferenceArray& logits = fixture->arrays.at("logits");
  EXPECT_THAT(logits.shape, ElementsAre(11, 61));
  EXPECT_EQ(logits.values.front(), -5.150052698465601);
  EXPECT_EQ(logits.values.back(), -0.8039516067886965);
}

}  // namespace
}  // namespace ulpscope
