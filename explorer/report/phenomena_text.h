#ifndef EXPLORER_REPORT_PHENOMENA_TEXT_H_
#define EXPLORER_REPORT_PHENOMENA_TEXT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "explorer/phenomena/phenomena.h"

namespace ulpscope {

// From when on a figure is worth a line.

// From 2 on an add can double relative errors: they lose a bit. Operands at
// right angles, as independent ones nearly are, give at most sqrt(2).
inline constexpr double kNamedCancellation = 2;
// Half of the squared error in one channel, or nearly all in eight. Of spread
// errors the largest of n Gaussian channels at one position has about
// 2 log(n) / n: 0.13 of 64 channels, 0.015 of 896.
inline constexpr double kNamedTop1 = 0.5;
inline constexpr double kNamedTop8 = 0.9;
// Of the sign test: chance gives |z| >= 5 once in 1.7 million layers. Models of
// less than 25 channels cannot show it.
inline constexpr double kNamedBias = 5;
// Bits. Another prompt can well double an activation.
inline constexpr double kNamedHeadroom = 1;
// Share of an op's outputs that are below a format's smallest normal number.
// Values spread evenly about 0 lose little by a few: as small as they are
// against the others of their row, a sum hardly sees them.
inline constexpr double kNamedUnderflow = 0.5;

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
