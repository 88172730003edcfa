// What -o prints for other programs, and what it adds to a report's folder.

#include <cmath>
#include <cstddef>
#include <map>
#include <set>
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

  // Node data of the only graph, whose nodes are the graph's.
  Json Nodes(const std::string& figure) const {
    const Json& graph = printed["graphs"][0];
    std::set<std::string> ids;
    for (const Json& node : graph["nodes"]) ids.insert(node["id"]);
    Json nodes =
        File(absl::StrCat("model_explorer_", figure,
                          ".json"))[graph["id"].get<std::string>()]["results"];
    for (const auto& [node, unused] : nodes.items()) {
      EXPECT_EQ(ids.count(node), 1u) << figure << " of " << node;
    }
    return nodes;
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

// Null if the node has none.
Json ValueOf(const Json& nodes, const std::string& node) {
  return nodes.value(node, Json::object()).value("value", Json());
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
    const int layer = row["layer"];
    const std::string stream = layer == 0 ? "embed" : "mlp_residual";
    const std::string node =
        absl::StrCat("L", layer, ".", row.value("op", stream));
    ++count;
    const Json value = ValueOf(nodes, node);
    if (row[column] == 0) {
      EXPECT_EQ(value, "0") << node;
    } else {
      EXPECT_EQ(value, std::log10(row[column].get<double>())) << node;
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
  EXPECT_GT(ExpectLogarithms(exported.Nodes("layers_rel_l2"),
                             exported.results["layers"], "rel_l2",
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
  const Json& results = exported.results;
  for (const char* const column : {"rel_l2", "logits_rel_l2", "kl_nats"}) {
    const Json nodes = exported.Nodes(absl::StrCat("cells_", column));
    EXPECT_GT(ExpectLogarithms(nodes, results["cells"], column), 50u);
  }
  ExpectLogarithms(exported.Nodes("layers_total_rel_l2"), results["layers"],
                   "total_rel_l2");
  ExpectLogarithms(exported.Nodes("layer_ops_rel_l2"), results["layer_ops"],
                   "rel_l2");
  const Json bits = exported.Nodes("headrooms_f16_headroom_bits");
  EXPECT_EQ(bits.size(), results["headrooms"].size());
  for (const Json& row : results["headrooms"]) {
    const std::string node = absl::StrCat("L", row["layer"].get<int>(), ".",
                                          row["op"].get<std::string>());
    EXPECT_EQ(ValueOf(bits, node), row["f16_headroom_bits"]) << node;
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
      8u);
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
