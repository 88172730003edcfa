// Of targets whose input is the lines of shards.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/files/content_hash.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// As record.h says.
std::string WithChecks(Json line) {
  line.erase("check");
  if (line.contains("input") && line["input"].is_object()) {
    line["key"] = ContentHash(Dump(line["input"]));
    if (line["input"].contains("kind")) line["kind"] = line["input"]["kind"];
  }
  line["check"] = ContentHash(Dump(line));
  return Dump(line);
}

}  // namespace

// A line is doubled, or one of its values changes, or a byte.
std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  if (choice.Below(8) == 0) return std::nullopt;
  std::vector<std::string> lines = absl::StrSplit(input, '\n');
  std::string& line = lines[choice.Below(lines.size())];
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    Mutate(line);
  } else if (choice.Below(8) == 0) {
    lines.push_back(std::string(line));
  } else {
    MutateJson(choice, json);
    line = json.is_object() ? WithChecks(std::move(json)) : "{}";
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace ulpscope
