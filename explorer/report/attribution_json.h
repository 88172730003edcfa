#ifndef EXPLORER_REPORT_ATTRIBUTION_JSON_H_
#define EXPLORER_REPORT_ATTRIBUTION_JSON_H_

#include <string>
#include <vector>

#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/op.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

// What AttributionJson is put together from. Its dump writes null for NaN and
// infinities.
using Json = nlohmann::ordered_json;

inline std::string Name(Op op) { return std::string(OpName(op)); }

// Of the group that the op belongs to.
inline std::string GroupName(Op op) {
  return std::string(KernelName(OpKernel(op)));
}

inline Json NamesJson(const std::vector<Op>& ops) {
  Json names = Json::array();
  for (const Op op : ops) names.push_back(Name(op));
  return names;
}

// An array with one element per value.
template <typename T, typename Fn>
Json ArrayOf(const std::vector<T>& values, const Fn& json_of) {
  Json array = Json::array();
  for (const T& value : values) array.push_back(json_of(value));
  return array;
}

// With the sentences; `repair` may be null.
Json VerdictJson(const Verdict& verdict, const RepairResult* repair);

// With their names, a sentence each.
Json PhenomenaJson(const Phenomena& phenomena,
                   const std::vector<std::string>& lines);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ATTRIBUTION_JSON_H_
