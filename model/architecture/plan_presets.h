#ifndef MODEL_ARCHITECTURE_PLAN_PRESETS_H_
#define MODEL_ARCHITECTURE_PLAN_PRESETS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// A named plan, given by the text that it stands for. Those of engines are what
// docs/engines.md says of them, with its sources.
struct PlanPreset {
  const char* name;
  const char* entries;
  const char* summary;
};

// A plan that several names stand for has the first one.
absl::Span<const PlanPreset> PlanPresets();

// Null if there is none.
const PlanPreset* FindPlanPreset(absl::string_view name);

// What it stands for, without other presets: "" of f32.
std::string EntriesOf(const PlanPreset& preset);

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_PLAN_PRESETS_H_
