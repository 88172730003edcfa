#ifndef EXPLORER_REPORT_PHENOMENA_TEXT_H_
#define EXPLORER_REPORT_PHENOMENA_TEXT_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "explorer/phenomena/phenomena.h"
#include "model/architecture/op.h"

namespace ulpscope {

// A phenomenon in a line.
struct NamedPhenomenon {
  // breakdown, massive_channel, cancellation, concentration, bias, overflow,
  // underflow, large_score or softmax_over_one.
  const char* kind;
  // The layers in a row that show it, 0 for what is in no layer, and the op: of
  // the stream the add that it is after.
  size_t layer, last_layer;
  Op op;
  std::optional<size_t> channel;
  double figure;     // in a row of layers, of the one with the most
  const char* text;  // what that is
};

// Those worth a line, in the order of their first layers, final_norm and
// lm_head last; in a layer, in the order of the kinds above. Layers in a row
// that show the same are one line, and so are positions at which a channel is
// massive from and to the same adds. A figure that is NaN is not named: the
// breakdown is.
std::vector<NamedPhenomenon> NamesOf(const Phenomena& phenomena,
                                     bool reference_is_oracle = true);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_PHENOMENA_TEXT_H_
