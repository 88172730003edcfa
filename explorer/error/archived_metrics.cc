#include "explorer/error/archived_metrics.h"

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "explorer/error/effect.h"
#include "explorer/error/metrics.h"
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
}

void Visit(Archive& a, LogitMetrics& m) {
  a.Figure("max_abs", m.max_abs);
  a.Figure("kl", m.kl);
  a.Figure("kl_max", m.kl_max);
  a.Figure("top1_agreement", m.top1_agreement);
  a.Figure("top10_overlap", m.top10_overlap);
}

void Visit(Archive& a, Cancellation& c) {
  a.Figure("attn", c.attn);
  a.Figure("mlp", c.mlp);
}

void Visit(Archive& a, LayerMetrics& m) {
  a.Figure("layer", m.layer);
  VisitPart(a, "error", m.error);
  a.Figure("growth", m.growth);
  a.Figure("std", m.std);
  a.Figure("max_activation", m.max_activation);
  a.Figure("max_position", m.max_position);
  a.Figure("max_channel", m.max_channel);
  VisitPart(a, "cancellation", m.cancellation);
}

void Visit(Archive& a, TraceMetrics& m) {
  VisitList(a, "layers", m.layers);
  VisitPart(a, "final_norm", m.final_norm);
  VisitPart(a, "logits", m.logits);
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
  if (!metrics.final_norm.has_value() || !metrics.logits.has_value() ||
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
