#ifndef EXPLORER_ATTRIBUTION_ARCHIVED_VERDICT_H_
#define EXPLORER_ATTRIBUTION_ARCHIVED_VERDICT_H_

#include <cstddef>

#include "explorer/attribution/verdict.h"
#include "explorer/error/archive.h"

namespace ulpscope {

// A part of what is kept of a diagnosis; explorer/error/archived_metrics.h.
void Visit(Archive& archive, Verdict& verdict);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_ARCHIVED_VERDICT_H_
