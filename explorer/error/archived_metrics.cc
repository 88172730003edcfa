#include "explorer/error/archived_metrics.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "explorer/error/effect.h"
#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "kernels/measure/error.h"
#include "model/architecture/op.h"
#include "model/trace/kept_states.h"

namespace ulpscope {

void Visit(Archive& a, Quantiles& q) {
  a.Figure("p50", q.p50);
  a.Figure("p99", q.p99);
  a.Figure("max", q.max);
}

void Visit(Archive& a, ErrorMetrics& m) {
  a.Figure("mean_abs", m.mean_abs);
  a.Figure("rmse", m.rmse);
  a.Figure("max_abs", m.max_abs);
  a.Figure("max_row", m.max_row);
  a.Figure("max_col", m.max_col);
  a.Figure("mean_signed", m.mean_signed);
  a.Figure("rel_l2", m.rel_l2);
  a.Figure("cosine", m.cosine);
  VisitPart(a, "ulps", m.ulps);
  a.Figure("count", m.count);
  a.Figure("value_l2", m.value_l2);
  a.Figure("reference_l2", m.reference_l2);
}

void Visit(Archive& a, PartErrors& e) {
  a.Figure("mean_abs", e.mean_abs);
  a.Figure("rmse", e.rmse);
  a.Figure("rel_l2", e.rel_l2);
  a.Figure("count", e.count);
  a.Figure("reference_l2", e.reference_l2);
}

void Visit(Archive& a, TokenErrors& t) {
  a.Figure("kl", t.kl);
  a.Figure("max_abs", t.max_abs);
  a.Figure("top10", t.top10);
  a.Figure("reference_top", t.reference_top);
  a.Figure("top", t.top);
  a.Figure("margin", t.margin);
  a.Figure("flip_margin", t.flip_margin);
  a.Figure("rank", t.rank);
  a.Figure("reference_logp", t.reference_logp);
  a.Figure("logp", t.logp);
  a.Figure("reference_l2", t.reference_l2);
  a.Figure("error_l2", t.error_l2);
  a.Figure("massive", t.massive);
  const size_t positions = t.positions();
  for (const std::vector<double>* figures :
       {&t.max_abs, &t.top10, &t.reference_top, &t.top, &t.margin,
        &t.flip_margin, &t.rank, &t.reference_l2, &t.error_l2, &t.massive}) {
    if (figures->size() != positions) return a.Fail();
  }
  if (positions == 0 || t.logp.size() != positions - 1 ||
      t.reference_logp.size() != positions - 1) {
    a.Fail();
  }
}

void Visit(Archive& a, Cancellation& c) {
  a.Figure("attn", c.attn);
  a.Figure("mlp", c.mlp);
}

void Visit(Archive& a, LayerMetrics& m) {
  a.Figure("layer", m.layer);
  VisitPart(a, "error", m.error);
  VisitPart(a, "ordinary", m.ordinary);
  a.Figure("growth", m.growth);
  a.Figure("mean", m.mean);
  a.Figure("std", m.std);
  a.Figure("max_activation", m.max_activation);
  a.Figure("max_position", m.max_position);
  a.Figure("max_channel", m.max_channel);
  VisitPart(a, "cancellation", m.cancellation);
}

void Visit(Archive& a, TraceMetrics& m) {
  VisitList(a, "layers", m.layers);
  VisitPart(a, "final_norm", m.final_norm);
  VisitPart(a, "tokens", m.tokens);
  a.Figure("mean_growth", m.mean_growth);
}

void Visit(Archive& a, Effect& e) {
  a.Figure("rel_l2", e.rel_l2);
  a.Figure("logits_rel_l2", e.logits_rel_l2);
  a.Figure("kl", e.kl);
  a.Figure("layers", e.layers);
  a.Figure("ordinary_rel_l2", e.ordinary_rel_l2);
  a.Figure("ordinary_logits_rel_l2", e.ordinary_logits_rel_l2);
  a.Figure("ordinary_kl", e.ordinary_kl);
}

void Visit(Archive& a, ErrorSize& s) {
  a.Figure("l2", s.l2);
  a.Figure("rel_l2", s.rel_l2);
  a.Figure("mean_abs", s.mean_abs);
  a.Figure("max_abs", s.max_abs);
  a.Figure("max_position", s.max_position);
  a.Figure("max_channel", s.max_channel);
}

void VisitOp(Archive& a, absl::string_view name, Op& op) {
  std::string text(OpName(op));
  a.Figure(name, text);
  for (size_t i = 0; i < kNumOps; ++i) {
    if (OpName(OpAt(i)) != text) continue;
    op = OpAt(i);
    return;
  }
  a.Fail();
}

void Visit(Archive& a, Op& op) { VisitOp(a, "op", op); }

bool IsWhole(const TraceMetrics& metrics, size_t num_layers) {
  if (!metrics.final_norm.has_value() || !metrics.tokens.has_value() ||
      metrics.layers.size() != num_layers) {
    return false;
  }
  for (size_t i = 0; i < num_layers; ++i) {
    if (metrics.layers[i].layer != i + 1) return false;
  }
  return true;
}

bool IsWhole(const Effect& effect, size_t num_layers) {
  // Either there are ordinary positions or there are none.
  const bool any = effect.ordinary_rel_l2.has_value();
  if (effect.ordinary_logits_rel_l2.has_value() != any ||
      effect.ordinary_kl.has_value() != any) {
    return false;
  }
  return effect.rel_l2.has_value() && effect.logits_rel_l2.has_value() &&
         effect.kl.has_value() && effect.layers.size() == num_layers + 1;
}

}  // namespace ulpscope
