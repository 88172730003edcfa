#ifndef TESTS_FUZZ_MADE_RESULTS_H_
#define TESTS_FUZZ_MADE_RESULTS_H_

#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// Results of a sweep to compare others with; of the second run with other
// figures.
const Results& MadeResults(bool second);

// Goes through all that is made of a comparison: tables, JSON, JUnit's XML.
void UseComparison(const Results* base, const Results& now,
                   absl::string_view gate);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_MADE_RESULTS_H_
