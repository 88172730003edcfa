#ifndef EXPLORER_REPORT_GOOGLE_BENCHMARK_H_
#define EXPLORER_REPORT_GOOGLE_BENCHMARK_H_

#include <string>

#include "explorer/results/schema.h"

namespace ulpscope {

// Every run that was timed, as the JSON that Google Benchmark writes and its
// compare.py reads:
//   {"context": {...}, "benchmarks": [{"name": "decode/PLAN", ...}, ...]}
// with an iteration for each run, in nanoseconds of real time. Of --tune the
// name ends in "/tuned" or "/default". A plan that was not timed, as one that
// is emulated, is not there. compare.py does not do without a cpu_time, which
// nobody measures: it is 0, and the context says so.
std::string GoogleBenchmarkJson(const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_GOOGLE_BENCHMARK_H_
