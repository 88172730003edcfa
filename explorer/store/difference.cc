#include "explorer/store/difference.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/store/record.h"
#include "model/files/strict_json.h"
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
  const auto of_first = ParseJsonObject(first.result, "the result");
  const auto of_second = ParseJsonObject(second.result, "the result");
  if (!of_first.ok() || !of_second.ok()) {
    const auto kind = [](const auto& result) {
      return result.ok() ? "an object" : "no object of JSON";
    };
    return {"result", kind(of_first), kind(of_second)};
  }
  // Of an object without members flatten makes a null that has no path.
  const auto flat = [](const Json& result) {
    Json figures = result.flatten();
    figures.erase("");
    return figures;
  };
  const Json flat_first = flat(*of_first);
  const Json flat_second = flat(*of_second);
  const auto name = [](absl::string_view path) {
    return std::string(absl::StripPrefix(path, "/"));
  };
  // By its text a figure shows the sign of a zero too.
  for (const auto& [path, value] : flat_first.items()) {
    const auto other = flat_second.find(path);
    if (other == flat_second.end()) return {name(path), value.dump(), ""};
    if (other->dump() != value.dump()) {
      return {name(path), value.dump(), other->dump()};
    }
  }
  for (const auto& [path, value] : flat_second.items()) {
    if (!flat_first.contains(path)) return {name(path), "", value.dump()};
  }
  // No figure then, but null, [] and {}, which have the same path.
  if (*of_first != *of_second) return {"result", "an object", "another one"};
  return {};
}

}  // namespace ulpscope
