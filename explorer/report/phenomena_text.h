#ifndef EXPLORER_REPORT_PHENOMENA_TEXT_H_
#define EXPLORER_REPORT_PHENOMENA_TEXT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "explorer/phenomena/phenomena.h"

namespace ulpscope {

// One phenomenon in plain English, with the number behind it.
struct NamedPhenomenon {
  // breakdown, massive_channel, cancellation, concentration, bias, overflow,
  // underflow or softmax_over_one.
  const char* kind;
  size_t layer;  // the first that it is about; 0 for what is in no layer
  std::string text;
};

// Those worth a line, in the order of their first layers, final_norm and
// lm_head last; in a layer, in the order of the kinds above. Layers in a row
// that show the same are one line, and so are positions at which a channel is
// massive from and to the same adds. A figure that is NaN is not named: the
// breakdown is.
std::vector<NamedPhenomenon> NamesOf(const Phenomena& phenomena);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_PHENOMENA_TEXT_H_
