#include "model/checkpoint/checkpoint.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/model/checkpoint/malformed_cases.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A folder whose config ties lm_head to the embedding, which is the first 48
// bytes of the data, and whose lm_head.weight, `rows` x 4, begins at `offset`.
// Bytes count up and begin anew every 61: at 244 they are a copy.
absl::StatusOr<Checkpoint> WithHeadAt(size_t offset, size_t rows = 3) {
  nlohmann::json config = ValidConfig();
  config["tie_word_embeddings"] = true;
  const auto entry = [](const char* dtype, nlohmann::json shape, size_t begin,
                        size_t end) {
    return nlohmann::json{
        {"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, end}}};
  };
  const size_t end = offset + rows * 16;
  nlohmann::json header;
  header["model.embed_tokens.weight"] = entry("F32", {3, 4}, 0, 48);
  if (offset > 48) {
    header["between"] = entry("U8", {offset - 48}, 48, offset);
  }
  header["lm_head.weight"] = entry("F32", {rows, 4}, offset, end);
  WriteTestFile("config.json", config.dump());
  WriteTestFile("model.safetensors", SafetensorsBytes(header.dump(), end));
  return OpenCheckpoint(TestFolder());
}

TEST(CheckpointHeadTest, ThatIsACopyStaysTied) {
  const auto checkpoint = WithHeadAt(244);
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_TRUE(checkpoint->config.tie_word_embeddings);
  EXPECT_FALSE(checkpoint->untied_by_file);
}

TEST(CheckpointHeadTest, ThatIsNoCopyIsUsed) {
  const auto checkpoint = WithHeadAt(48);
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_FALSE(checkpoint->config.tie_word_embeddings);
  EXPECT_TRUE(checkpoint->untied_by_file);
}

TEST(CheckpointHeadTest, OfAnotherShapeIsRefused) {
  EXPECT_THAT(WithHeadAt(48, 2),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("lm_head.weight"), HasSubstr("[3, 4]"),
                             HasSubstr("[2, 4]"))));
}

}  // namespace
}  // namespace ulpscope
