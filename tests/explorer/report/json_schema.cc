#include "tests/explorer/report/json_schema.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

bool HasType(const Json& x, const std::string& type) {
  return (type == "boolean" && x.is_boolean()) ||
         (type == "integer" && x.is_number_integer()) ||
         (type == "number" && x.is_number()) ||
         (type == "string" && x.is_string()) ||
         (type == "null" && x.is_null()) || (type == "array" && x.is_array()) ||
         (type == "object" && x.is_object());
}

}  // namespace

std::vector<std::string> SchemaFaults(const Json& schema, const Json& document,
                                      const std::string& place) {
  std::vector<std::string> faults;
  const auto fault = [&](const std::string& what) {
    faults.push_back(absl::StrCat(place, ": ", what));
  };
  const auto add = [&](const std::vector<std::string>& more) {
    faults.insert(faults.end(), more.begin(), more.end());
  };
  for (const auto& [keyword, value] : schema.items()) {
    if (keyword == "type") {
      if (!HasType(document, value)) fault("not of type " + value.dump());
    } else if (keyword == "const") {
      if (document != value) fault("not " + value.dump());
    } else if (keyword == "enum") {
      if (std::find(value.begin(), value.end(), document) == value.end()) {
        fault("not one of " + value.dump());
      }
    } else if (keyword == "anyOf") {
      if (std::none_of(value.begin(), value.end(), [&](const Json& one) {
            return SchemaFaults(one, document, place).empty();
          })) {
        fault("none of " + value.dump());
      }
    } else if (keyword == "required") {
      for (const Json& name : value) {
        if (!document.contains(name)) fault("no " + name.dump());
      }
    } else if (keyword == "items") {
      for (size_t i = 0; document.is_array() && i < document.size(); ++i) {
        add(SchemaFaults(value, document[i], absl::StrCat(place, "/", i)));
      }
    } else if (keyword == "properties") {
      for (const auto& [name, of_name] : value.items()) {
        if (!document.is_object() || !document.contains(name)) continue;
        add(SchemaFaults(of_name, document[name],
                         absl::StrCat(place, "/", name)));
      }
    } else if (keyword == "additionalProperties") {
      if (value != false) fault("additionalProperties is not false");
      for (const auto& [name, unused] : document.items()) {
        if (!schema["properties"].contains(name)) fault("has " + name);
      }
    } else if (keyword != "$schema" && keyword != "title" &&
               keyword != "description" && keyword != "unit") {
      fault("unknown keyword " + keyword);
    }
  }
  return faults;
}

}  // namespace ulpscope
