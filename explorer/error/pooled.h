#ifndef EXPLORER_ERROR_POOLED_H_
#define EXPLORER_ERROR_POOLED_H_

#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/windows.h"

namespace ulpscope {

// One plan's errors on several windows as those on all of their positions
// together, one window after the other: sums are added before they are divided
// or their roots taken. Of the residual adds' cancellations it has the largest
// of a window; ULPs' quantiles and what tokens are it has only of one window.
// What some window lacks is missing. The errors of one window alone are
// themselves. `metrics` has one per window.
TraceMetrics Pooled(absl::Span<const TraceMetrics> metrics,
                    absl::Span<const Window> windows);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_POOLED_H_
