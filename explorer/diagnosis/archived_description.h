#ifndef EXPLORER_DIAGNOSIS_ARCHIVED_DESCRIPTION_H_
#define EXPLORER_DIAGNOSIS_ARCHIVED_DESCRIPTION_H_

#include <cstddef>

#include "explorer/diagnosis/description_results.h"
#include "explorer/error/archive.h"

namespace ulpscope {

// As of archived_diagnosis.h.
void Visit(Archive& archive, PointDescription& description);
void Visit(Archive& archive, FirstNonFinite& nonfinite);
void Visit(Archive& archive, FiniteValues& values);

// Whether they can be of a model with so many layers.
bool IsInModel(const Origin& origin, size_t num_layers);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ARCHIVED_DESCRIPTION_H_
