#include "explorer/report/recommend_results.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/budget.h"
#include "explorer/error/metrics.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/frame.h"
#include "explorer/report/run_info.h"
#include "explorer/report/timings_table.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

constexpr char kTextAbout[] =
    "\"search\", the text that was searched on, or \"other\", the one that "
    "confirms.";

struct RankedFinalist {
  const Finalist* finalist;
  size_t rank;
  bool chosen;
};

struct LayerOf {
  const LayerErrors* of;
  const LayerMetrics* metrics;
};

// A ratio of times, and the ends of its confidence interval.
template <typename T, typename Of>
void AppendRatio(Fields<T>& fields, const std::string& title,
                 const std::string& about, Of of) {
  fields.emplace_back(
      "time_ratio", title, Unit::kRatio, about + ".", [of](const T& row) {
        const auto& time = of(row);
        return time ? std::optional<double>(time->ratio) : std::nullopt;
      });
  const auto end = [of](std::optional<double> TimeRatio::*which) {
    return [of, which](const T& row) {
      const auto& time = of(row);
      return time ? (*time).*which : std::nullopt;
    };
  };
  fields.emplace_back("time_ratio_low", "from", Unit::kRatio,
                      "Lower end of its 95 % confidence interval, by "
                      "Student's t of the rounds' logarithms.",
                      end(&TimeRatio::low));
  fields.emplace_back("time_ratio_high", "to", Unit::kRatio,
                      "Upper end of the same.", end(&TimeRatio::high));
}

Fields<LevelCost> StrategyFields() {
  using L = LevelCost;
  const auto n = Unit::kNone;
  Fields<L> fields = {
      {"axis", "Axis", n, "The selector.", &L::axis},
      {"strategy", "Strategy", n, "Of all of the axis' cells.", &L::strategy},
      {"error", "Error", Unit::kRelative,
       "By the budget's metric, of the plan with it there and the most "
       "accurate strategy elsewhere.",
       &L::error}};
  AppendSpread(fields, "time_ratio", "Time by f32's", Unit::kRatio,
               "Of the f32 plan with it, by the f32 plan's; of the phase that "
               "is to be fast",
               [](const L& l) { return l.time; });
  fields.emplace_back("searched", "Searched", n,
                      "Whether ranges of layers may take it: no strategy of "
                      "the axis is as fast and as accurate.",
                      &L::searched);
  return fields;
}

Fields<RankedFinalist> PlanFields() {
  using P = RankedFinalist;
  const auto n = Unit::kNone;
  Fields<P> fields = {
      {"rank", "#", n, "By its time, from 1; as guessed while not timed.",
       [](const P& p) { return p.rank; }},
      {"chosen", "Chosen", n, "Whether it is what the verdict is about.",
       [](const P& p) { return p.chosen; }},
      {"pareto", "Front", n, "No finalist is as fast and as accurate.",
       [](const P& p) { return p.finalist->pareto; }},
      {"tied", "Tied", n,
       "Not told from the fastest that keeps the budget on both texts, by a "
       "paired t-test of the rounds at 5 %.",
       [](const P& p) { return p.finalist->tied; }},
      {"plan", "Plan", n, "The plan's canonical text.",
       [](const P& p) { return p.finalist->plan.Text(); }},
      {"error", "Error", Unit::kRelative,
       "By the budget's metric, on the text that was searched on.",
       [](const P& p) { return p.finalist->error; }},
      {"other_error", "Other text", Unit::kRelative,
       "The same on the text that confirms.",
       [](const P& p) { return p.finalist->other_error; }},
      {"keeps", "Keeps", n, "Whether it keeps the budget on the first.",
       [](const P& p) { return p.finalist->keeps; }},
      {"confirmed", "Confirmed", n, "Whether it keeps it on the other.",
       [](const P& p) { return p.finalist->confirmed; }}};
  AppendSpread(fields, "decode_tokens_per_second", "Decode tok/s",
               Unit::kTokensPerSecond, "Speed of decoding a token",
               [](const P& p) { return p.finalist->decode_rate; });
  AppendSpread(fields, "prefill_tokens_per_second", "Prefill tok/s",
               Unit::kTokensPerSecond, "Speed of the prompt",
               [](const P& p) { return p.finalist->prefill_rate; });
  AppendRatio(
      fields, "Time by f32's",
      "Of the phase that is to be fast, by the f32 plan's in the same "
      "rounds",
      [](const P& p) -> const auto& { return p.finalist->time; });
  fields.emplace_back("predicted_time_ratio", "Guessed", Unit::kRatio,
                      "The same as the search guessed it.",
                      [](const P& p) { return p.finalist->predicted_ratio; });
  return fields;
}

Fields<PlanChange> ChangeFields() {
  using C = PlanChange;
  return {{"name", "Entry", Unit::kNone,
           "An entry of the chosen plan; f32 is in its place otherwise.",
           &C::entry},
          {"time_ratio_without", "Time without", Unit::kRatio,
           "Of the plan with f32 there, by the plan's, as guessed from whole "
           "strategies: above 1 the entry saves time.",
           &C::predicted_ratio},
          {"error_without", "Error without", Unit::kRelative,
           "Of the plan with f32 there, on the text that was searched on.",
           &C::error_without}};
}

Fields<LayerErrors> EvaluationFields() {
  using E = LayerErrors;
  const auto figure = [](auto of) {
    return [of](const E& e) {
      return e.metrics.complete() ? std::optional<double>(of(e.metrics))
                                  : std::nullopt;
    };
  };
  return {
      {"plan", "Plan", Unit::kNone, "The plan's canonical text.", &E::plan},
      {"tokens", "On", Unit::kNone, kTextAbout, &E::text},
      {"final_rel_l2", "Rel L2", Unit::kRelative,
       "Relative error of the final hidden state.",
       figure([](const TraceMetrics& m) { return m.final_hidden().rel_l2; })},
      {"kl_nats", "KL (nats)", Unit::kNats,
       "Mean KL(reference || plan) of the next token.",
       figure([](const TraceMetrics& m) { return m.logits->kl; })},
      {"kl_max_nats", "Largest KL", Unit::kNats, "The largest of a position.",
       figure([](const TraceMetrics& m) { return m.logits->kl_max; })},
      {"top1_agreement", "Top-1", Unit::kShare,
       "Share of positions with the reference's likeliest token.",
       figure([](const TraceMetrics& m) { return m.logits->top1_agreement; })}};
}

Fields<LayerOf> LayerFields() {
  using L = LayerOf;
  const auto n = Unit::kNone;
  Fields<L> fields = {
      {"plan", "Plan", n, "The plan's canonical text.",
       [](const L& l) { return l.of->plan; }},
      {"tokens", "On", n, kTextAbout, [](const L& l) { return l.of->text; }},
      {"layer", "Layer", n, "After which the residual stream is, from 1.",
       [](const L& l) { return l.metrics->layer; }}};
  AppendPart(fields, "", ErrorMetricsFields(), false,
             [](const L& l) { return &l.metrics->error; });
  AppendPart(fields, "", GrowthFields(), false,
             [](const L& l) { return l.metrics; });
  return fields;
}

Table RecommendContext(const RunInfo& info, const RecommendOptions& options,
                       const Recommendation& result) {
  const auto n = Unit::kNone;
  Table table = ContextTable(info, result.stopped_in);
  AddValue(table, "wisdom_used", n, "Whether kernels were tuned.",
           info.wisdom.known > 0);
  AddValue(table, "wisdom_file", n, "The file of tunings; empty for none.",
           info.wisdom.file);
  AddValue(table, "axes", n, "What was chosen from.", info.axes);
  AddValue(table, "budget", n, "--budget.", BudgetText(options.budget));
  AddValue(table, "metric", n, "The budget's metric, which errors are of.",
           std::string(MetricName(options.budget.metric)));
  AddValue(table, "limit", Unit::kRelative, "The budget's limit.",
           options.budget.limit);
  AddValue(table, "phase", n, "What is to be fast: \"decode\" or \"prefill\".",
           std::string(PhaseName(options.phase)));
  AddValue(table, "verdict", n,
           "\"recommended\": the chosen plan is the fastest that keeps the "
           "budget on both texts; \"not confirmed\": plans keep it on the "
           "first alone, of which the chosen one has the least error on the "
           "other; \"not met\": no plan that was run keeps it, and the chosen "
           "one has the least error; \"unfinished\": it was stopped, and the "
           "chosen one is what is best so far.",
           RecommendVerdictName(result.verdict));
  const Finalist* const chosen =
      result.chosen ? &result.finalists[*result.chosen] : nullptr;
  AddValue(
      table, "chosen", n, "The plan that the verdict is about.",
      chosen ? std::optional<std::string>(chosen->plan.Text()) : std::nullopt);
  AddValue(table, "failed_confirmations", n,
           "Faster finalists that keep the budget on the first text alone.",
           result.failed_confirmations);
  AddValue(
      table, "time_noise", Unit::kShare,
      "The share of f32's time below which strategies' times count as "
      "equal: their scatter over rounds, at least 1 % and at most 5 %; null "
      "until they are timed.",
      result.time_noise);
  AddValue(table, "rounds", n, "Of timing the finalists.", result.rounds);
  AddValue(table, "measured_plans", n, "Whose errors the search measured.",
           result.measured);
  AddValue(table, "passes", n, "Over the weights, for these.", result.passes);
  AddValue(table, "search_out_of_time", n,
           "Whether the search ended as its time was over.",
           result.out_of_time);
  AddValue(table, "search_complete", n,
           "Whether every plan was run that was expected to be faster than the "
           "fastest that keeps the budget.",
           result.complete);
  AddValue(table, "prompt", n, "The tokens that were searched on and timed.",
           options.text.tokens);
  AddValue(table, "other_prompt", n, "The tokens that confirm.",
           options.other_text.tokens);
  AddValue(table, "samples", n, "Positions that the search's errors are over.",
           options.text.tokens.size());
  AddValue(table, "text", n,
           "Where the first text is from; empty if it is token ids.",
           info.text);
  AddValue(table, "other_text", n, "Where the other is from.",
           options.other_text.prompt);
  AddAgainst(table, info);
  return table;
}

}  // namespace

std::string RecommendVerdictName(RecommendVerdict verdict) {
  switch (verdict) {
    case RecommendVerdict::kUnfinished:
      break;
    case RecommendVerdict::kRecommended:
      return "recommended";
    case RecommendVerdict::kNotConfirmed:
      return "not confirmed";
    case RecommendVerdict::kNotMet:
      return "not met";
  }
  return "unfinished";
}

Results RecommendResults(const RunInfo& info, const RecommendOptions& options,
                         const Recommendation& result) {
  std::vector<RankedFinalist> plans;
  std::vector<TimedPlan> timed;
  for (size_t i = 0; i < result.finalists.size(); ++i) {
    const Finalist& finalist = result.finalists[i];
    plans.push_back({&finalist, i + 1, result.chosen == i});
    timed.push_back({finalist.plan.Text(), &finalist.timing});
  }
  std::vector<LayerOf> layers;
  for (const LayerErrors& of : result.layers) {
    for (const LayerMetrics& metrics : of.metrics.layers) {
      layers.push_back({&of, &metrics});
    }
  }
  return {
      "recommend",
      {RecommendContext(info, options, result),
       MakeTable("plans",
                 "The finalists, which were timed as whole plans, the "
                 "fastest first.",
                 PlanFields(), plans),
       MakeTable("changes",
                 "What the chosen plan's entries do: those that move the "
                 "time the most.",
                 ChangeFields(), result.changes),
       MakeTable("evaluations",
                 "The chosen plan and f32 against the reference, after all "
                 "layers.",
                 EvaluationFields(), result.layers),
       MakeTable("layers", "The same, layer by layer.", LayerFields(), layers),
       MakeTable("strategies",
                 "Every strategy of every axis, in all of its cells.",
                 StrategyFields(), result.levels),
       TimingsTable("Every run of a finalist.", timed)}};
}

}  // namespace ulpscope
