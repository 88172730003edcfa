#ifndef EXPLORER_REPORT_MODE_SCHEMAS_H_
#define EXPLORER_REPORT_MODE_SCHEMAS_H_

#include <vector>

#include "explorer/results/schema.h"

namespace ulpscope {

// The results of every mode that has any, of nothing: their tables and columns.
const std::vector<Results>& ModeSchemas();

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_MODE_SCHEMAS_H_
