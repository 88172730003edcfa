#ifndef EXPLORER_REPORT_ERROR_TABLE_H_
#define EXPLORER_REPORT_ERROR_TABLE_H_

#include <cstddef>
#include <string>

#include "explorer/error/metrics.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

// The seed report's table of errors, layer by layer, in markdown: "| Layers |
// Mean Abs Error | RMSE | Max Error | Growth Rate | Status |". More columns may
// follow in each line.
extern const char kErrorTableHead[];
extern const char kErrorTableRule[];  // the line below the head

// A figure of it: fixed digits as in the seed report, unless they would show
// nothing.
std::string ErrorDigits(double x);

// `growth` is of the mean absolute error; the first layer's is shown as 1.
std::string ErrorTableCells(size_t layer, const ErrorMetrics& error,
                            double growth);

// All of it, for a report's JSON.
nlohmann::ordered_json ErrorMetricsJson(const ErrorMetrics& error);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ERROR_TABLE_H_
