#ifndef EXPLORER_COMPARE_MANN_WHITNEY_H_
#define EXPLORER_COMPARE_MANN_WHITNEY_H_

#include <cstddef>
#include <vector>

namespace ulpscope {

// The two-sided p-value of the Mann-Whitney U test that the two samples are of
// one distribution (Mann and Whitney, Annals of Mathematical Statistics 18,
// 1947): exact where no values are equal and there are at most 400 pairs, else
// by the normal approximation with corrections for ties and continuity. 1 if a
// sample is empty. The values are finite.
double MannWhitneyP(const std::vector<double>& a, const std::vector<double>& b);

// The least p-value that samples of these sizes can give: with few values no
// difference is significant.
double LeastMannWhitneyP(size_t a, size_t b);

}  // namespace ulpscope

#endif  // EXPLORER_COMPARE_MANN_WHITNEY_H_
