#ifndef EXPLORER_RECOMMEND_FINALISTS_H_
#define EXPLORER_RECOMMEND_FINALISTS_H_

#include <cstddef>
#include <vector>

#include "explorer/error/budget.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/plan_search.h"
#include "explorer/recommend/recommendation.h"

namespace ulpscope {

// Which of the searched plans are timed as a whole, about a dozen: the fastest
// that keep the budget, the fastest that keep parts of it, in case the other
// text asks for more, that of the least error, and some of the front of
// expected time and error, its ends among them. By index, those that keep the
// budget first, the fastest first.
std::vector<size_t> FinalistsOf(const std::vector<SearchedPlan>& plans,
                                const Budget& budget);

// Sets what the rounds say of the finalists, [finalists], the fastest first in
// the end, and what is chosen, from their errors on both texts.
void JudgeFinalists(const TimedPlans& timed, size_t prompt_tokens,
                    Recommendation& result);

// What would be chosen by the expected times, before there are others.
void JudgeUntimed(Recommendation& result);

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_FINALISTS_H_
