#ifndef EXPLORER_REPORT_MODEL_EXPLORER_H_
#define EXPLORER_REPORT_MODEL_EXPLORER_H_

#include <string>
#include <vector>

#include "explorer/results/schema.h"

namespace ulpscope {

// Files for Google's Model Explorer, which draws graphs of models and colours
// their nodes: results of --sweep, --attribute and --diagnose on the decoder.

// The decoder once for every plan, whose text is the graph's id (of two traces
// "traces"): {"label": MODEL, "graphs": [{"id": PLAN, "nodes": [...]}, ...]}.
// A node is an op, as the page's addresses name it ("L22.mlp_residual", and
// "L0.embed" of ops in no layer), in the namespace "layer_22/mlp"; its edges
// are what it reads. Its attributes are its strategy and its figures.
std::string ModelExplorerGraphs(const Results& results);

// The colours of a figure of ops, or of the residual stream behind each layer:
//   {PLAN: {"name": ..., "results": {"L22.mlp_residual": {"value": -1.02},
//   ...}, "gradient": [...]}, ...}
// Errors are their log10, as gradients are linear. 0, NaN and infinities, which
// have no place on one, are texts with colours of their own; what was not
// measured is not there.
struct NodeData {
  std::string figure;  // "cells_rel_l2"
  std::string json;
};

// Of every figure that was measured.
std::vector<NodeData> ModelExplorerNodeData(const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_MODEL_EXPLORER_H_
