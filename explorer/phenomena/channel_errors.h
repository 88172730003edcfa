#ifndef EXPLORER_PHENOMENA_CHANNEL_ERRORS_H_
#define EXPLORER_PHENOMENA_CHANNEL_ERRORS_H_

#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"

namespace ulpscope {

// How an error is spread over channels, all positions together.
struct Concentration {
  size_t layer = 0;
  size_t channels = 0;        // how many there are
  size_t channel = 0;         // the one with the largest squared error
  double top1 = 0, top8 = 0;  // share of the squared error; 0 without error
};

// Whether an error leans to one side.
struct Bias {
  size_t layer = 0;
  double mean = 0;  // signed, over positions and channels
  double rms = 0;   // of the error: what `mean` is to be judged by
  // mean / (standard deviation / sqrt(n)) over all n elements: what independent
  // roundings keep within a few units of 0. It misleads where elements are not
  // independent. Positions are not: they all read position 0, and a massive
  // channel errs the same way at each of p positions, which alone makes z
  // sqrt(p). Nor are channels, where an upstream error was mixed into all.
  double z = 0;
  // A sign test (Arbuthnot 1710) over channels: how many have a positive and a
  // negative mean error over positions, and (positive - negative) /
  // sqrt(positive + negative). It asks only that a channel's mean is as likely
  // to be above 0 as below and that channels do so independently: a channel is
  // one vote however large its error and however alike its positions, so one
  // massive channel makes no bias. It does not see a bias of few channels, and
  // says nothing about size; z_signs can be no more than sqrt(channels).
  size_t positive = 0, negative = 0;
  double z_signs = 0;  // 0 if no channel errs
};

// The error of a plan's stream after one layer, gathered over positions.
class ChannelErrors {
 public:
  // Some positions: [positions, channels], both of the same shape, and of as
  // many channels in every call.
  void Add(Matrix<const double> value, Matrix<const double> reference);

  // An error that is NaN or infinite makes its squares' sum so: the shares are
  // NaN, and the channel is the first with such an error.
  Concentration ConcentrationAt(size_t layer) const;
  // Then mean, rms, z and z_signs are NaN or infinite; none looks like a
  // number.
  Bias BiasAt(size_t layer) const;

 private:
  double positions_ = 0;
  std::vector<double> sums_;     // of errors, per channel
  std::vector<double> squares_;  // of their squares, per channel
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_CHANNEL_ERRORS_H_
