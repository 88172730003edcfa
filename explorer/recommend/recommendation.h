#ifndef EXPLORER_RECOMMEND_RECOMMENDATION_H_
#define EXPLORER_RECOMMEND_RECOMMENDATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/windows.h"
#include "explorer/recommend/clock.h"
#include "explorer/sweep/axes.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// A budget where none is given: text that the reference writes is a thousandth
// of a nat per token less likely, so that its perplexity grows by 0.1 %.
inline constexpr Budget kDefaultPlanBudget = {BudgetMetric::kKl, 1e-3};

struct RecommendOptions {
  std::vector<Axis> axes;  // what is chosen from
  Budget budget = kDefaultPlanBudget;
  TimedPhase phase = TimedPhase::kDecode;  // that is to be fast
  Window text;                             // that is searched on, and timed
  Window other_text;                       // that confirms
  std::optional<Plan> against;  // what errors are against; else the oracle
  // Of all rounds of timing: no further one starts after that. Half is for
  // what strategies cost, half for the finalists.
  double timing_seconds = 60;
  double search_seconds = 120;  // no further errors are measured after that
  size_t decode_steps = 8;      // per round
  // What is as good: a time that differs by less than this share of the f32
  // plan's, an error that is no less than `like_error` of the other, and errors
  // below `negligible` of the limit.
  double least_gain = 0.01;
  double like_error = 0.8;
  double negligible = 1e-3;
};

// One strategy of an axis: what it costs in all of the axis' cells.
struct LevelCost {
  std::string axis, strategy;
  // Of the plan that has it there and is as accurate as can be elsewhere.
  std::optional<double> error;
  // Of the f32 plan with it, by that of the f32 plan, over rounds.
  std::optional<Spread> time;
  // Whether ranges of layers may take it: no strategy of the axis is as fast
  // and as accurate.
  bool searched = false;
};

// A plan that was timed as a whole.
struct Finalist {
  Plan plan{0};
  double predicted_ratio = 1;         // of its time by the f32 plan's
  double error = 0;                   // on the text
  std::optional<double> other_error;  // on the other text
  PlanTiming timing;                  // of all rounds
  std::optional<TimeRatio> time;      // by the f32 plan's, of the rounds
  std::optional<Spread> decode_rate, prefill_rate;  // tokens per second
  bool keeps = false;                               // the budget, on the text
  std::optional<bool> confirmed;  // whether on the other text too
  // Not told from the fastest of those that keep the budget on both texts, by
  // a paired t-test of the rounds at 5 %.
  bool tied = false;
  bool pareto = false;  // no finalist is as fast and as accurate
};

// What an entry of the recommended plan does, beside f32 in its place.
struct PlanChange {
  std::string entry;           // "down_proj@3-9=bf16_hw"
  double predicted_ratio = 1;  // of the plan's time, without it by with it
  double error_without = 0;    // of the plan with f32 in its place
};

// Errors after each layer, of the recommended plan and of f32.
struct LayerErrors {
  std::string plan, text;  // "search" or "other"
  TraceMetrics metrics;
};

enum class RecommendVerdict {
  kUnfinished,    // stopped before it was known
  kRecommended,   // the fastest that keeps the budget on both texts
  kNotConfirmed,  // plans keep the budget on the text, none on the other one
  kNotMet,        // no plan that was run keeps it
};

struct Recommendation {
  RecommendVerdict verdict = RecommendVerdict::kUnfinished;
  std::vector<LevelCost> levels;
  std::vector<Finalist> finalists;  // the fastest first once they are timed
  // Indices of the finalists. The recommended plan; where none keeps the budget
  // that of the least error; where the other text confirms none, the one of
  // least error there. Until then the one that would be chosen.
  std::optional<size_t> chosen;
  std::optional<size_t> f32;
  size_t failed_confirmations = 0;  // of faster finalists
  std::vector<PlanChange> changes;  // of the chosen plan
  std::vector<LayerErrors> layers;
  // The share of f32's time that strategies' scatter by; none until it is
  // known.
  std::optional<double> time_noise;
  size_t rounds = 0;         // of timing the finalists
  size_t measured = 0;       // plans whose errors were measured on the text
  size_t passes = 0;         // over the weights, for them
  bool out_of_time = false;  // the search ended by search_seconds
  // Whether every plan was run that was expected to be faster: those that are
  // searched, of units that are single layers in the end.
  bool complete = false;
  std::string stopped_in;  // what was not finished; empty if all was
};

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_RECOMMENDATION_H_
