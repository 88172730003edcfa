#include "explorer/error/kept.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "model/architecture/cell.h"
#include "model/architecture/plan.h"
#include "model/architecture/plan_presets.h"

namespace ulpscope {

Subject SubjectOf(
    absl::string_view kind, const Run& run, absl::Span<const int32_t> tokens,
    absl::Span<const std::pair<absl::string_view, const Plan*>> plans) {
  Subject subject;
  if (run.kept == nullptr) return subject;
  subject.kind = std::string(kind);
  subject.facts = {{"model", run.weights.fingerprint},
                   {"tokens", absl::StrJoin(tokens, ",")}};
  const auto cells = CellsOf(run.weights.config);
  for (const auto& [name, plan] : plans) {
    const std::string text = plan->Text();
    if (const PlanPreset* const preset = FindPlanPreset(text)) {
      // A preset can come to mean something else.
      subject.facts.emplace_back(absl::StrCat(name, "_entries"),
                                 EntriesOf(*preset));
    }
    subject.facts.emplace_back(std::string(name), text);
    for (const Cell& cell : cells) {
      if (!plan->Get(cell.layer, cell.op).info().fixed_bits) {
        subject.of_target = true;
      }
    }
  }
  return subject;
}

}  // namespace ulpscope
