#include "explorer/diagnosis/archived_description.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {

void Visit(Archive& a, IndexRange& r) {
  a.Figure("first", r.first);
  a.Figure("last", r.last);
}

void Visit(Archive& a, Format& format) { VisitChoice(a, "format", format, 4); }

void Visit(Archive& a, Origin& o) {
  a.Figure("layer", o.layer);
  VisitOp(a, "op", o.op);
  VisitList(a, "unseen", o.unseen);
  a.Figure("first_layer", o.first_layer);
  a.Figure("last_layer", o.last_layer);
  a.Figure("whole_layers", o.whole_layers);
  a.Figure("whole_model", o.whole_model);
}

namespace {

// A part that is a number, a truth or an index alone, or is none.
template <typename T>
struct Alone {
  T value{};
};

void Visit(Archive& a, Alone<bool>& x) { a.Figure("value", x.value); }
void Visit(Archive& a, Alone<int64_t>& x) { VisitInteger(a, "value", x.value); }

template <typename T>
void VisitAlone(Archive& a, absl::string_view name, std::optional<T>& value) {
  std::optional<Alone<T>> part;
  if (value.has_value()) part = Alone<T>{*value};
  VisitPart(a, name, part);
  value = part.has_value() ? std::optional<T>(part->value) : std::nullopt;
}

}  // namespace

void Visit(Archive& a, ValueOrder& o) {
  VisitChoice(a, "kind", o.kind, 8);
  a.Figure("heads", o.heads);
  a.Figure("right_heads", o.right_heads);
  VisitAlone(a, "consistent_with_neighbours", o.consistent_with_neighbours);
  a.Figure("moved", o.moved);
}

void Visit(Archive& a, ConstantVector& v) {
  a.Figure("size", v.size);
  a.Figure("tensor", v.tensor);
  VisitInteger(a, "sign", v.sign);
}

void Visit(Archive& a, RowFactors& f) {
  a.Figure("of_heads", f.of_heads);
  a.Figure("rows", f.rows);
  a.Figure("least", f.least);
  a.Figure("largest", f.largest);
  a.Figure("identical", f.identical);
  a.Figure("identical_without", f.identical_without);
  VisitPart(a, "inverse_rms", f.inverse_rms);
}

void Visit(Archive& a, PointDescription& d) {
  a.Figure("point", d.point);
  VisitChoice(a, "status", d.status, 4);
  VisitList(a, "layers", d.layers);
  VisitPart(a, "origin", d.origin);
  a.Figure("positions", d.positions);
  VisitList(a, "positions_that_agree", d.positions_that_agree);
  VisitList(a, "positions_that_differ", d.positions_that_differ);
  VisitList(a, "positions_same_bits", d.positions_same_bits);
  VisitList(a, "heads_that_agree", d.heads_that_agree);
  VisitList(a, "heads_that_differ", d.heads_that_differ);
  VisitList(a, "kv_heads_that_agree", d.kv_heads_that_agree);
  VisitList(a, "kv_heads_that_differ", d.kv_heads_that_differ);
  VisitList(a, "channels_that_agree", d.channels_that_agree);
  VisitList(a, "channels_that_differ", d.channels_that_differ);
  a.Figure("best_factor", d.best_factor);
  a.Figure("cosine", d.cosine);
  a.Figure("nonfinite", d.nonfinite);
  a.Figure("ours_nonfinite", d.ours_nonfinite);
  a.Figure("constant_factor", d.constant_factor);
  VisitPart(a, "constant_vector", d.constant_vector);
  VisitPart(a, "row_factors", d.row_factors);
  VisitPart(a, "order", d.order);
  VisitAlone(a, "position_shift", d.position_shift);
  VisitPart(a, "of_layer", d.of_layer);
}

void Visit(Archive& a, FirstNonFinite& n) {
  VisitPart(a, "origin", n.origin);
  VisitList(a, "positions", n.positions);
  VisitList(a, "heads", n.heads);
  VisitList(a, "channels", n.channels);
  a.Figure("elements", n.elements);
  a.Figure("nan", n.nan);
  a.Figure("of", n.of);
  VisitChoice(a, "reason", n.reason, 6);
  VisitPart(a, "result", n.format);
  a.Figure("largest", n.largest);
  a.Figure("magnitude", n.magnitude);
  a.Figure("emulated", n.emulated);
  VisitPart(a, "emulated_layer", n.emulated_layer);
  VisitPart(a, "emulated_op", n.emulated_op);
}

void Visit(Archive& a, FiniteValues& v) {
  a.Figure("values", v.values);
  a.Figure("finite", v.finite);
  a.Figure("judged", v.judged);
}

bool IsInModel(const Origin& origin, size_t num_layers) {
  return origin.layer <= num_layers && origin.first_layer <= num_layers &&
         origin.last_layer <= num_layers;
}

}  // namespace ulpscope
