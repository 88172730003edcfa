// What -o prints for other programs, and what it adds to a report's folder.

#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// Of a run of synthetic:tiny.
struct Exported {
  std::string folder;
  Json printed, results;

  Json File(const std::string& name) const {
    return Json::parse(Read(absl::StrCat(folder, "/", name)));
  }
};

Exported Export(const std::string& flags, const std::string& format,
                const std::string& name) {
  Exported exported;
  exported.folder = absl::StrCat(TestFolder(), "/", name);
  const Outcome run =
      Explorer(absl::StrCat(flags, " --wisdom=none -o=", format, " --out='",
                            exported.folder, "'", kQuick));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  exported.printed = Json::parse(run.out);
  exported.results = exported.File("results.json");
  return exported;
}

// Holds node data against the rows that it is of: their logarithms, or what
// they say.
size_t ExpectLogarithms(const Json& nodes, const Json& rows, const char* column,
                        const Json& only = Json::object()) {
  size_t count = 0;
  for (const Json& row : rows) {
    bool is_meant = true;
    for (const auto& [key, value] : only.items()) {
      is_meant = is_meant && row[key] == value;
    }
    if (!is_meant || row[column].is_null()) continue;
    const std::string node =
        absl::StrCat("L", row["layer"].get<int>(), ".",
                     row.value("op", std::string("mlp_residual")));
    ++count;
    if (row[column] == 0) {
      EXPECT_EQ(nodes[node]["value"], "0") << node;
    } else {
      EXPECT_DOUBLE_EQ(nodes[node]["value"].get<double>(),
                       std::log10(row[column].get<double>()))
          << node;
    }
  }
  EXPECT_EQ(nodes.size(), count) << column;
  return count;
}

TEST(ExplorerExportTest, ModelExplorerHasAPlansLayers) {
  const Exported exported =
      Export("--plan=torch-bf16", "model-explorer", "plan");
  EXPECT_EQ(exported.File("model_explorer.json"), exported.printed);
  ASSERT_EQ(exported.printed["graphs"].size(), 1u);
  EXPECT_EQ(exported.printed["graphs"][0]["id"], "torch-bf16");
  const Json nodes = exported.File(
      "model_explorer_layers_rel_l2.json")["torch-bf16"]["results"];
  EXPECT_GT(ExpectLogarithms(nodes, exported.results["layers"], "rel_l2",
                             {{"tokens", "prompt"}}),
            1u);
}

TEST(ExplorerExportTest, ModelExplorerHasAnAttributionsCells) {
  const Exported exported =
      Export("--attribute --plan=torch-bf16", "model-explorer", "cells");
  const Json& graph = exported.printed["graphs"][0];
  EXPECT_EQ(graph["nodes"].size(), exported.results["cells"].size());
  std::map<std::string, std::string> strategies;
  for (const Json& node : graph["nodes"]) {
    strategies[node["id"]] = node["attrs"][0]["value"];
  }
  for (const Json& cell : exported.results["cells"]) {
    EXPECT_EQ(strategies[absl::StrCat("L", cell["layer"].get<int>(), ".",
                                      cell["op"].get<std::string>())],
              cell["strategy"]);
  }
  for (const char* const column : {"rel_l2", "kl_nats"}) {
    const Json nodes = exported.File(absl::StrCat(
        "model_explorer_cells_", column, ".json"))["torch-bf16"]["results"];
    EXPECT_GT(ExpectLogarithms(nodes, exported.results["cells"], column), 50u);
  }
}

TEST(ExplorerExportTest, ModelExplorerHasADiagnosisPoints) {
  const std::string trace = absl::StrCat(TestFolder(), "/trace");
  const Outcome dumped =
      Explorer(absl::StrCat("--dump-trace='", trace,
                            "' --plan=torch-bf16 --model=synthetic:tiny "
                            "--tokens=97,65,19"));
  ASSERT_EQ(dumped.exit_code, 0) << dumped.err;
  const std::string folder = absl::StrCat(TestFolder(), "/points");
  const Outcome run = Explorer(absl::StrCat(
      "--diagnose --reference='", trace, "' -o=model-explorer --out='", folder,
      "' --model=synthetic:tiny --tokens=97,65,19"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json results = Json::parse(Read(folder + "/results.json"));
  const Json data =
      Json::parse(Read(folder + "/model_explorer_points_distance.json"));
  ASSERT_EQ(data.size(), 1u);
  EXPECT_EQ(data.begin().key(), results["context"]["plan"]);
  EXPECT_GT(
      ExpectLogarithms(data.front()["results"], results["points"], "distance"),
      50u);
}

TEST(ExplorerExportTest, GoogleBenchmarkHasTheRunsOfWhatIsTimed) {
  const Exported exported =
      Export("--sweep --axes=matmul=f32,tc_h100", "google-benchmark", "times");
  EXPECT_EQ(exported.File("google_benchmark.json"), exported.printed);
  const Json& timings = exported.results["timings"];
  const Json& runs = exported.printed["benchmarks"];
  ASSERT_EQ(exported.results["plans"].size(), 2u);
  ASSERT_EQ(runs.size(), timings.size());
  ASSERT_GE(runs.size(), 4u);
  for (size_t i = 0; i < runs.size(); ++i) {
    // The emulated plan has none.
    EXPECT_EQ(timings[i]["plan"], "f32");
    EXPECT_EQ(runs[i]["name"],
              absl::StrCat(timings[i]["phase"].get<std::string>(), "/f32"));
    EXPECT_EQ(runs[i]["repetition_index"], timings[i]["run"].get<int>() - 1);
    EXPECT_EQ(runs[i]["real_time"], timings[i]["seconds"].get<double>() * 1e9);
  }
}

TEST(ExplorerExportTest, ModesWithoutItSaySo) {
  const Outcome times = Explorer(
      absl::StrCat("--attribute --plan=f32 -o=google-benchmark", kQuick));
  EXPECT_EQ(times.exit_code, 2);
  EXPECT_THAT(times.err, HasSubstr("model-explorer"));
  const Outcome graph = Explorer("--compare=a --with=b -o=model-explorer");
  EXPECT_EQ(graph.exit_code, 2);
  EXPECT_THAT(graph.err, HasSubstr("jsonl"));
}

}  // namespace
}  // namespace ulpscope
