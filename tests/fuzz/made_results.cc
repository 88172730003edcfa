#include "tests/fuzz/made_results.h"

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/compare/comparison.h"
#include "explorer/compare/gate.h"
#include "explorer/report/compare_results.h"
#include "explorer/report/junit.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "tests/explorer/report/made_sweep.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

const Results& MadeResults(bool second) {
  static const Results& first = *new Results(MadeSweep().Made());
  static const Results& other = *new Results([] {
    MadeSweep sweep;
    for (PlanResult& plan : sweep.result.plans) {
      for (double& seconds : plan.timing.decode) seconds *= 2;
    }
    sweep.result.plans[0].token.layers[1].error.rel_l2 *= 2;
    sweep.result.plans[1].prompt.logits.reset();
    return sweep.Made();
  }());
  return second ? other : first;
}

void UseComparison(const Results* base, const Results& now,
                   absl::string_view gate) {
  const auto lines = ParseGate(gate, "the gate");
  if (!lines.ok()) return RequireNames(lines.status(), "the gate");
  Comparison comparison;
  if (base != nullptr) comparison = Compare(*base, now);
  const std::vector<GateCheck> checks = CheckGate(*lines, base, now);
  Require(checks.size() >= lines->size(), "a line has no check");
  const Results results = ComparisonResults({"base", "now", "the gate"}, base,
                                            &now, comparison, checks);
  ComparisonReport(results);
  JUnitXml(results);
  ResultsJson(results);
}

}  // namespace ulpscope
