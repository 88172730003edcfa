#include "explorer/report/sweep_results.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/nearer.h"
#include "explorer/error/replicates.h"
#include "explorer/error/windows.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/frame.h"
#include "explorer/report/timings_table.h"
#include "explorer/report/token_results.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/greedy.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {
namespace {

// One plan on one sequence of tokens.
struct Evaluation {
  const PlanResult* plan;
  const char* tokens;
  const TraceMetrics* metrics;
};

struct Layer {
  Evaluation of;
  const LayerMetrics* metrics;
};

struct Level {
  const MainEffect* effect;
  const MainEffect::Level* level;
  // Why no plan of the level that is not emulated counts; null if they do.
  const char* not_timed;
};

const char kPlanAbout[] = "The plan's canonical text.";

// The error of the final hidden state, if all was measured.
template <double ErrorMetrics::*figure>
std::optional<double> Final(const TraceMetrics& metrics) {
  if (!metrics.complete()) return std::nullopt;
  return metrics.final_hidden().*figure;
}

template <double LogitMetrics::*figure>
std::optional<double> OfLogits(const TraceMetrics& metrics) {
  if (!metrics.complete()) return std::nullopt;
  return (*metrics.logits).*figure;
}

std::optional<double> MeanGrowth(const TraceMetrics& metrics) {
  return metrics.mean_growth;
}

std::optional<std::string> NearerName(Nearer nearer) {
  switch (nearer) {
    case Nearer::kUnknown:
      break;
    case Nearer::kPlan:
      return "plan";
    case Nearer::kReference:
      return "against";
    case Nearer::kEqual:
      return "equal";
    case Nearer::kDepends:
      return "undecided";
  }
  return std::nullopt;
}

// `timed`: whether plans were to be.
Fields<PlanResult> PlanFields(bool timed) {
  using P = PlanResult;
  const auto n = Unit::kNone;
  Fields<PlanResult> fields = {
      {"rank", "#", n, "By the metric, from 1; null if not measured.",
       [](const P& p) {
         return p.rank == 0 ? std::nullopt : std::optional<size_t>(p.rank);
       }},
      {"pareto", " ", n, "On the Pareto front of the metric and decode speed.",
       &P::pareto},
      {"plan", "Plan", n, kPlanAbout, &P::plan},
      {"score", "Score", n, "The metric's value.",
       [](const P& p) { return p.score; }}};
  AppendSpread(fields, "decode_tokens_per_second", "Decode tok/s",
               Unit::kTokensPerSecond, "Speed of decoding a token",
               [](const P& p) { return p.decode_rate; });
  AppendSpread(fields, "prefill_tokens_per_second", "Prefill tok/s",
               Unit::kTokensPerSecond, "Speed of the prompt",
               [](const P& p) { return p.prefill_rate; });
  fields.push_back(
      NotTimedField<P>("; \"not asked\": --notiming; \"not chosen\": "
                       "--timed_plans leaves it out",
                       [timed](const P& p) {
                         return p.emulated     ? kEmulated
                                : !timed       ? kNotAsked
                                : p.not_chosen ? kNotChosen
                                               : nullptr;
                       }));
  const auto add = [&fields](const char* name, const char* title, Unit unit,
                             const char* about,
                             std::optional<double> (*of)(const TraceMetrics&),
                             TraceMetrics P::*on) {
    fields.emplace_back(name, title, unit, about,
                        [of, on](const P& p) { return of(p.*on); });
  };
  add("final_rmse", "Final RMSE", Unit::kActivation,
      "Of the final hidden state, on the prompt.", Final<&ErrorMetrics::rmse>,
      &P::prompt);
  add("final_rel_l2", "Rel L2", Unit::kRelative, "The same, relative.",
      Final<&ErrorMetrics::rel_l2>, &P::prompt);
  add("mean_growth", "Growth/layer", Unit::kRatio,
      "Geometric mean of the error's growth per layer, on the prompt.",
      MeanGrowth, &P::prompt);
  add("kl_nats", "KL (nats)", Unit::kNats,
      "Mean KL(reference || plan) of the next token, on the prompt.",
      OfLogits<&LogitMetrics::kl>, &P::prompt);
  add("top1_agreement", "Top-1", Unit::kShare,
      "Share of the prompt's positions with the reference's likeliest token.",
      OfLogits<&LogitMetrics::top1_agreement>, &P::prompt);
  fields.emplace_back("ordinary_final_rel_l2", "Ordinary", Unit::kRelative,
                      "final_rel_l2 at positions without a massive activation.",
                      [](const P& p) { return OrdinaryRelL2(p.prompt); });
  fields.emplace_back(
      "score_standard_error", "", Unit::kRelative,
      "Of the mean score of prompts, or of the windows of a single one; null "
      "of fewer than two.",
      [](const P& p) {
        return p.replicate_scores.empty()
                   ? std::nullopt
                   : MeanOf(p.replicate_scores).standard_error;
      });
  fields.emplace_back(
      "rank_last_like", "Like", n,
      absl::StrCat("The last place from its own on whose plans these do not "
                   "tell apart from it, by a paired t-test at 5 %, looked for "
                   "among the next ",
                   kMostLikeOnes, " places; null without them."),
      [](const P& p) { return p.last_like; });
  const auto truth = [&fields](
                         const char* name, const char* title, Unit unit,
                         const char* about,
                         std::optional<double> (*of)(const TraceMetrics&)) {
    fields.emplace_back(name, title, unit, about, [of](const P& p) {
      return p.against_oracle ? of(*p.against_oracle) : std::nullopt;
    });
  };
  truth("oracle_final_rel_l2", "Rel L2 to the oracle", Unit::kRelative,
        "Of the final hidden state, on the prompt; null if all errors are "
        "against the oracle.",
        Final<&ErrorMetrics::rel_l2>);
  truth("oracle_kl_nats", "KL to the oracle", Unit::kNats,
        "Mean KL(oracle || plan) of the next token, on the prompt; null alike.",
        OfLogits<&LogitMetrics::kl>);
  fields.emplace_back(
      "nearer_to_oracle", "Nearer", n,
      "Whose errors against the oracle are smaller, by both figures: \"plan\", "
      "\"against\", \"equal\", or \"undecided\" where they disagree; null if "
      "all errors are against it.",
      [](const P& p) { return NearerName(p.nearer); });
  const auto greedy = [&fields](const char* name, const char* title, Unit unit,
                                const char* about, auto of) {
    fields.emplace_back(name, title, unit, about, [of](const P& p) {
      return p.greedy && p.greedy->token ? std::make_optional(of(*p.greedy))
                                         : std::nullopt;
    });
  };
  using G = GreedyDivergence;
  greedy("greedy_divergence", "Leaves at", n,
         "The first of the tokens generated under what errors are against "
         "(--greedy) for which the plan would choose another, from 1; null if "
         "there is none, or none were generated.",
         [](const G& g) { return *g.token; });
  greedy("greedy_chosen", "", n, "That other token; -1 if its logit is NaN.",
         [](const G& g) { return g.chosen; });
  greedy("greedy_margin_nats", "By", Unit::kNats,
         "By how much what errors are against finds it less likely than its "
         "own.",
         [](const G& g) { return g.margin; });
  add("token_final_rmse", "", Unit::kActivation,
      "Of the final hidden state, of the token alone.",
      Final<&ErrorMetrics::rmse>, &P::token);
  add("token_final_rel_l2", "", Unit::kRelative, "The same, relative.",
      Final<&ErrorMetrics::rel_l2>, &P::token);
  add("token_mean_growth", "", Unit::kRatio,
      "Geometric mean of the error's growth per layer, of the token alone.",
      MeanGrowth, &P::token);
  return fields;
}

Fields<Evaluation> EvaluationFields() {
  using E = Evaluation;
  Fields<Evaluation> fields = {
      {"plan", "Plan", Unit::kNone, kPlanAbout,
       [](const E& e) { return e.plan->plan; }},
      {"tokens", "On", Unit::kNone, "\"token\" (alone) or \"prompt\".",
       [](const E& e) { return std::string(e.tokens); }},
      {"mean_growth", "Growth/layer", Unit::kRatio,
       "Geometric mean of the error's growth per layer.",
       [](const E& e) { return MeanGrowth(*e.metrics); }}};
  AppendPart(fields, "final_norm_", ErrorMetricsFields(), true, [](const E& e) {
    return e.metrics->final_norm ? &*e.metrics->final_norm : nullptr;
  });
  using L = LogitMetrics;
  const Fields<LogitMetrics> logits = {
      {"max_abs", "Logits' max error", Unit::kActivation,
       "Largest absolute error of the logits.", &L::max_abs},
      {"kl_nats", "KL (nats)", Unit::kNats,
       "Mean KL(reference || plan) of the next token.", &L::kl},
      {"kl_max_nats", "Largest KL", Unit::kNats, "The largest of a position.",
       &L::kl_max},
      {"top1_agreement", "Top-1", Unit::kShare,
       "Share of positions with the reference's likeliest token.",
       &L::top1_agreement},
      {"top10_overlap", "Top-10", Unit::kShare,
       "Mean share of the reference's ten likeliest tokens.",
       &L::top10_overlap}};
  AppendPart(fields, "logits_", logits, true, [](const E& e) {
    return e.metrics->logits ? &*e.metrics->logits : nullptr;
  });
  return fields;
}

Fields<Layer> LayerFields() {
  using L = Layer;
  const auto n = Unit::kNone;
  Fields<Layer> fields = {
      {"plan", "Plan", n, kPlanAbout,
       [](const L& l) { return l.of.plan->plan; }},
      {"tokens", "On", n, "\"token\" (alone) or \"prompt\".",
       [](const L& l) { return std::string(l.of.tokens); }},
      {"layer", "Layer", n, "After which the residual stream is, from 1.",
       [](const L& l) { return l.metrics->layer; }}};
  AppendPart(fields, "", ErrorMetricsFields(), false,
             [](const L& l) { return &l.metrics->error; });
  AppendPart(fields, "", GrowthFields(), false,
             [](const L& l) { return l.metrics; });
  const Fields<LayerMetrics> more = {
      {"std", "Std", Unit::kActivation,
       "Standard deviation of the reference's stream.", &LayerMetrics::std},
      {"max_activation", "Largest Activation", n,
       "The reference's largest, signed.", &LayerMetrics::max_activation},
      {"max_activation_position", "", n, "Its position.",
       &LayerMetrics::max_position},
      {"max_activation_channel", "Channel", n, "Its channel.",
       &LayerMetrics::max_channel},
      {"attn_cancellation", "", Unit::kRatio,
       "(|x| + |u|) / |x + u| of the attention's residual add.",
       [](const LayerMetrics& m) { return m.cancellation.attn; }},
      {"mlp_cancellation", "", Unit::kRatio, "The same of the MLP's.",
       [](const LayerMetrics& m) { return m.cancellation.mlp; }}};
  AppendPart(fields, "", more, false, [](const L& l) { return l.metrics; });
  return fields;
}

Fields<Level> LevelFields(const RankMetric& metric) {
  using L = Level;
  return {
      {"axis", "Axis", Unit::kNone, "The selector whose strategy varies.",
       [](const L& l) { return l.effect->selector; }},
      {"strategy", "Strategy", Unit::kNone, "Of the plans that these are of.",
       [](const L& l) { return l.level->strategy; }},
      {"error", metric.name, Unit::kRelative, "Geometric mean of the metric.",
       [](const L& l) { return l.level->error; }},
      {"decode_tokens_per_second", "Decode tok/s", Unit::kTokensPerSecond,
       "Geometric mean.", [](const L& l) { return l.level->decode_rate; }},
      {"prefill_tokens_per_second", "Prefill tok/s", Unit::kTokensPerSecond,
       "Geometric mean.", [](const L& l) { return l.level->prefill_rate; }},
      NotTimedField<L>(
          " (nor is that of any plan with the strategy); \"not asked\": "
          "--notiming; \"not chosen\": --timed_plans leaves some plan of the "
          "sweep out",
          [](const L& l) {
            return l.level->emulated ? kEmulated : l.not_timed;
          }),
      {"error_share", "Share of error", Unit::kShare,
       "Of the variance of the metric's logarithm, that the axis explains (eta "
       "squared); null where nothing varies.",
       [](const L& l) { return l.effect->error_share; }},
      {"decode_share", "Share of decode", Unit::kShare,
       "The same of decode speed, of the plans that are not emulated.",
       [](const L& l) { return l.effect->decode_share; }},
      {"prefill_share", "Share of prefill", Unit::kShare,
       "The same of prefill speed.",
       [](const L& l) { return l.effect->prefill_share; }}};
}

Table SweepContext(const RunInfo& info, const SweepOptions& options,
                   const SweepResult& result) {
  const auto n = Unit::kNone;
  Table table = ContextTable(info, result.stopped_in);
  AddValue(table, "wisdom_used", n, "Whether kernels were tuned.",
           info.wisdom.known > 0);
  AddValue(table, "wisdom_file", n, "The file of tunings; empty for none.",
           info.wisdom.file);
  AddValue(table, "wisdom_known_matmuls", n,
           "Kinds of MatMul that it knows, of those that are timed.",
           info.wisdom.known);
  AddValue(table, "wisdom_timed_matmuls", n, "Kinds of MatMul that are timed.",
           info.wisdom.timed);
  AddValue(table, "wisdom_reason", n, "Why it is not used; else empty.",
           info.wisdom.reason);
  AddValue(table, "axes", n, "--axes; empty for single plans.", info.axes);
  AddValue(table, "metric", n, "--metric, by which plans are ranked.",
           std::string(options.metric->name));
  AddValue(table, "seed", n, "Of the prompt's tokens.", info.seed);
  AddValue(table, "token", n, "The token that runs alone.", options.token);
  AddValue(table, "prompt", n, "The tokens that are timed.", options.prompt);
  size_t samples = 0;
  for (const Window& window : WindowsOf(options)) {
    samples += window.tokens.size();
  }
  AddValue(table, "samples", n, "Positions that errors on the prompt are over.",
           samples);
  AddValue(table, "text", n,
           "Where the prompt's text is from; empty if it is token ids.",
           info.text);
  AddValue(table, "greedy_tokens", n,
           "Tokens that were generated after the prompt (--greedy).",
           result.greedy);
  AddAgainst(table, info);
  const TraceMetrics* const truth =
      result.against_oracle ? &*result.against_oracle : nullptr;
  AddValue(table, "against_oracle_final_rel_l2", Unit::kRelative,
           "That plan's own error on the prompt, against the oracle, of the "
           "final hidden state; null if it is the oracle.",
           truth ? Final<&ErrorMetrics::rel_l2>(*truth) : std::nullopt);
  AddValue(table, "against_oracle_kl_nats", Unit::kNats,
           "The same, mean KL(oracle || plan) of the next token.",
           truth ? OfLogits<&LogitMetrics::kl>(*truth) : std::nullopt);
  return table;
}

}  // namespace

Results SweepResults(const RunInfo& info, const SweepOptions& options,
                     const SweepResult& result) {
  std::vector<Evaluation> evaluations;
  std::vector<Layer> layers;
  std::vector<TimedPlan> timed;
  for (const PlanResult& plan : result.plans) {
    for (const Evaluation& evaluation :
         {Evaluation{&plan, "token", &plan.token},
          Evaluation{&plan, "prompt", &plan.prompt}}) {
      evaluations.push_back(evaluation);
      for (const LayerMetrics& metrics : evaluation.metrics->layers) {
        layers.push_back({evaluation, &metrics});
      }
    }
    timed.push_back({plan.plan, &plan.timing});
  }
  const bool some_not_chosen = absl::c_any_of(
      result.plans, [](const PlanResult& plan) { return plan.not_chosen; });
  const char* const not_timed = !options.timed    ? kNotAsked
                                : some_not_chosen ? kNotChosen
                                                  : nullptr;
  std::vector<Level> levels;
  for (const MainEffect& effect : result.effects) {
    for (const MainEffect::Level& level : effect.levels) {
      levels.push_back({&effect, &level, not_timed});
    }
  }
  Results results = {
      "sweep",
      TablesOf(
          SweepContext(info, options, result),
          MakeTable("plans", "Every plan, the best first.",
                    PlanFields(options.timed), result.plans),
          MakeTable(
              "evaluations",
              "Every plan against the reference (--against), after all layers.",
              EvaluationFields(), evaluations),
          MakeTable(
              "layers",
              "The residual stream of every plan against the reference's.",
              LayerFields(), layers),
          TimingsTable("Every run that was timed.", timed),
          MakeTable("main_effects",
                    "How much each axis of the sweep moves the outcome.",
                    LevelFields(*options.metric), levels))};
  for (Table& table : TokenTables(info, options, result)) {
    results.tables.push_back(std::move(table));
  }
  return results;
}

}  // namespace ulpscope
