#include "tests/explorer/diagnosis/bug_zoo.h"

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

constexpr absl::string_view kFolder = "tests/testdata/zoo/";

// The zoo's names of variants that the catalogue calls something else.
std::string IdOf(const std::string& variant) {
  static const auto* const kIds = new std::map<std::string, std::string>{
      {"rope_theta_1e4", "rope_theta_10000"},
      {"rope_theta_5e5", "rope_theta_500000"},
      {"index_off_by_one_minus", "index_off_by_one"},
      {"index_off_by_one_plus", "index_off_by_one"}};
  const auto found = kIds->find(variant);
  return found == kIds->end() ? variant : found->second;
}

}  // namespace

std::vector<ZooTrace> BugZoo() {
  std::vector<ZooTrace> zoo;
  std::ifstream file(absl::StrCat(kFolder, "zoo.json"));
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("traces")) return zoo;
  for (const auto& entry : json["traces"]) {
    ZooTrace trace;
    const std::string name = entry.value("file", "");
    trace.name = std::string(absl::StripSuffix(name, ".safetensors"));
    trace.file = absl::StrCat(kFolder, name);
    trace.checkpoint = absl::StrCat(kFolder, entry.value("checkpoint", ""));
    trace.dtype = entry.value("dtype", "");
    if (entry.contains("variants")) {
      for (const auto& variant : entry["variants"]) {
        trace.bugs.push_back(IdOf(variant.get<std::string>()));
      }
    }
    trace.has_ops = entry.value("has_ops", true);
    trace.outside = entry.contains("outside");
    if (entry.contains("first_difference") &&
        entry["first_difference"].is_object()) {
      trace.first_layer = entry["first_difference"].value("layer", size_t{0});
      trace.first_op = entry["first_difference"].value("op", "");
    }
    zoo.push_back(std::move(trace));
  }
  return zoo;
}

}  // namespace ulpscope
