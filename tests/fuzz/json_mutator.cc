#include "tests/fuzz/json_mutator.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

Json OtherValue(Choice& choice) {
  const Json values[] = {nullptr,
                         true,
                         false,
                         0,
                         1,
                         -1,
                         2,
                         0.5,
                         -0.0,
                         1e308,
                         5e-324,
                         std::numeric_limits<int64_t>::max(),
                         std::numeric_limits<int64_t>::min(),
                         std::numeric_limits<uint64_t>::max(),
                         uint64_t{1} << 31,
                         uint64_t{1} << 32,
                         uint64_t{1} << 53,
                         "",
                         "NaN",
                         "Infinity",
                         Json::array(),
                         Json::object()};
  return values[choice.Below(std::size(values))];
}

void MutateNumber(Choice& choice, Json& json) {
  if (json.is_number_float()) {
    json = json.get<double>() * (choice.Below(2) == 0 ? 2 : -0.3);
  } else {
    const auto more = static_cast<uint64_t>(choice.Below(5)) - 2;
    json = json.is_number_unsigned()
               ? Json(json.get<uint64_t>() + more)
               : Json(static_cast<int64_t>(
                     static_cast<uint64_t>(json.get<int64_t>()) + more));
  }
}

void MutateMembers(Choice& choice, Json& object) {
  if (object.empty()) {
    object["a"] = OtherValue(choice);
    return;
  }
  auto it = std::next(object.begin(),
                      static_cast<std::ptrdiff_t>(choice.Below(object.size())));
  std::string name = it.key();
  Json value = *it;
  switch (choice.Below(3)) {
    case 0:
      object.erase(it);
      break;
    case 1:
      object.erase(it);
      [[fallthrough]];
    default:
      Mutate(name, 8);
      object[name] = std::move(value);
  }
}

void MutateElements(Choice& choice, Json& array) {
  if (array.empty()) {
    array.push_back(OtherValue(choice));
    return;
  }
  const size_t at = choice.Below(array.size());
  switch (choice.Below(3)) {
    case 0:
      array.erase(at);
      break;
    case 1:
      array.push_back(Json(array[at]));
      break;
    default:
      std::swap(array[at], array[choice.Below(array.size())]);
  }
}

}  // namespace

void MutateJson(Choice& choice, Json& json) {
  const size_t what = choice.Below(16);
  if (what == 0) {
    json = OtherValue(choice);
  } else if (json.is_structured() && !json.empty() && what < 13) {
    const auto at = static_cast<std::ptrdiff_t>(choice.Below(json.size()));
    MutateJson(choice, *std::next(json.begin(), at));
  } else if (json.is_object()) {
    MutateMembers(choice, json);
  } else if (json.is_array()) {
    MutateElements(choice, json);
  } else if (json.is_string()) {
    Mutate(json.get_ref<std::string&>(), 16);
  } else if (json.is_number()) {
    MutateNumber(choice, json);
  } else {
    json = OtherValue(choice);
  }
}

std::optional<std::string> MutatedJson(Choice& choice, absl::string_view text) {
  if (choice.Below(2) == 0) return std::nullopt;
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_structured()) return std::nullopt;
  MutateJson(choice, json);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ulpscope
