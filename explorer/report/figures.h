#ifndef EXPLORER_REPORT_FIGURES_H_
#define EXPLORER_REPORT_FIGURES_H_

#include <string>

#include "explorer/error/evaluation.h"

namespace ulpscope {

// Figures as all reports print them. Where nothing else is said, "-" is for
// what has no value.

std::string Percent(double share);  // "12.3 %"

// Three digits, and whole numbers in full: "0.143", "1667".
std::string Number(double x);

std::string Scientific(double x);  // "1.430e-01"; "nan", never "-nan"

std::string Growth(double growth);  // "1.675x"

std::string Rate(const Spread& rate);    // "20.1 ± 0.4"
std::string Ratio(const Spread& ratio);  // "0.981 ± 0.004"

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_FIGURES_H_
