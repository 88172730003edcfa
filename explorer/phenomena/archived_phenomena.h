#ifndef EXPLORER_PHENOMENA_ARCHIVED_PHENOMENA_H_
#define EXPLORER_PHENOMENA_ARCHIVED_PHENOMENA_H_

#include <cstddef>

#include "explorer/error/archive.h"
#include "explorer/phenomena/phenomena.h"

namespace ulpscope {

// As of explorer/error/archived_metrics.h.
inline constexpr int kPhenomenaVersion = 3;
void Visit(Archive& archive, Phenomena& phenomena);

// Whether they can be a whole run's, of so many layers and positions.
bool IsWhole(const Phenomena& phenomena, size_t num_layers, size_t positions);

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_ARCHIVED_PHENOMENA_H_
