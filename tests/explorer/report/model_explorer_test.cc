#include "explorer/report/model_explorer.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/report/json_schema.h"
#include "tests/explorer/report/made_sweep.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

// Of its graph_builder.py, the fields that are written.
const Json& GraphSchema() {
  static const auto* schema = new Json(Json::parse(R"({
    "type": "object",
    "additionalProperties": false,
    "required": ["label", "graphs"],
    "properties": {
      "label": {"type": "string"},
      "graphs": {"type": "array", "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "nodes"],
        "properties": {
          "id": {"type": "string"},
          "groupNodeAttributes": {"type": "object"},
          "nodes": {"type": "array", "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["id", "label", "namespace", "attrs", "incomingEdges"],
            "properties": {
              "id": {"type": "string"},
              "label": {"type": "string"},
              "namespace": {"type": "string"},
              "attrs": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["key", "value"],
                "properties": {"key": {"type": "string"},
                               "value": {"type": "string"}}}},
              "incomingEdges": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["sourceNodeId", "sourceNodeOutputId",
                             "targetNodeInputId"],
                "properties": {
                  "sourceNodeId": {"type": "string"},
                  "sourceNodeOutputId": {"type": "string"},
                  "targetNodeInputId": {"type": "string"}}}}}}}}}}}})"));
  return *schema;
}

// Of its node_data_builder.py, of one graph.
const Json& NodeDataSchema() {
  static const auto* schema = new Json(Json::parse(R"({
    "type": "object",
    "additionalProperties": false,
    "required": ["name", "results", "gradient"],
    "properties": {
      "name": {"type": "string"},
      "results": {"type": "object"},
      "gradient": {"type": "array", "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["stop", "bgColor"],
        "properties": {"stop": {"type": "number"},
                       "bgColor": {"type": "string"}}}}}})"));
  return *schema;
}

const Json& ResultSchema() {
  static const auto* schema = new Json(Json::parse(R"({
    "type": "object",
    "additionalProperties": false,
    "required": ["value"],
    "properties": {
      "value": {"anyOf": [{"type": "number"}, {"type": "string"}]},
      "bgColor": {"type": "string"}}})"));
  return *schema;
}

Json GraphsOf(const Results& results) {
  Json json = Json::parse(ModelExplorerGraphs(results));
  EXPECT_THAT(SchemaFaults(GraphSchema(), json), IsEmpty());
  return json;
}

// By figure.
std::map<std::string, Json> NodeDataOf(const Results& results) {
  std::map<std::string, Json> by_figure;
  for (const NodeData& data : ModelExplorerNodeData(results)) {
    const Json json = Json::parse(data.json);
    for (const auto& [graph, of_graph] : json.items()) {
      EXPECT_THAT(SchemaFaults(NodeDataSchema(), of_graph), IsEmpty());
      for (const auto& [node, result] : of_graph["results"].items()) {
        EXPECT_THAT(SchemaFaults(ResultSchema(), result), IsEmpty()) << node;
      }
      EXPECT_EQ(of_graph["gradient"].front()["stop"], 0);
      EXPECT_EQ(of_graph["gradient"].back()["stop"], 1);
    }
    by_figure[data.figure] = json;
  }
  return by_figure;
}

const Json& Node(const Json& graph, const std::string& id) {
  for (const Json& node : graph["nodes"]) {
    if (node["id"] == id) return node;
  }
  ADD_FAILURE() << "no node " << id;
  return graph["nodes"][0];
}

std::vector<std::string> Sources(const Json& graph, const std::string& id) {
  std::vector<std::string> sources;
  for (const Json& edge : Node(graph, id)["incomingEdges"]) {
    EXPECT_EQ(edge["targetNodeInputId"], absl::StrCat(sources.size()));
    sources.push_back(edge["sourceNodeId"]);
  }
  return sources;
}

std::string Attribute(const Json& graph, const std::string& id,
                      const std::string& key) {
  for (const Json& attribute : Node(graph, id)["attrs"]) {
    if (attribute["key"] == key) return attribute["value"];
  }
  return "";
}

TEST(ModelExplorerTest, AGraphOfEveryPlanHasTheDecodersDataFlow) {
  const MadeSweep sweep;
  const Json json = GraphsOf(sweep.Made());
  EXPECT_EQ(json["label"], "synthetic:tiny (SYNTHETIC weights)");
  ASSERT_EQ(json["graphs"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const Json& graph = json["graphs"][i];
    EXPECT_EQ(graph["id"], sweep.result.plans[i].plan);
    EXPECT_EQ(graph["groupNodeAttributes"][""]["synthetic"], "true");
    EXPECT_EQ(graph["nodes"].size(), 5 * 20 + 3u);
    // As they run: what an op reads stands before it, so that there is no
    // circle, and all but the first and the last are read by something.
    std::set<std::string> seen, read;
    for (const Json& node : graph["nodes"]) {
      const std::string id = node["id"];
      for (const std::string& source : Sources(graph, id)) {
        EXPECT_EQ(seen.count(source), 1u) << source << " of " << id;
        read.insert(source);
      }
      EXPECT_EQ(node["incomingEdges"].empty(), id == "L0.embed") << id;
      EXPECT_TRUE(seen.insert(id).second) << id;
    }
    read.insert("L0.lm_head");
    EXPECT_EQ(read, seen);
  }
  const Json& graph = json["graphs"][0];
  EXPECT_THAT(Sources(graph, "L1.input_norm"), ElementsAre("L0.embed"));
  EXPECT_THAT(Sources(graph, "L3.input_norm"), ElementsAre("L2.mlp_residual"));
  EXPECT_THAT(Sources(graph, "L3.rope"), ElementsAre("L3.q_norm", "L3.k_norm"));
  EXPECT_THAT(Sources(graph, "L3.qk"), ElementsAre("L3.rope", "L3.kv_k"));
  EXPECT_THAT(Sources(graph, "L3.av"), ElementsAre("L3.softmax", "L3.kv_v"));
  EXPECT_THAT(Sources(graph, "L3.attn_residual"),
              ElementsAre("L2.mlp_residual", "L3.o_proj"));
  EXPECT_THAT(Sources(graph, "L0.lm_head"), ElementsAre("L0.final_norm"));
  EXPECT_EQ(Node(graph, "L2.o_proj")["namespace"], "layer_2/attn");
  EXPECT_EQ(Node(graph, "L2.post_norm")["namespace"], "layer_2/mlp");
  EXPECT_EQ(Node(graph, "L0.embed")["namespace"], "");
}

TEST(ModelExplorerTest, NormsOfHeadsAreQwen3s) {
  MadeSweep sweep;
  sweep.info.config.architecture = Architecture::kLlama;
  const Json json = GraphsOf(sweep.Made());
  EXPECT_EQ(json["graphs"][0]["nodes"].size(), 5 * 18 + 3u);
  EXPECT_THAT(Sources(json["graphs"][0], "L1.rope"),
              ElementsAre("L1.q_proj", "L1.k_proj"));
}

TEST(ModelExplorerTest, NodesHaveTheirStrategiesAndFigures) {
  MadeSweep sweep;
  sweep.result.plans[0].plan =
      "matmul=bf16,down_proj@2=kahan,attention=fa2(64)";
  sweep.result.plans[1].plan = "what is no plan of this program";
  sweep.result.plans[0].prompt.layers[1].error.rel_l2 = 0.1;
  const Json json = GraphsOf(sweep.Made());
  const Json& graph = json["graphs"][0];
  EXPECT_EQ(Attribute(graph, "L1.down_proj", "strategy"), "bf16");
  EXPECT_EQ(Attribute(graph, "L2.down_proj", "strategy"), "kahan");
  EXPECT_EQ(Attribute(graph, "L2.softmax", "strategy"), "f32");
  EXPECT_EQ(Attribute(graph, "L2.mlp_residual", "layers.rel_l2"),
            "0.10000000000000001");
  EXPECT_EQ(graph["groupNodeAttributes"]["layer_2/attn"]["attention"],
            "fa2(64)");
  EXPECT_EQ(Attribute(json["graphs"][1], "L2.softmax", "strategy"), "");
}

TEST(ModelExplorerTest, ErrorsAreTheirLogarithmsAndOddValuesAreTold) {
  MadeSweep sweep;
  auto& layers = sweep.result.plans[0].prompt.layers;
  layers[0].error.rel_l2 = 1e-3;
  layers[1].error.rel_l2 = 0;
  layers[2].error.rel_l2 = std::numeric_limits<double>::quiet_NaN();
  layers[3].error.rel_l2 = std::numeric_limits<double>::infinity();
  layers[4].error.ulps.reset();
  const auto data = NodeDataOf(sweep.Made());
  std::vector<std::string> figures;
  for (const auto& [figure, json] : data) figures.push_back(figure);
  EXPECT_THAT(figures,
              UnorderedElementsAre("layers_rel_l2", "layers_max_abs",
                                   "layers_p99_ulps", "layers_growth"));
  const Json& errors = data.at("layers_rel_l2");
  EXPECT_EQ(errors.size(), 4u);
  const Json& graph = errors[sweep.result.plans[0].plan];
  EXPECT_EQ(graph["name"], "layers rel_l2 (log10) (SYNTHETIC weights)");
  const Json& nodes = graph["results"];
  EXPECT_EQ(nodes["L1.mlp_residual"]["value"], std::log10(1e-3));
  EXPECT_FALSE(nodes["L1.mlp_residual"].contains("bgColor"));
  EXPECT_EQ(nodes["L2.mlp_residual"]["value"], "0");
  EXPECT_EQ(nodes["L3.mlp_residual"]["value"], "NaN");
  EXPECT_EQ(nodes["L4.mlp_residual"]["value"], "Infinity");
  EXPECT_EQ(nodes["L4.mlp_residual"]["bgColor"],
            nodes["L3.mlp_residual"]["bgColor"]);
  EXPECT_NE(nodes["L2.mlp_residual"]["bgColor"],
            nodes["L3.mlp_residual"]["bgColor"]);
  EXPECT_EQ(nodes["L5.mlp_residual"]["value"],
            std::log10(layers[4].error.rel_l2));
  const Json& ulps =
      data.at("layers_p99_ulps")[sweep.result.plans[0].plan]["results"];
  EXPECT_TRUE(ulps.contains("L4.mlp_residual"));
  EXPECT_FALSE(ulps.contains("L5.mlp_residual"));
}

TEST(ModelExplorerTest, NothingMeasuredIsNoNodeData) {
  MadeSweep sweep;
  sweep.Stop(0);
  EXPECT_THAT(NodeDataOf(sweep.Made()), IsEmpty());
  EXPECT_EQ(GraphsOf(sweep.Made())["graphs"].size(), 4u);
}

}  // namespace
}  // namespace ulpscope
