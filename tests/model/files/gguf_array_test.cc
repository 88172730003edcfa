#include "model/files/gguf_array.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

GgufArray Strings(const std::string& bytes, uint64_t count) {
  return {count, kGgufString,
          absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                              bytes.size())};
}

// As when another process writes to the file after it was checked.
TEST(GgufStringsTest, NeverLeaveTheArray) {
  const std::string bytes = absl::StrCat(GgufText("ab"), GgufText(""));
  EXPECT_THAT(GgufStrings(Strings(bytes, 2)), Optional(ElementsAre("ab", "")));
  EXPECT_EQ(GgufStrings(Strings(bytes, 3)), std::nullopt);
  for (const uint64_t size : {11ull, 100ull, ~0ull, ~0ull - 7}) {
    std::string changed = bytes;
    changed.replace(0, 8, Encode64(size));
    EXPECT_EQ(GgufStrings(Strings(changed, 2)), std::nullopt) << size;
  }
}

}  // namespace
}  // namespace ulpscope
