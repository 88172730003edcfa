#ifndef BENCHMARKS_MACHINE_H_
#define BENCHMARKS_MACHINE_H_

#include <cstddef>
#include <vector>

#include "kernels/base/aligned_bytes.h"
#include "kernels/base/parallel.h"

namespace ulpscope {

// What this machine can do at most, measured here and now: kernels are judged
// against these rather than against a data sheet (Williams, Waterman, Patterson
// 2009: the roofline).

// Takes "--target=AVX2" out of the arguments, if it is there, and lets the
// kernels run on that Highway target instead of the CPU's best. False, with a
// message, if it is not among those that are built and that the CPU can run.
bool TakeTargetFlag(int& argc, char** argv);

// How many threads to benchmark with: 1, and as many as there are CPUs.
std::vector<size_t> ThreadCounts();

// f32 FMAs of the kernels' target on registers alone, ten per step, on every
// thread of `parallel`; returns the FLOPs done, two per FMA and lane.
inline constexpr size_t kLongFmaSteps = size_t{10} << 20;  // some 15 ms
double DoFmas(Parallel& parallel, size_t steps);

// Memory to be read once, larger than any cache that a single machine of today
// has for itself.
class ReadBuffer {
 public:
  static constexpr size_t kBytes = size_t{1} << 30;

  ReadBuffer();

  // Reads all of it, divided among the threads.
  void Read(Parallel& parallel) const;

 private:
  AlignedBytes buffer_;
};

// DoFmas on `threads` threads; FLOP/s. The best of several runs.
double MeasureFmaPeak(size_t threads);

// Reading a ReadBuffer on `threads` threads; bytes/s. The best of several runs.
double MeasureReadBandwidth(size_t threads);

}  // namespace ulpscope

#endif  // BENCHMARKS_MACHINE_H_
