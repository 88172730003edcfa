#ifndef EXPLORER_APP_COMPARE_H_
#define EXPLORER_APP_COMPARE_H_

#include "explorer/app/settings.h"

namespace ulpscope {

// Runs --compare and --gate, prints and writes what comes of them, and returns
// the exit code.
int RunCompare(const Settings& settings);

}  // namespace ulpscope

#endif  // EXPLORER_APP_COMPARE_H_
