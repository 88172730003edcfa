#include "explorer/diagnosis/compared_values.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace ulpscope {
namespace {

// Of all that is said of a point together.
constexpr double kByChance = 1e-3;

}  // namespace

void Agreement::Add(double theirs, double ours, double noise) {
  ++elements_;
  if (theirs == ours || (std::isnan(theirs) && std::isnan(ours))) {
    ++identical_;
  } else {
    const double difference = theirs - ours;
    if (std::isfinite(difference)) {
      squares_ += difference * difference;
      quartic_ += difference * difference * difference * difference;
    } else {
      ++nonfinite_;
    }
  }
  if (!std::isfinite(noise)) return;
  noise_ += noise;
  noise_quartic_ += noise * noise;
}

double Agreement::Allowed() const {
  const double independent =
      noise_quartic_ > 0 ? std::max(1.0, noise_ * noise_ / noise_quartic_)
                         : std::max<double>(1, static_cast<double>(elements_));
  return 2 * (1 + 6 * std::sqrt(2 / independent)) * std::sqrt(noise_);
}

bool Agreement::Agrees() const {
  return nonfinite_ == 0 && std::sqrt(squares_) <= Allowed();
}

double LogChance(double left, double dimensions, double parameters) {
  if (dimensions <= parameters) return 0;
  return (dimensions - parameters) / 2 * std::log(std::min(left, 1.0));
}

bool IsBeyondChance(double log_chance, double things) {
  return log_chance + std::log(things) < std::log(kByChance);
}

}  // namespace ulpscope
