#include "explorer/report/model_explorer.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/origin.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/schema.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

enum class Scale { kLog10, kLinear };

// A column whose rows are of ops or, in a table without ops, of what a layer
// leaves in the residual stream.
struct NodeFigure {
  absl::string_view mode, table, column;
  Scale scale;
  absl::string_view key, value;  // of the rows that count; or empty: all do
};

constexpr NodeFigure kFigures[] = {
    {"sweep", "layers", "rel_l2", Scale::kLog10, "tokens", "prompt"},
    {"sweep", "layers", "max_abs", Scale::kLog10, "tokens", "prompt"},
    {"sweep", "layers", "p99_ulps", Scale::kLog10, "tokens", "prompt"},
    {"sweep", "layers", "growth", Scale::kLog10, "tokens", "prompt"},
    {"attribute", "cells", "rel_l2", Scale::kLog10, "", ""},
    {"attribute", "cells", "logits_rel_l2", Scale::kLog10, "", ""},
    {"attribute", "cells", "kl_nats", Scale::kLog10, "", ""},
    {"attribute", "cells", "share", Scale::kLinear, "", ""},
    {"attribute", "layer_ops", "rel_l2", Scale::kLog10, "", ""},
    {"attribute", "layers", "total_rel_l2", Scale::kLog10, "", ""},
    {"attribute", "repairs", "gain", Scale::kLinear, "scope", "cell"},
    {"attribute", "headrooms", "f16_headroom_bits", Scale::kLinear, "", ""},
    {"diagnose", "points", "distance", Scale::kLog10, "", ""},
    {"diagnose", "points", "identical", Scale::kLinear, "", ""},
    {"trace_pair", "pair_points", "distance", Scale::kLog10, "", ""},
    {"trace_pair", "pair_points", "identical", Scale::kLinear, "", ""},
};

// Of the least and of the largest value; in between five colours of viridis.
constexpr absl::string_view kGradient[] = {"#440154", "#3b528b", "#21918c",
                                           "#5ec962", "#fde725"};
constexpr absl::string_view kZero = "#d9d9d9", kNotFinite = "#d62728";

std::string TextIn(const Table& context, absl::string_view column) {
  return context.Has(column) ? ValueText(context.rows[0][context.Find(column)])
                             : std::string();
}

// As far as the graph depends on it.
ModelConfig ConfigOf(const Results& results) {
  const Table& context = results.tables[0];
  ModelConfig config;
  config.num_hidden_layers =
      std::get<int64_t>(context.rows[0][context.Find("num_hidden_layers")]);
  config.qk_norm =
      TextIn(context, "architecture") == ArchitectureName(Architecture::kQwen3);
  return config;
}

std::vector<std::string> GraphIds(const Results& results) {
  if (results.mode == "trace_pair") return {"traces"};
  if (results.mode != "sweep") return {TextIn(results.tables[0], "plan")};
  std::vector<std::string> plans;
  const Table& table = results.Find("plans");
  for (const std::vector<Value>& row : table.rows) {
    plans.push_back(ValueText(row[table.Find("plan")]));
  }
  return plans;
}

std::string NodeId(size_t layer, absl::string_view op) {
  return absl::StrCat("L", layer, ".", op);
}

std::string NodeId(const Cell& cell) {
  return NodeId(cell.layer, OpName(cell.op));
}

std::string Namespace(const Cell& cell) {
  if (!IsPerLayer(cell.op)) return "";
  return absl::StrCat("layer_", cell.layer,
                      cell.op < Op::kPostNorm ? "/attn" : "/mlp");
}

// What the op reads, the caches of keys and values included.
std::vector<Cell> SourcesOf(const Cell& cell, const ModelConfig& config) {
  if (cell.op == Op::kAv) {
    return {{cell.layer, Op::kSoftmax}, {cell.layer, Op::kKvV}};
  }
  std::vector<Cell> sources = InputsOf(cell, config);
  if (cell.op == Op::kQk) sources.push_back({cell.layer, Op::kKvK});
  return sources;
}

using NodeValues = std::map<std::string, Value>;  // by node

// A figure of every graph, by its id: of a sweep a plan's, else of the one.
std::map<std::string, NodeValues> ValuesOf(const Results& results,
                                           const NodeFigure& figure) {
  std::map<std::string, NodeValues> values;
  const bool by_plan = results.mode == "sweep";
  const std::string only = by_plan ? "" : GraphIds(results)[0];
  const Table& table = results.Find(figure.table);
  const size_t layer = table.Find("layer"), column = table.Find(figure.column);
  for (const std::vector<Value>& row : table.rows) {
    const auto is = [&](absl::string_view key, absl::string_view value) {
      return ValueText(row[table.Find(key)]) == value;
    };
    if (!figure.key.empty() && !is(figure.key, figure.value)) continue;
    const auto* const number = std::get_if<int64_t>(&row[layer]);
    if (number == nullptr) continue;
    // The stream before the first layer is what embed gives.
    const std::string op = table.Has("op") ? ValueText(row[table.Find("op")])
                           : *number == 0  ? "embed"
                                           : "mlp_residual";
    values[by_plan ? ValueText(row[table.Find("plan")]) : only].emplace(
        NodeId(static_cast<size_t>(*number), op), row[column]);
  }
  return values;
}

Json Attribute(absl::string_view key, absl::string_view value) {
  return {{"key", std::string(key)}, {"value", std::string(value)}};
}

// What the table of a figure has, by graph.
struct FigureValues {
  const NodeFigure* figure;
  std::map<std::string, NodeValues> values;
};

std::vector<FigureValues> AllValues(const Results& results) {
  std::vector<FigureValues> all;
  for (const NodeFigure& figure : kFigures) {
    if (figure.mode != results.mode) continue;
    all.push_back({&figure, ValuesOf(results, figure)});
  }
  return all;
}

Json GraphOf(const Results& results, const ModelConfig& config,
             const std::vector<FigureValues>& all, const std::string& id) {
  // The strategies of a plan that this program knows.
  std::optional<Plan> plan;
  if (results.mode != "trace_pair") {
    auto parsed =
        Plan::Parse(id, static_cast<size_t>(config.num_hidden_layers));
    if (parsed.ok()) plan = *std::move(parsed);
  }
  std::map<std::string, Json> figures;  // attributes, by node
  for (const auto& [figure, values] : all) {
    const auto of_graph = values.find(id);
    if (of_graph == values.end()) continue;
    for (const auto& [node, value] : of_graph->second) {
      if (std::holds_alternative<std::monostate>(value)) continue;
      figures[node].push_back(Attribute(
          absl::StrCat(figure->table, ".", figure->column), ValueText(value)));
    }
  }
  Json nodes = Json::array(), groups = Json::object();
  const Table& context = results.tables[0];
  for (const size_t c : RunColumns(context)) {
    groups[""][context.columns[c].name] = ValueText(context.rows[0][c]);
  }
  for (const Cell& cell : CellsOf(config)) {
    const std::string node = NodeId(cell);
    Json attributes = Json::array();
    if (plan.has_value()) {
      attributes.push_back(
          Attribute("strategy", plan->Get(cell.layer, cell.op).name()));
      if (cell.op == Op::kSoftmax) {
        groups[Namespace(cell)]["attention"] =
            plan->attention(cell.layer).Text();
      }
    }
    for (Json& attribute : figures[node]) {
      attributes.push_back(std::move(attribute));
    }
    Json edges = Json::array();
    for (const Cell& source : SourcesOf(cell, config)) {
      edges.push_back({{"sourceNodeId", NodeId(source)},
                       {"sourceNodeOutputId", "0"},
                       {"targetNodeInputId", absl::StrCat(edges.size())}});
    }
    nodes.push_back({{"id", node},
                     {"label", std::string(OpName(cell.op))},
                     {"namespace", Namespace(cell)},
                     {"attrs", std::move(attributes)},
                     {"incomingEdges", std::move(edges)}});
  }
  return {{"id", id},
          {"nodes", std::move(nodes)},
          {"groupNodeAttributes", std::move(groups)}};
}

// Null if it was not measured.
Json NodeValue(const Value& value, Scale scale) {
  const double* const x = std::get_if<double>(&value);
  if (x == nullptr) return nullptr;
  Json node = Json::object();
  if (std::isfinite(*x) && (scale == Scale::kLinear || *x > 0)) {
    node["value"] = scale == Scale::kLinear ? *x : std::log10(*x);
  } else {
    node["value"] = ValueText(value);
    node["bgColor"] = std::string(*x == 0 ? kZero : kNotFinite);
  }
  return node;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string SyntheticLabel(const Results& results) {
  return TextIn(results.tables[0], "synthetic") == "true"
             ? " (SYNTHETIC weights)"
             : "";
}

}  // namespace

std::string ModelExplorerGraphs(const Results& results) {
  const ModelConfig config = ConfigOf(results);
  Json json = {{"label", absl::StrCat(TextIn(results.tables[0], "model"),
                                      SyntheticLabel(results))},
               {"graphs", Json::array()}};
  const std::vector<FigureValues> values = AllValues(results);
  for (const std::string& id : GraphIds(results)) {
    json["graphs"].push_back(GraphOf(results, config, values, id));
  }
  return Dump(json);
}

std::vector<NodeData> ModelExplorerNodeData(const Results& results) {
  constexpr size_t kStops = std::size(kGradient);
  Json gradient = Json::array();
  for (size_t i = 0; i < kStops; ++i) {
    gradient.push_back({{"stop", static_cast<double>(i) / (kStops - 1)},
                        {"bgColor", std::string(kGradient[i])}});
  }
  std::vector<NodeData> files;
  for (const auto& [of, values] : AllValues(results)) {
    const NodeFigure& figure = *of;
    Json json;
    for (const std::string& graph : GraphIds(results)) {
      const auto of_graph = values.find(graph);
      if (of_graph == values.end()) continue;
      Json nodes = Json::object();
      for (const auto& [node, value] : of_graph->second) {
        Json shown = NodeValue(value, figure.scale);
        if (!shown.is_null()) nodes[node] = std::move(shown);
      }
      if (nodes.empty()) continue;
      json[graph] = {
          {"name", absl::StrCat(figure.table, " ", figure.column,
                                figure.scale == Scale::kLog10 ? " (log10)" : "",
                                SyntheticLabel(results))},
          {"results", std::move(nodes)},
          {"gradient", gradient}};
    }
    if (json.is_null()) continue;
    files.push_back(
        {absl::StrCat(figure.table, "_", figure.column), Dump(json)});
  }
  return files;
}

}  // namespace ulpscope
