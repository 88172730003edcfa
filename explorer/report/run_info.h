#ifndef EXPLORER_REPORT_RUN_INFO_H_
#define EXPLORER_REPORT_RUN_INFO_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "explorer/tuning/wisdom_file.h"
#include "model/architecture/config.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

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

  bool IsShown(size_t layer) const {
    return layers.empty() || layers.count(layer) > 0;
  }
};

// "Model: ...".
std::string ModelLine(const RunInfo& info);

// The same for a report's JSON: "model" ... "vocab_size".
nlohmann::ordered_json ModelJson(const RunInfo& info);

// The text of a results.json.
std::string JsonText(const nlohmann::ordered_json& json);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_RUN_INFO_H_
