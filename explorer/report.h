#ifndef EXPLORER_REPORT_H_
#define EXPLORER_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/sweep.h"
#include "model/config.h"

namespace ulpscope {

// Whether kernels were tuned, and by what.
struct WisdomUse {
  std::string file;  // empty if none was to be used
  size_t known = 0;  // of the timed MatMuls against weights, how many it knows
  size_t timed = 0;  // of different shapes and strategies
  std::string reason;  // why known is 0
};

// What was measured, where and how: the head of every report.
struct RunInfo {
  std::string model;
  bool synthetic = false;
  ModelConfig config;
  size_t decode_bytes = 0;  // of weights that a decode step reads
  double load_seconds = 0;
  std::string cpu;
  std::string target;  // Highway's
  size_t threads = 0;
  WisdomUse wisdom;
  uint64_t seed = 0;
  std::string axes;         // empty for single plans
  std::string stopped_by;   // "Ctrl-C", if SweepResult says where
  std::set<size_t> layers;  // rows of the printed tables; empty is all
};

// "Model: ...".
std::string ModelLine(const RunInfo& info);

// Markdown for the terminal and report.md: the ranking, the tables of the best
// and the worst plan in the seed report's format, and the main effects. Of a
// sweep that was stopped it says so, what it has until then, and "-" for the
// rest.
std::string ReportText(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result);

// Everything that was measured, every figure of ReportText included. What is
// not a number (a growth after no error) or missing is null.
std::string ReportJson(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result);

// A row per plan, with the columns of the ranking; what is missing is empty.
std::string ReportCsv(const RunInfo& info, const SweepOptions& options,
                      const SweepResult& result);

// A field of a CSV file (RFC 4180): with a comma, quote or line break it is
// quoted.
std::string CsvField(absl::string_view text);

// Creates the folder if it is missing.
absl::Status MakeFolder(const std::string& path);

absl::Status WriteFile(const std::string& path, absl::string_view text);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_H_
