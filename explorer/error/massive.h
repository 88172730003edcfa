#ifndef EXPLORER_ERROR_MASSIVE_H_
#define EXPLORER_ERROR_MASSIVE_H_

#include "absl/types/span.h"

namespace ulpscope {

// A channel is massive at a position where its magnitude is more than
// kMassiveMagnitude and at least kMassiveRatio times the median magnitude of
// that position's hidden state.
//
// Sun et al. 2024 ("Massive Activations in Large Language Models") take 100 and
// "at least or around 1,000", of models such as LLaMA2-7B. Small ones stay
// below: SmolLM2-135M's channel 507, at 22 500 nine times as large as anything
// else, has at most 506 times the median, and what is largest elsewhere in a
// prompt of nine tokens up to 86 times. No Gaussian state comes near, as the
// largest of 4096 is 6 times their median. A multiple of the standard deviation
// would not do, since the channel makes that itself: of n channels none is
// larger than about sqrt(n) of it.
inline constexpr double kMassiveMagnitude = 100;
inline constexpr double kMassiveRatio = 100;

// Median magnitude of a hidden state of at least one channel: of even counts
// the lower one. A NaN counts as infinite.
double MedianMagnitude(absl::Span<const double> row);

// Of a channel in a hidden state of that median, with both thresholds scaled. A
// NaN is not massive, and where the median is infinite nothing is.
bool IsMassive(double magnitude, double median, double scale);

// Whether any channel of a position's hidden state is.
bool IsMassive(absl::Span<const double> row);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_MASSIVE_H_
