#ifndef EXPLORER_REPORT_ERROR_FIELDS_H_
#define EXPLORER_REPORT_ERROR_FIELDS_H_

#include <optional>
#include <string>
#include <vector>

#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// Fields that several kinds of rows have in common.

// Why there is no time of a plan that is emulated (Plan::emulated).
inline constexpr char kEmulated[] = "emulated";

const Fields<ErrorMetrics>& ErrorMetricsFields();

// rel_l2 of the final hidden state at ordinary positions, if all was measured
// and there are any.
std::optional<double> OrdinaryRelL2(const TraceMetrics& metrics);

// The columns of the seed report's table of errors, layer by layer, of rows
// with a layer, ErrorMetricsFields, "growth" and "status". More may follow.
std::vector<std::string> SeedReportColumns();

// The growth of the error over the layer before, and the seed report's status.
const Fields<LayerMetrics>& GrowthFields();

// The field "not_timed": why a row has no speeds though nothing was stopped;
// none where that is not so. `reason` is the row's, or null; `others` says what
// it may be beside kEmulated: "; \"not asked\": ...".
template <typename T, typename Reason>
Field<T> NotTimedField(const std::string& others, Reason reason) {
  return {"not_timed", "Not timed", Unit::kNone,
          "\"emulated\": its arithmetic is not this CPU's, whose time says "
          "nothing of it" +
              others + "; null if it is timed.",
          [reason](const T& row) {
            const char* const text = reason(row);
            return text == nullptr ? std::nullopt
                                   : std::optional<std::string>(text);
          }};
}

// "NAME" and "NAME_half_iqr": a rate or a ratio of times with its spread; none
// if it was not timed. `of` returns the Spread, or an optional one.
template <typename T, typename Of>
void AppendSpread(Fields<T>& fields, const std::string& name,
                  const std::string& title, Unit unit, const std::string& about,
                  Of of) {
  const auto figure = [of](double Spread::*part) {
    return [of, part](const T& row) {
      const std::optional<Spread> spread = of(row);
      return spread ? std::optional<double>((*spread).*part) : std::nullopt;
    };
  };
  fields.emplace_back(name, title, unit, about + ", the median.",
                      figure(&Spread::median));
  fields.emplace_back(name + "_half_iqr", "", unit,
                      "Half the interquartile range of that.",
                      figure(&Spread::half_iqr));
}

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ERROR_FIELDS_H_
