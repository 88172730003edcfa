#ifndef TESTS_EXPLORER_REPORT_JSON_SCHEMA_H_
#define TESTS_EXPLORER_REPORT_JSON_SCHEMA_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace ulpscope {

// What is wrong with a document by a JSON Schema (draft 2020-12), an entry per
// fault with its place; empty if it is valid. Of the keywords it knows those
// that docs/schema has; another one is a fault.
std::vector<std::string> SchemaFaults(const nlohmann::json& schema,
                                      const nlohmann::json& document,
                                      const std::string& place = "");

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_REPORT_JSON_SCHEMA_H_
