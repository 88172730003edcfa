#include "explorer/recommend/finalists.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/replicates.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/plan_search.h"
#include "explorer/recommend/recommendation.h"

namespace ulpscope {
namespace {

constexpr size_t kFastest = 3;     // that keep the budget
constexpr size_t kOfTheFront = 4;  // beside all others

// The fastest that has at most this error; none if there is none.
std::optional<size_t> FastestWithin(const std::vector<SearchedPlan>& plans,
                                    const std::vector<size_t>& by_time,
                                    double limit) {
  for (const size_t i : by_time) {
    if (plans[i].error <= limit) return i;
  }
  return std::nullopt;
}

// Of those that are left, by index: of the least error, on the other text if it
// is known of all.
std::optional<size_t> LeastError(const Recommendation& result, bool on_other) {
  std::optional<size_t> least;
  for (size_t i = 0; i < result.finalists.size(); ++i) {
    const Finalist& one = result.finalists[i];
    const auto error_of = [&](const Finalist& f) {
      return on_other ? *f.other_error : f.error;
    };
    if (on_other && (!one.other_error || !one.keeps)) continue;
    if (!least || error_of(one) < error_of(result.finalists[*least])) {
      least = i;
    }
  }
  return least;
}

// What is said where nothing keeps the budget on both texts.
void ChooseFailed(Recommendation& result) {
  const bool any_keeps = absl::c_any_of(
      result.finalists, [](const Finalist& f) { return f.keeps; });
  result.verdict =
      any_keeps ? RecommendVerdict::kNotConfirmed : RecommendVerdict::kNotMet;
  result.chosen = LeastError(result, any_keeps);
}

}  // namespace

std::vector<size_t> FinalistsOf(const std::vector<SearchedPlan>& plans,
                                const Budget& budget) {
  std::vector<size_t> by_time(plans.size());
  std::iota(by_time.begin(), by_time.end(), size_t{0});
  absl::c_stable_sort(by_time, [&](size_t a, size_t b) {
    return plans[a].seconds != plans[b].seconds
               ? plans[a].seconds < plans[b].seconds
               : plans[a].error < plans[b].error;
  });
  std::vector<size_t> chosen;
  const auto add = [&](std::optional<size_t> plan) {
    if (plan && !absl::c_linear_search(chosen, *plan)) chosen.push_back(*plan);
  };
  for (const size_t i : by_time) {
    if (chosen.size() == kFastest) break;
    if (plans[i].error <= budget.limit) add(i);
  }
  for (const double part : {0.5, 0.25, 0.1}) {
    add(FastestWithin(plans, by_time, part * budget.limit));
  }
  const auto least = absl::c_min_element(
      plans, [](const SearchedPlan& a, const SearchedPlan& b) {
        return a.error < b.error;
      });
  if (least != plans.end()) add(static_cast<size_t>(least - plans.begin()));
  std::vector<size_t> front;
  for (const size_t i : by_time) {
    if (front.empty() || plans[i].error < plans[front.back()].error) {
      front.push_back(i);
    }
  }
  const size_t points = std::min(kOfTheFront, front.size());
  for (size_t i = 0; i < points; ++i) {
    add(front[points == 1 ? 0 : (front.size() - 1) * i / (points - 1)]);
  }
  absl::c_stable_sort(chosen, [&](size_t a, size_t b) {
    const bool a_keeps = plans[a].error <= budget.limit;
    const bool b_keeps = plans[b].error <= budget.limit;
    return a_keeps != b_keeps ? a_keeps : plans[a].seconds < plans[b].seconds;
  });
  return chosen;
}

void JudgeFinalists(const TimedPlans& timed, size_t prompt_tokens,
                    Recommendation& result) {
  std::vector<Finalist>& finalists = result.finalists;
  result.rounds = timed.rounds();
  std::vector<size_t> order(finalists.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = 0; i < finalists.size(); ++i) {
    Finalist& one = finalists[i];
    one.timing = timed.timings[i];
    if (result.f32) one.time = RatioOf(timed.logs[i], timed.logs[*result.f32]);
    one.decode_rate = RateOf(one.timing.decode, 1);
    one.prefill_rate =
        RateOf(one.timing.prefill, static_cast<double>(prompt_tokens));
  }
  absl::c_stable_sort(order, [&](size_t a, size_t b) {
    return timed.Seconds(a) < timed.Seconds(b);
  });
  for (size_t i = 0; i < finalists.size(); ++i) {
    finalists[i].pareto = !absl::c_any_of(order, [&](size_t other) {
      const bool as_good = timed.Seconds(other) <= timed.Seconds(i) &&
                           finalists[other].error <= finalists[i].error;
      return as_good && (timed.Seconds(other) < timed.Seconds(i) ||
                         finalists[other].error < finalists[i].error);
    });
  }
  const auto holds = [&](size_t i) {
    return finalists[i].keeps && finalists[i].confirmed.value_or(false);
  };
  const auto fastest = absl::c_find_if(order, holds);
  std::optional<size_t> chosen;
  if (fastest != order.end()) {
    result.verdict = RecommendVerdict::kRecommended;
    chosen = *fastest;
    for (const size_t i : order) {
      const bool slower =
          DifferInMean(timed.logs[i], timed.logs[*fastest]).value_or(false);
      finalists[i].tied = holds(i) && !slower;
      // Of plans that cannot be told apart in either f32 is the simplest.
      const double error = finalists[i].error;
      const double least = finalists[*chosen].error;
      if (finalists[i].tied &&
          (error < least || (error == least && i == result.f32))) {
        chosen = i;
      }
    }
    result.failed_confirmations = static_cast<size_t>(std::count_if(
        order.begin(), fastest,
        [&](size_t i) { return finalists[i].keeps && !holds(i); }));
  }
  std::vector<Finalist> sorted;
  const std::optional<size_t> f32 = result.f32;
  result.chosen.reset();
  for (const size_t i : order) {
    if (chosen == i) result.chosen = sorted.size();
    if (f32 == i) result.f32 = sorted.size();
    sorted.push_back(std::move(finalists[i]));
  }
  finalists = std::move(sorted);
  if (!result.chosen) ChooseFailed(result);
}

void JudgeUntimed(Recommendation& result) {
  std::optional<size_t> chosen;
  for (size_t i = 0; i < result.finalists.size(); ++i) {
    const Finalist& one = result.finalists[i];
    if (!one.keeps || !one.confirmed.value_or(true)) continue;
    if (!chosen ||
        one.predicted_ratio < result.finalists[*chosen].predicted_ratio) {
      chosen = i;
    }
  }
  result.chosen = chosen;
  if (!chosen) result.chosen = LeastError(result, false);
}

}  // namespace ulpscope
