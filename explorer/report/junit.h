#ifndef EXPLORER_REPORT_JUNIT_H_
#define EXPLORER_REPORT_JUNIT_H_

#include <string>

#include "explorer/results/schema.h"

namespace ulpscope {

// The checks of a gate (ComparisonResults) as JUnit's XML, as CI systems read
// it: a test case for each check, an error for what is not comparable. A
// failure's text has the command that measures it again.
std::string JUnitXml(const Results& comparison);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_JUNIT_H_
