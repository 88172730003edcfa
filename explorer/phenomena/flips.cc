#include "explorer/phenomena/flips.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/error/baseline.h"
#include "explorer/phenomena/massive_channel.h"
#include "kernels/base/matrix.h"

namespace ulpscope {
namespace {

// Of a run's massive channels, those that the other run lacks.
void AddFlips(const Baseline& baseline, const RunResults& own,
              const RunResults& other,
              const std::vector<MassiveChannel>& massive, bool in_plan,
              std::vector<FlippedActivation>& flips) {
  for (const MassiveChannel& m : massive) {
    const auto value = [&](const RunResults& of) {
      return baseline.State(of, m.value_layer).Row(m.position)[m.channel];
    };
    // One that comes and goes between two adds is after no layer.
    if (value(own) != m.value) continue;
    const double there = value(other);
    // Of a NaN it is false: that is another matter.
    if (!(std::fabs(there) < kFlippedBelow * std::fabs(m.value))) continue;
    flips.push_back({m.channel, m.position, m.born, in_plan, m.value,
                     m.value_layer, there});
  }
}

// The index of the largest that is not `but`.
size_t LargestBut(const double* row, size_t size, size_t but) {
  size_t best = but == 0 ? 1 : 0;
  for (size_t i = 0; i < size; ++i) {
    if (i != but && row[i] > row[best]) best = i;
  }
  return best;
}

}  // namespace

std::vector<FlippedActivation> FindFlips(
    const Baseline& baseline, const std::vector<MassiveChannel>& of_reference,
    const std::vector<MassiveChannel>& of_plan) {
  std::vector<FlippedActivation> flips;
  AddFlips(baseline, baseline.reference, baseline.run, of_reference, false,
           flips);
  AddFlips(baseline, baseline.run, baseline.reference, of_plan, true, flips);
  absl::c_stable_sort(
      flips, [](const FlippedActivation& a, const FlippedActivation& b) {
        return std::fabs(a.value) > std::fabs(b.value);
      });
  return flips;
}

std::vector<NearTie> FindNearTies(const Baseline& baseline) {
  std::vector<NearTie> ties;
  const size_t vocab = baseline.vocab_size;
  if (vocab < 2) return ties;
  for (size_t p = 0; p < baseline.positions; ++p) {
    const double* of_reference = baseline.LogitsOf(baseline.reference).Row(p);
    const double* of_plan = baseline.LogitsOf(baseline.run).Row(p);
    const size_t first = LargestBut(of_reference, vocab, vocab);
    const size_t of_plans = LargestBut(of_plan, vocab, vocab);
    const bool flips = of_plans != first;
    const size_t rival =
        flips ? of_plans : LargestBut(of_reference, vocab, first);
    const double margin = of_reference[first] - of_reference[rival];
    const double error = margin - (of_plan[first] - of_plan[rival]);
    if (!flips && !(error >= kTieShare * margin)) continue;
    ties.push_back({p, static_cast<int32_t>(first), static_cast<int32_t>(rival),
                    margin, error, flips});
  }
  return ties;
}

}  // namespace ulpscope
