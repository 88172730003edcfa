#ifndef EXPLORER_ERROR_ARCHIVED_METRICS_H_
#define EXPLORER_ERROR_ARCHIVED_METRICS_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "explorer/error/effect.h"
#include "explorer/error/metrics.h"
#include "model/architecture/op.h"

namespace ulpscope {

// As Archive asks for. A change of what they name, or of how it is computed,
// raises the version next to the struct.

// `logits` are not kept: they follow from the tokens that are scored.
inline constexpr int kTraceMetricsVersion = 2;
void Visit(Archive& archive, TraceMetrics& metrics);

// Parts of what is kept.
void Visit(Archive& archive, ErrorMetrics& metrics);
void Visit(Archive& archive, Effect& effect);
void Visit(Archive& archive, ErrorSize& size);

// By its name.
void Visit(Archive& archive, Op& op);
void VisitOp(Archive& archive, absl::string_view name, Op& op);

// Whether they can be a whole run's, of so many layers.
bool IsWhole(const TraceMetrics& metrics, size_t num_layers);
bool IsWhole(const Effect& effect, size_t num_layers);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_ARCHIVED_METRICS_H_
