#include "explorer/report/error_table.h"

#include <cmath>
#include <cstddef>
#include <string>

#include "absl/strings/str_format.h"
#include "explorer/error/metrics.h"
#include "explorer/report/figures.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
const char kErrorTableHead[] =
    "| Layers | Mean Abs Error | RMSE | Max Error | Growth Rate | Status |";
const char kErrorTableRule[] =
    "|--------|----------------|------|-----------|-------------|--------|";

std::string ErrorDigits(double x) {
  return x != 0 && std::fabs(x) < 1e-4 ? absl::StrFormat("%.3e", x)
                                       : absl::StrFormat("%.6f", x);
}

std::string ErrorTableCells(size_t layer, const ErrorMetrics& error,
                            double growth) {
  return absl::StrFormat(
      "| %d | %s | %s | %s | %s | %s |", layer, ErrorDigits(error.mean_abs),
      ErrorDigits(error.rmse), ErrorDigits(error.max_abs),
      layer == 1 ? "1.000x" : Growth(growth), StatusOf(error.mean_abs));
}

nlohmann::ordered_json ErrorMetricsJson(const ErrorMetrics& e) {
  return {{"mean_abs", e.mean_abs},
          {"rmse", e.rmse},
          {"max_abs", e.max_abs},
          {"max_position", e.max_row},
          {"max_channel", e.max_col},
          {"mean_signed", e.mean_signed},
          {"rel_l2", e.rel_l2},
          {"cosine", e.cosine},
          {"f32_ulps",
           {{"p50", e.ulps.p50}, {"p99", e.ulps.p99}, {"max", e.ulps.max}}}};
}

}  // namespace ulpscope
