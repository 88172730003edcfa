#include "explorer/store/record.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/store/made_records.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;

TEST(RecordTest, IsReadAsItWasWritten) {
  const Record made = MadeRecord(7);
  const std::string line = LineOf(made);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto read = ParseLine(line);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->key, made.key);
  EXPECT_EQ(read->input, made.input);
  EXPECT_EQ(read->host, made.host);
  EXPECT_EQ(read->run, made.run);
  EXPECT_EQ(read->time, made.time);
  EXPECT_EQ(LineOf(*read), line);
  EXPECT_EQ(read->Input("plan"), "plan 7");
  EXPECT_EQ(read->Input("no such"), "");
  const auto figure = ResultOf<Figure>(*read);
  ASSERT_TRUE(figure.ok());
  EXPECT_EQ(figure->value, 7.25);
}

// As another program writes the same JSON.
TEST(RecordTest, SpacesAndOrderDoNotMatter) {
  const auto json = nlohmann::ordered_json::parse(LineOf(MadeRecord(7)));
  nlohmann::ordered_json turned;
  for (auto it = json.rbegin(); it != json.rend(); ++it) {
    turned[it.key()] = it.value();
  }
  std::string text = turned.dump(1);
  text = absl::StrReplaceAll(text, {{"\n", " "}});
  EXPECT_NE(text, LineOf(MadeRecord(7)));
  const auto read = ParseLine(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(LineOf(*read), LineOf(MadeRecord(7)));
}

TEST(RecordTest, LineCutAtAnyByteIsDamaged) {
  const std::string line = LineOf(MadeRecord(7));
  for (size_t size = 0; size < line.size(); ++size) {
    EXPECT_FALSE(ParseLine(line.substr(0, size)).ok()) << size;
  }
}

TEST(RecordTest, AnyChangedByteIsFound) {
  const std::string line = LineOf(MadeRecord(7));
  for (size_t i = 0; i < line.size(); ++i) {
    for (const char flip : {1, 2, 4, 16, 64}) {
      std::string changed = line;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      EXPECT_FALSE(ParseLine(changed).ok()) << changed;
    }
  }
}

TEST(RecordTest, HostileLinesAreErrors) {
  const std::string line = LineOf(MadeRecord(7));
  const auto replaced = [&line](const char* from, const char* to) {
    const std::string text = absl::StrReplaceAll(line, {{from, to}});
    EXPECT_NE(text, line);
    return text;
  };
  for (const std::string& text :
       {std::string(),
        std::string("{}"),
        std::string("null"),
        std::string("[]"),
        std::string(1000, '['),
        std::string(1000, '{'),
        std::string("{\"v\":1}"),
        std::string("{\"v\":1,\"v\":1}"),
        std::string(5, '\0'),
        std::string("\xff\xfe"),
        line + line,
        line + std::string("\0x", 2),
        replaced("\"v\":1", "\"v\":2"),
        replaced("\"v\":1", "\"v\":\"1\""),
        replaced("plan 7", "plan 8"),
        replaced("\"kind\":\"error\",\"plan", "\"kind\":\"time\",\"plan"),
        replaced("7.25", "7.26"),
        replaced("{\"value\":7.25}", "7.25"),
        replaced("\"A CPU\"", "7"),
        replaced("\"check\"", "\"czech\"")}) {
    const auto read = ParseLine(text);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss)
        << text.substr(0, 300);
  }
  EXPECT_THAT(ParseLine(replaced("\"v\":1", "\"v\":2")).status().message(),
              HasSubstr("version 2, expected 1"));
  std::string large(kMostOfLine + 1, ' ');
  large.replace(0, line.size(), line);
  EXPECT_THAT(ParseLine(large).status().message(), HasSubstr("more than"));
}

// A record whose checksum is right, of another struct.
TEST(RecordTest, ResultOfAnotherKindIsAnError) {
  Record record = MadeRecord(7);
  record.result = "{\"valve\":1}";
  const auto read = ParseLine(LineOf(record));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(ResultOf<Figure>(*read).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace ulpscope
