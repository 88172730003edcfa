#include "explorer/attribution/archived_attribution.h"

#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/effects.h"
#include "explorer/error/evaluation.h"

namespace ulpscope {

void Visit(Archive& a, OpError& e) {
  VisitOp(a, "op", e.op);
  a.Figure("rel_l2", e.rel_l2);
  a.Figure("share", e.share);
}

void Visit(Archive& a, LayerSplit& s) {
  a.Figure("layer", s.layer);
  VisitPart(a, "total", s.total);
  VisitPart(a, "inherited", s.inherited);
  VisitPart(a, "local", s.local);
  a.Figure("amplification", s.amplification);
  a.Figure("relative_amplification", s.relative_amplification);
  a.Figure("identity_ulps", s.identity_ulps);
  VisitList(a, "ops", s.ops);
  a.Figure("interaction_share", s.interaction_share);
}

void Visit(Archive& a, ErrorPeak& p) {
  a.Figure("position", p.position);
  a.Figure("squared_share", p.squared_share);
}

void Visit(Archive& a, KeptCause& c) {
  VisitPart(a, "outcome", c.outcome);
  a.Figure("share", c.share);
  a.Figure("cosine", c.cosine);
  VisitPart(a, "peak", c.peak);
  a.Figure("squares", c.squares);
}

void Visit(Archive& a, CauseSum& s) {
  a.Figure("cosine", s.cosine);
  a.Figure("norm", s.norm);
  a.Figure("rest", s.rest);
}

void Visit(Archive& a, RepairRound& r) { VisitList(a, "runs", r.runs); }

}  // namespace ulpscope
