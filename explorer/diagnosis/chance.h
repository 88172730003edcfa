#ifndef EXPLORER_DIAGNOSIS_CHANCE_H_
#define EXPLORER_DIAGNOSIS_CHANCE_H_

#include <cstddef>

namespace ulpscope {

// Whether a hypothesis about rounding points is right, by the rows of a tensor
// that it moves and by those of them that become the trace's: most, and more
// than chance makes of so many. Rows are what is independent: within one, a
// single value that is rounded the other way moves all others.
bool HitsMoreThanChance(size_t rows_hit, size_t rows_moved);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_CHANCE_H_
