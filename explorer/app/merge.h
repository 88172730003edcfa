#ifndef EXPLORER_APP_MERGE_H_
#define EXPLORER_APP_MERGE_H_

#include "explorer/app/app_monitor.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// --merge; returns the exit code, kGateFailed if two records of a measurement
// have other bits.
int RunMerge(const Settings& settings, AppMonitor& monitor);

}  // namespace ulpscope

#endif  // EXPLORER_APP_MERGE_H_
