#ifndef TESTS_EXPLORER_REPORT_MADE_SWEEP_H_
#define TESTS_EXPLORER_REPORT_MADE_SWEEP_H_

#include <string>

#include "explorer/report/frame.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// A run of synthetic:tiny, with names that JSON and CSV must escape.
RunInfo MadeRunInfo();

// A sweep of 2 x 2 plans over 5 layers with figures drawn at random, all
// different.
struct MadeSweep {
  MadeSweep();

  Results Made() const;
  // With effects and ranks of the plans as they are.
  void Rank();
  // As after a stop: without times, and `layers` layers of errors.
  void Stop(size_t layers);

  RunInfo info;
  SweepOptions options;
  SweepResult result;
};

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_REPORT_MADE_SWEEP_H_
