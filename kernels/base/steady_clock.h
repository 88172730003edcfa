#ifndef KERNELS_BASE_STEADY_CLOCK_H_
#define KERNELS_BASE_STEADY_CLOCK_H_

#include <chrono>

namespace ulpscope {

// Seconds since some start, for differences: unlike the time of day, they are
// not set by anyone while something is timed.
inline double SteadySeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace ulpscope

#endif  // KERNELS_BASE_STEADY_CLOCK_H_
