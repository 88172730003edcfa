#ifndef EXPLORER_REPORT_PHENOMENA_TABLES_H_
#define EXPLORER_REPORT_PHENOMENA_TABLES_H_

#include <vector>

#include "explorer/phenomena/phenomena.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// What is peculiar in a run: "phenomena", the named ones, a line each, and a
// table of every kind.
std::vector<Table> PhenomenaTables(const Phenomena& phenomena,
                                   bool reference_is_oracle = true);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_PHENOMENA_TABLES_H_
