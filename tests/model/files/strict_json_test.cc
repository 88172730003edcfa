#include "model/files/strict_json.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Json = nlohmann::json;

void ExpectRefused(absl::string_view text, absl::string_view fault) {
  EXPECT_THAT(
      ParseJsonObject(text, "file.json"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(StartsWith("file.json: "), HasSubstr(std::string(fault)))))
      << text;
}

std::string Nested(size_t arrays) {
  return absl::StrCat("{\"a\":", std::string(arrays, '['),
                      std::string(arrays, ']'), "}");
}

TEST(StrictJsonTest, BuildsWhatNlohmannDoes) {
  for (const char* text :
       {"{}",
        R"({"a": null, "b": [true, false, [], {}, [[1], 2]], "c": "\u00e9"})",
        R"({"i": -3, "u": 18446744073709551615, "f": 1e-7, "n": {"a": {"a": 1}},
            "after": [{"x": 1, "y": [2]}, {"x": 3}]})",
        " {\"deep\": {\"a\": [{\"b\": {}}]}, \"z\": 0.1} \n"}) {
    const auto parsed = ParseJsonObject(text, "file.json");
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(*parsed, Json::parse(text)) << text;
    EXPECT_EQ(parsed->dump(), Json::parse(text).dump());
  }
}

TEST(StrictJsonTest, RefusesWhatIsNoObject) {
  ExpectRefused("[]", "found array");
  ExpectRefused("1", "found number");
  ExpectRefused("", "not valid JSON");
  ExpectRefused("{\"a\": 1", "not valid JSON (at byte 8)");
  ExpectRefused("{\"a\": 1e999}", "not valid JSON");
  ExpectRefused("{} {}", "not valid JSON");
  ExpectRefused(absl::string_view("{}\0", 3), "a NUL byte");
}

TEST(StrictJsonTest, RefusesRepeatedKeysOfOneObject) {
  ExpectRefused(R"({"a": 1, "b": 2, "a": 1})", "key \"a\" occurs twice");
  ExpectRefused(R"({"o": [{"x": 1}, {"y": 1, "y": 2}]})", "key \"y\" occurs");
  ExpectRefused(R"({"o": {"a": 1}, "\u006f": 2})", "key \"o\" occurs twice");
  EXPECT_THAT(ParseJsonObject(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})",
                              "file.json"),
              IsOk());
}

TEST(StrictJsonTest, RefusesDeepNesting) {
  EXPECT_THAT(ParseJsonObject(Nested(kMaxJsonDepth - 1), "file.json"), IsOk());
  ExpectRefused(Nested(kMaxJsonDepth), "deeper than 32 levels");
  ExpectRefused(std::string(1 << 20, '['), "deeper than 32 levels");
}

// nlohmann's parser with a callback takes hours for this one.
TEST(StrictJsonTest, ReadsAMillionSmallObjects) {
  constexpr size_t kMembers = 1'000'000;
  std::string text = "{\"-\":{}";
  for (size_t i = 0; i < kMembers; ++i)
    absl::StrAppend(&text, ",\"", i, "\":{}");
  const auto parsed = ParseJsonObject(text + "}", "file.json");
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(parsed->size(), kMembers + 1);
  ExpectRefused(text + ",\"-\":1}", "key \"-\" occurs twice");
}

TEST(JsonStringTest, IsReadBack) {
  EXPECT_EQ(JsonString("a\"\\\n\x01"), R"("a\"\\\n\u0001")");
  EXPECT_EQ(JsonString("\xc3\xa9"), R"("\u00e9")");
  EXPECT_EQ(JsonString("a\xff"), R"("a\ufffd")");
}

}  // namespace
}  // namespace ulpscope
