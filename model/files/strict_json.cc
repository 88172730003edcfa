#include "model/files/strict_json.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/files/tensor.h"

namespace ulpscope {

absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               absl::string_view file) {
  constexpr size_t kMaxDepth = 32;
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of each object being parsed
  size_t depth = 0;
  bool too_deep = false;
  std::string duplicate;
  const auto watch = [&](int, Event event, nlohmann::json& value) {
    switch (event) {
      case Event::object_start:
        keys.emplace_back();
        [[fallthrough]];
      case Event::array_start:
        too_deep |= ++depth > kMaxDepth;
        break;
      case Event::object_end:
        keys.pop_back();
        [[fallthrough]];
      case Event::array_end:
        --depth;
        break;
      case Event::key: {
        const std::string& key = value.get_ref<const std::string&>();
        if (!keys.back().insert(key).second && duplicate.empty()) {
          duplicate = NameText(key);
        }
        break;
      }
      case Event::value:
        break;
    }
    return !too_deep;  // what is too deep is parsed, but not kept
  };
  // nlohmann would take a NUL for the end of the text, whatever follows it.
  if (absl::StrContains(text, '\0')) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": not valid JSON (a NUL byte)"));
  }
  nlohmann::json parsed = nlohmann::json::parse(text.begin(), text.end(), watch,
                                                /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": JSON nested deeper than ", kMaxDepth, " levels"));
  }
  if (parsed.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": not valid JSON"));
  }
  if (!parsed.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": expected a JSON object, found ", parsed.type_name()));
  }
  if (!duplicate.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": JSON key ", duplicate, " occurs twice"));
  }
  return parsed;
}

}  // namespace ulpscope
