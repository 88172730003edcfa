#ifndef EXPLORER_REPORT_PAGE_CUT_H_
#define EXPLORER_REPORT_PAGE_CUT_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "explorer/results/schema.h"

namespace ulpscope {

// Plans that are not in a page, of consecutive ranks.
struct LeftOutPlans {
  std::optional<size_t> first_rank, last_rank;  // none if not measured
  size_t plans = 0;
  size_t timed = 0;  // of them: those with a decode speed
  // Scores, those that are not finite last; none if there is none.
  std::optional<double> least_score, median_score, largest_score;
};

// What of results a page holds.
struct PageCut {
  Results results;
  // What is gone, in a sentence; empty if all is here, and the rest too then.
  std::string left_out;
  std::map<std::string, size_t> rows;  // of tables that lack some: how many
  // Of a sweep's plans, whose rows are gone.
  std::vector<LeftOutPlans> groups;
  // Of all plans, here or not. Timed and on the front are some of the measured.
  size_t plans = 0, measured = 0, timed = 0, front = 0;
  std::map<std::string, size_t> not_timed;  // by the reason
  std::string fastest;                      // in decoding; empty if none
};

// Rows of results so that their results.json has about `most_bytes` at most.
//
// Of a sweep the plans that rank first and last and the fastest go before all,
// then those of the Pareto front, the timed ones and at last the others, as
// they rank; they may take half of the bytes. What belongs to a plan (its
// layers, tokens, times) is there of as many of them as the rest holds, in the
// same order but for the timed ones. What is of no plan, and what other modes
// have, is cut where a table is the largest: its first rows stay, and of
// "repairs" those of whole ops, groups and layers before those of cells.
PageCut CutToFit(const Results& results, size_t most_bytes);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_PAGE_CUT_H_
