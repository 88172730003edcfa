#include "explorer/attribution/archived_verdict.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

void VisitStrategy(Archive& a, absl::string_view name, Strategy& strategy) {
  std::string text(strategy.name());
  a.Figure(name, text);
  for (size_t i = 0; i < Strategies().size(); ++i) {
    if (Strategies()[i].name != text) continue;
    strategy = Strategy(i);
    return;
  }
  a.Fail();
}

// Of a source or of a part of it, which have some.
void VisitOps(Archive& a, std::vector<Op>& ops) {
  VisitList(a, "ops", ops);
  if (ops.empty()) a.Fail();
}

}  // namespace

void Visit(Archive& a, Cell& cell) {
  a.Figure("layer", cell.layer);
  VisitOp(a, "op", cell.op);
}

void Visit(Archive& a, OpShare& s) {
  VisitOp(a, "op", s.op);
  a.Figure("squared_share", s.squared_share);
  a.Figure("share", s.share);
  a.Figure("squared_share_error", s.squared_share_error);
}

void Visit(Archive& a, SourceChannel& c) {
  a.Figure("channel", c.channel);
  a.Figure("error_share", c.error_share);
  a.Figure("massive", c.massive);
  a.Figure("position", c.position);
  a.Figure("born", c.born);
  a.Figure("removed", c.removed);
  VisitOp(a, "removed_op", c.removed_op);
  a.Figure("value", c.value);
  a.Figure("value_layer", c.value_layer);
  a.Figure("ratio_to_median", c.ratio_to_median);
  a.Figure("rounded", c.rounded);
  VisitChoice(a, "format", c.format, 4);
  a.Figure("spacing", c.spacing);
}

void Visit(Archive& a, SourcePart& p) {
  a.Figure("layer", p.layer);
  VisitOps(a, p.ops);
  a.Figure("squared_share", p.squared_share);
}

void Visit(Archive& a, OpGain& g) {
  VisitOp(a, "op", g.op);
  a.Figure("gain", g.gain);
  a.Figure("moved", g.moved);
}

void Visit(Archive& a, Isolated::Upgraded& u) {
  VisitStrategy(a, "strategy", u.strategy);
  a.Figure("rel_l2", u.rel_l2);
}

void Visit(Archive& a, Isolated& i) {
  a.Figure("rel_l2", i.rel_l2);
  VisitList(a, "upgraded", i.upgraded);
}

void Visit(Archive& a, Cure& c) {
  VisitChoice(a, "scope", c.scope, 3);
  VisitStrategy(a, "strategy", c.strategy);
  VisitList(a, "entries", c.entries);
  a.Figure("rel_l2", c.rel_l2);
}

void Visit(Archive& a, ErrorSource& s) {
  VisitOps(a, s.ops);
  a.Figure("first_layer", s.first_layer);
  a.Figure("last_layer", s.last_layer);
  a.Figure("squared_share", s.squared_share);
  a.Figure("share", s.share);
  a.Figure("squared_share_error", s.squared_share_error);
  VisitPart(a, "channel", s.channel);
  VisitPart(a, "makes", s.makes);
  VisitPart(a, "removes", s.removes);
  VisitPart(a, "until_removal", s.until_removal);
  VisitList(a, "gains", s.gains);
  VisitPart(a, "isolated", s.isolated);
  VisitList(a, "cures", s.cures);
}

void Visit(Archive& a, Exposure& e) {
  a.Figure("layer", e.layer);
  VisitOp(a, "op", e.op);
  a.Figure("ratio", e.ratio);
  a.Figure("std_before", e.std_before);
  a.Figure("std_after", e.std_after);
  a.Figure("error_before", e.error_before);
  a.Figure("inherited_after", e.inherited_after);
  a.Figure("error_after", e.error_after);
}

void Visit(Archive& a, Spreading& s) {
  a.Figure("layer", s.layer);
  a.Figure("top1_before", s.top1_before);
  a.Figure("top1_after", s.top1_after);
  a.Figure("amplification", s.amplification);
}

void Visit(Archive& a, NoEffect& n) {
  VisitOp(a, "op", n.op);
  a.Figure("over_one_position", n.over_one_position);
}

void Visit(Archive& a, Interaction& i) {
  a.Figure("sum_cosine", i.sum_cosine);
  a.Figure("sum_norm", i.sum_norm);
  a.Figure("sum_rest", i.sum_rest);
  a.Figure("squares_norm", i.squares_norm);
  a.Figure("adds_up", i.adds_up);
}

void Visit(Archive& a, BestRepair& b) {
  VisitPart(a, "cell", b.cell);
  a.Figure("gain", b.gain);
  a.Figure("most_moved", b.most_moved);
}

void Visit(Archive& a, Verdict& v) {
  a.Figure("plan", v.plan);
  a.Figure("rel_l2", v.rel_l2);
  a.Figure("logits_rel_l2", v.logits_rel_l2);
  a.Figure("kl", v.kl);
  a.Figure("exact", v.exact);
  VisitPart(a, "nonfinite_from", v.nonfinite_from);
  VisitList(a, "nonfinite_cells", v.nonfinite_cells);
  VisitPart(a, "source", v.source);
  VisitList(a, "ops", v.ops);
  VisitPart(a, "head", v.head);
  VisitPart(a, "exposed_by", v.exposed_by);
  VisitPart(a, "spread_by", v.spread_by);
  VisitList(a, "no_effect", v.no_effect);
  VisitPart(a, "interaction", v.interaction);
  VisitPart(a, "best_cell", v.best_cell);
  VisitPart(a, "best_op", v.best_op);
  VisitPart(a, "best_group", v.best_group);
  VisitPart(a, "best_layer", v.best_layer);
}

}  // namespace ulpscope
