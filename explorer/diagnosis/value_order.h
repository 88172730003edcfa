#ifndef EXPLORER_DIAGNOSIS_VALUE_ORDER_H_
#define EXPLORER_DIAGNOSIS_VALUE_ORDER_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"

namespace ulpscope {

// Where each channel's value is taken from when `width` channels are brought in
// this order, as `heads` heads. Empty if the width is not so many heads of an
// even number of channels, or the kind has no formula.
std::vector<size_t> OrderOfChannels(OrderKind kind, size_t width, size_t heads);

// Whether theirs are the values of ours in another order of channels, the same
// in all of these rows: in one of the orders that layouts of heads have, with
// any number of heads, else in the one that finds a channel of ours for each of
// theirs. None if they are not beyond chance, or the order is ours.
// consistent_with_neighbours is left open.
std::optional<ValueOrder> FindOrder(const ComparedValues& values,
                                    const std::vector<size_t>& rows);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_VALUE_ORDER_H_
