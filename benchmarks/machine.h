#ifndef BENCHMARKS_MACHINE_H_
#define BENCHMARKS_MACHINE_H_

#include <cstddef>

namespace ulpscope {

// What this machine can do at most, measured here and now: kernels are judged
// against these rather than against a data sheet (Williams, Waterman, Patterson
// 2009: the roofline).

// f32 FMAs of the kernels' target on registers alone, on `threads` threads;
// FLOP/s, two per FMA. The best of several runs.
double MeasureFmaPeak(size_t threads);

// Reading 1 GiB once on `threads` threads; bytes/s. The best of several runs.
double MeasureReadBandwidth(size_t threads);

}  // namespace ulpscope

#endif  // BENCHMARKS_MACHINE_H_
