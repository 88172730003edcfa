#include "explorer/report/google_benchmark.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/schema.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

// The runs of one name, in the order of time.
struct Family {
  std::string name;
  std::vector<double> seconds;
};

std::vector<Family> FamiliesOf(const Results& results) {
  std::vector<Family> families;
  std::map<std::string, size_t> index;  // by name
  for (const Table& table : results.tables) {
    if (table.name != "timings" && table.name != "proof_timings") continue;
    const size_t plan = table.Find("plan"), phase = table.Find("phase"),
                 seconds = table.Find("seconds");
    for (const std::vector<Value>& row : table.rows) {
      const double* const took = std::get_if<double>(&row[seconds]);
      if (took == nullptr || !std::isfinite(*took)) continue;
      std::string name =
          absl::StrCat(ValueText(row[phase]), "/", ValueText(row[plan]));
      if (table.Has("kind")) {
        absl::StrAppend(&name, "/", ValueText(row[table.Find("kind")]));
      }
      const auto [found, is_new] = index.emplace(name, families.size());
      if (is_new) families.push_back({std::move(name), {}});
      families[found->second].seconds.push_back(*took);
    }
  }
  return families;
}

}  // namespace

std::string GoogleBenchmarkJson(const Results& results) {
  const Table& context = results.tables[0];
  Json json = {{"context", {{"executable", "explorer"}}},
               {"benchmarks", Json::array()}};
  // As its AddCustomContext does, whose values are texts.
  for (const size_t c : RunColumns(context)) {
    json["context"][context.columns[c].name] = ValueText(context.rows[0][c]);
  }
  json["context"]["cpu_time"] = "not measured: 0, as compare.py needs a number";
  json["context"]["json_schema_version"] = 1;
  const auto& row = context.rows[0];
  const bool synthetic = row[context.Find("synthetic")] == Value(true);
  const Value& threads = row[context.Find("threads")];
  const std::vector<Family> families = FamiliesOf(results);
  for (size_t f = 0; f < families.size(); ++f) {
    const Family& family = families[f];
    for (size_t i = 0; i < family.seconds.size(); ++i) {
      Json run = {{"name", family.name},
                  {"family_index", f},
                  {"per_family_instance_index", 0},
                  {"run_name", family.name},
                  {"run_type", "iteration"},
                  {"repetitions", family.seconds.size()},
                  {"repetition_index", i},
                  {"threads", std::get<int64_t>(threads)},
                  {"iterations", 1},
                  {"real_time", family.seconds[i] * 1e9},
                  {"cpu_time", 0.0},
                  {"time_unit", "ns"}};
      if (synthetic) run["label"] = "SYNTHETIC weights";
      json["benchmarks"].push_back(std::move(run));
    }
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ulpscope
