#include "explorer/store/difference.h"

#include <string>

#include "explorer/store/record.h"
#include "gtest/gtest.h"
#include "tests/explorer/store/made_records.h"

namespace ulpscope {
namespace {

FigureDifference Difference(const std::string& first,
                            const std::string& second) {
  Record a = MadeRecord(1), b = MadeRecord(1);
  a.result = first;
  b.result = second;
  return DifferenceOf(a, b);
}

TEST(DifferenceTest, OfResultsIsTheFirstFigureThatDiffers) {
  const struct {
    std::string first, second, text;
  } cases[] = {
      {"{\"a\":1.5,\"b\":[1,{\"c\":2.5}]}", "{\"a\":1.5,\"b\":[1,{\"c\":3.5}]}",
       "b/1/c: 2.5 and 3.5"},
      {"{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":3}", "a: 1 and 2"},
      // Values that are equal by ==, and NaN, which is a text here.
      {"{\"a\":0.0}", "{\"a\":-0.0}", "a: 0.0 and -0.0"},
      {"{\"a\":1}", "{\"a\":1.0}", "a: 1 and 1.0"},
      {"{\"a\":\"NaN\"}", "{\"a\":null}", "a: \"NaN\" and null"},
      // One has what the other lacks.
      {"{\"a\":1,\"b\":2}", "{\"a\":1}", "b: 2 and none"},
      {"{\"a\":1}", "{\"a\":1,\"b\":2}", "b: none and 2"},
      {"{\"a\":[1,2]}", "{\"a\":[1]}", "a/1: 2 and none"},
      {"{}", "{\"a\":1}", "a: none and 1"},
      {"{\"a\":1}", "{}", "a: 1 and none"},
      {"{\"a\":[]}", "{\"a\":{}}", "result: an object and another one"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(Difference(one.first, one.second).Text(), one.text)
        << one.first << " " << one.second;
  }
}

TEST(DifferenceTest, OfEqualResultsIsNone) {
  for (const char* const text : {"{}", "{\"a\":[{},[],null,-0.0]}"}) {
    const FigureDifference none = Difference(text, text);
    EXPECT_EQ(none.figure, "") << text;
    EXPECT_EQ(none.first, "");
    EXPECT_EQ(none.second, "");
  }
}

// A line's checksum does not say that its result is one.
TEST(DifferenceTest, DamagedResultsAreSaid) {
  for (const char* const garbage :
       {"", "nonsense", "[1]", "{\"a\":1", "{\"a\":1}{", "{\"a\":\"\xff\"}"}) {
    const FigureDifference one = Difference(garbage, "{\"a\":1}");
    EXPECT_EQ(one.figure, "result") << garbage;
    EXPECT_EQ(one.first, "no object of JSON");
    EXPECT_EQ(one.second, "an object");
    EXPECT_EQ(Difference("{}", garbage).second, "no object of JSON");
    EXPECT_EQ(Difference(garbage, "").first, "no object of JSON");
  }
}

}  // namespace
}  // namespace ulpscope
