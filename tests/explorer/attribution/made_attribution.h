#ifndef TESTS_EXPLORER_ATTRIBUTION_MADE_ATTRIBUTION_H_
#define TESTS_EXPLORER_ATTRIBUTION_MADE_ATTRIBUTION_H_

#include <cstddef>
#include <string>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Attributions and phenomena made up to be judged.

inline constexpr size_t kLayers = 24;

Plan PlanOf(const std::string& text);

ModelConfig Config();

// An attribution of a plan that was finished: every cell changes bits and has
// the same small error.
Attribution Uniform(double error);

Cause& At(Attribution& a, size_t layer, Op op);

// Against the oracle. `phenomena` may be null.
Verdict Judged(const Plan& plan, const Attribution& attribution,
               const Phenomena* phenomena);

// Nothing peculiar: errors all over the channels, no cancellation.
Phenomena Plain();

// What the seed's model shows for token 9707 under torch-bf16.
struct SeedCase {
  SeedCase();

  Plan plan;
  Attribution attribution;
  Phenomena phenomena;
};

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_ATTRIBUTION_MADE_ATTRIBUTION_H_
