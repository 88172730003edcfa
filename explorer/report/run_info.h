#ifndef EXPLORER_REPORT_RUN_INFO_H_
#define EXPLORER_REPORT_RUN_INFO_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "explorer/tuning/wisdom_file.h"
#include "model/architecture/config.h"

namespace ulpscope {

// What was measured, where and how: the head of every report.
struct RunInfo {
  std::string model;
  bool synthetic = false;
  ModelConfig config;
  std::string model_fingerprint;
  std::string build_commit;
  size_t decode_bytes = 0;  // of weights that a decode step reads
  double load_seconds = 0;
  std::string cpu;
  std::string target;  // Highway's
  size_t threads = 0;
  WisdomUse wisdom;
  uint64_t seed = 0;
  std::string axes;         // empty for single plans
  std::string against;      // the plan that errors are against
  std::string stopped_by;   // "Ctrl-C", if SweepResult says where
  std::set<size_t> layers;  // rows of the printed tables; empty is all

  bool IsShown(size_t layer) const {
    return layers.empty() || layers.count(layer) > 0;
  }
};

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_RUN_INFO_H_
