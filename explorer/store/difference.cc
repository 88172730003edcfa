#include "explorer/store/difference.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/store/record.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

std::string FigureDifference::Text() const {
  const auto shown = [](const std::string& text) {
    return text.empty() ? std::string("none") : text;
  };
  return absl::StrCat(figure, ": ", shown(first), " and ", shown(second));
}

FigureDifference DifferenceOf(const Record& first, const Record& second) {
  using Json = nlohmann::json;
  const Json of_first = Json::parse(first.result, nullptr, false).flatten();
  const Json of_second = Json::parse(second.result, nullptr, false).flatten();
  for (const auto& [path, value] : of_first.items()) {
    const auto other = of_second.find(path);
    if (other == of_second.end()) return {path.substr(1), value.dump(), ""};
    if (*other != value) return {path.substr(1), value.dump(), other->dump()};
  }
  for (const auto& [path, value] : of_second.items()) {
    if (!of_first.contains(path)) return {path.substr(1), "", value.dump()};
  }
  return {};
}

}  // namespace ulpscope
