#ifndef TESTS_EXPLORER_ATTRIBUTION_ATTRIBUTED_H_
#define TESTS_EXPLORER_ATTRIBUTION_ATTRIBUTED_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// Attributions of small models. What cannot be had is a failed expectation.

inline constexpr const char* kTinyModels[] = {"synthetic:tiny",
                                              "synthetic:tiny-qwen3"};

// Loaded once.
const Weights& Tiny(const std::string& checkpoint = kTinyModels[0]);

Plan Parsed(const std::string& plan, const Weights& weights);

Strategy Named(const std::string& name);

struct AttributedWith {
  std::vector<int32_t> tokens;
  size_t memory = SIZE_MAX;
  std::function<bool()> stop;  // or null
  AttributionParts parts;
};

// All parts, of six tokens with those of the massive activation among them, not
// first.
AttributedWith TinyPrompt();

Attribution Attributed(const Weights& weights, const std::string& plan,
                       const AttributedWith& options, size_t threads = 2);

// Of any tokens, against the oracle or another plan.
Baseline BaselineAgainst(const Run& run, const Plan& plan,
                         const Plan& reference,
                         const std::vector<int32_t>& tokens);
Baseline BaselineOf(const Run& run, const Plan& plan,
                    const std::vector<int32_t>& tokens);

double Norm2(const std::vector<double>& v);

// Largest change of a sum of the causes' error vectors by adding them in
// another order, in units of the plan's error: Higham, section 4.2.
double SumRounding(const Attribution& result);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_ATTRIBUTION_ATTRIBUTED_H_
