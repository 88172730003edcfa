#ifndef EXPLORER_REPORT_DESCRIPTION_TABLES_H_
#define EXPLORER_REPORT_DESCRIPTION_TABLES_H_

#include <vector>

#include "explorer/diagnosis/results.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// What a diagnosis says of points that differ ("descriptions"), of the first
// values that are not finite ("not_finite"), and of how many are.
std::vector<Table> DescriptionTables(const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DESCRIPTION_TABLES_H_
