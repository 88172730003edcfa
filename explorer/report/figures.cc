#include "explorer/report/figures.h"

#include <cmath>
#include <string>

#include "absl/strings/str_format.h"
#include "explorer/error/evaluation.h"

namespace ulpscope {

std::string Percent(double share) {
  if (std::isnan(share)) return "-";
  const std::string text = absl::StrFormat("%.1f %%", 100 * share);
  return text == "-0.0 %" ? "0.0 %" : text;
}

std::string Number(double x) {
  const double size = std::fabs(x);
  return size >= 1000 && size < 1e7 ? absl::StrFormat("%.0f", x)
                                    : absl::StrFormat("%.3g", x);
}

std::string Scientific(double x) {
  return std::isnan(x) ? "nan" : absl::StrFormat("%.3e", x);
}

std::string Growth(double growth) {
  return std::isnan(growth) ? "-" : absl::StrFormat("%.3fx", growth);
}

std::string Rate(const Spread& rate) {
  if (std::isnan(rate.median)) return "-";
  return absl::StrFormat("%.1f ± %.1f", rate.median, rate.half_iqr);
}

std::string Ratio(const Spread& ratio) {
  if (std::isnan(ratio.median)) return "-";
  return absl::StrFormat("%.3f ± %.3f", ratio.median, ratio.half_iqr);
}

}  // namespace ulpscope
