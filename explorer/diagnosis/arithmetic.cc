#include "explorer/diagnosis/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

constexpr ArithmeticPreset kPresets[] = {
    {"f64", "oracle", "f64 throughout", Format::kF64, false},
    {"torch-f64", "oracle,rmsnorm=f32,softmax=f32,rope=f32",
     "transformers in float64, whose norms, softmax and RoPE are in f32",
     Format::kF64, true},
    {"f32", "f32", "f32", Format::kF32, true},
    {"torch-bf16", "torch-bf16", "PyTorch's eager bf16", Format::kBF16, true},
    {"torch-f16", "torch-f16", "PyTorch's eager f16", Format::kF16, true},
    // Those of other engines are tried where their results are the trace's.
    {"torch-bf16-sdpa", "torch-bf16-sdpa", "PyTorch's bf16, fused attention",
     Format::kBF16, true},
    {"torch-f16-sdpa", "torch-f16-sdpa", "PyTorch's f16, fused attention",
     Format::kF16, true},
    {"vllm-bf16", "vllm-bf16", "vLLM's fused bf16", Format::kBF16, true},
    {"vllm-h100-bf16", "vllm-h100-bf16", "vLLM's fused bf16 on H100",
     Format::kBF16, true},
    {"autocast-bf16", "autocast-bf16", "PyTorch's autocast to bf16",
     Format::kF32, true},
    {"llama.cpp-cpu", "llama.cpp-cpu", "llama.cpp on x86-64", Format::kF32,
     true},
    {"llama.cpp-cpu-flash", "llama.cpp-cpu-flash",
     "llama.cpp on x86-64, flash attention", Format::kF32, true},
    {"llama.cpp-cpu-f32-cache", "llama.cpp-cpu,kv=f32",
     "llama.cpp on x86-64, f32 cache", Format::kF32, true},
    {"f32-f16-kv-cache", "kv=f16", "f32 with an f16 cache", Format::kF32, true},
    {"f32-bf16-kv-cache", "kv=bf16", "f32 with a bf16 cache", Format::kF32,
     true},
    {"f32-fp8-kv-cache", "kv=fp8", "f32 with an FP8 cache", Format::kF32, true},
    {"f32-int8-kv-cache", "kv=int8", "f32 with an int8 cache", Format::kF32,
     true},
    {"f32-q8_0-kv-cache", "kv=q8_0", "f32 with a Q8_0 cache", Format::kF32,
     true},
    {"f32-q4_0-kv-cache", "kv=q4_0", "f32 with a Q4_0 cache", Format::kF32,
     true},
    {"torch-bf16-fp8-kv-cache", "torch-bf16,kv=fp8",
     "PyTorch's eager bf16 with an FP8 cache", Format::kBF16, true},
};
constexpr size_t kF32Preset = 2;
constexpr size_t kTriedAlways = 5;

std::vector<ArithmeticPreset> TriedFor(Format held) {
  std::vector<ArithmeticPreset> presets;
  for (size_t p = 0; p < std::size(kPresets); ++p) {
    if (p < kTriedAlways || kPresets[p].result == held) {
      presets.push_back(kPresets[p]);
    }
  }
  return presets;
}

// A preset is the better one if it comes nearer by so many bits on average, or
// about as near and explains more points. (How many it explains does not come
// first: a wide allowance explains anything.)
constexpr double kBitsMatter = 0.2;

// An engine is taken only if it comes nearer by so many bits where it differs:
// its replays then agree there, and are not merely as far off elsewhere.
constexpr double kEngineBits = 1;

// Of the points at which two replays are not equally far from the trace, how
// many bits nearer `engine` is on average; negative infinity if there are none.
double BitsNearer(const AlignedTrace& trace,
                  const std::vector<Residual>& engine,
                  const std::vector<Residual>& plain) {
  constexpr double kSame = 0.01;
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const double bits =
        Log2Distance(trace, i, plain[i]) - Log2Distance(trace, i, engine[i]);
    if (!(std::fabs(bits) > kSame)) continue;
    sum += bits;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count)
                   : -std::numeric_limits<double>::infinity();
}

// The plain arithmetic whose results are of a format.
size_t PresetOf(absl::Span<const ArithmeticPreset> presets, Format result) {
  size_t p = kF32Preset;
  while (presets[p].result != result) ++p;
  return p;
}

struct Option {
  size_t preset = 0;
  bool stored_rounded = false;
  Fit fit;
};

bool IsBetter(absl::Span<const ArithmeticPreset> presets,
              const Option& challenger, const Option& best) {
  // Both round to f64, but for a few ops.
  if (presets[best.preset].result == Format::kF64 &&
      presets[challenger.preset].result == Format::kF64) {
    return challenger.fit.explained > best.fit.explained;
  }
  // A 16-bit arithmetic gives its bits; one that was only kept in 16 bits does
  // not.
  if (challenger.stored_rounded && best.fit.bit_for_bit) return false;
  const double bits = best.fit.mean_log2 - challenger.fit.mean_log2;
  // An engine may differ at few points, where it is nearer (kEngineBits). What
  // it rounds within an op widens what it explains, which so says nothing.
  if (challenger.preset >= kTriedAlways) return bits > 0;
  if (std::fabs(bits) > kBitsMatter) return bits > 0;
  if (challenger.stored_rounded && best.fit.flips_known) return true;
  return challenger.fit.explained > best.fit.explained;
}

}  // namespace

absl::Span<const ArithmeticPreset> ArithmeticPresets() { return kPresets; }

Belief BeliefIn(absl::string_view preset, size_t num_layers) {
  const auto* const found = std::find_if(
      std::begin(kPresets), std::end(kPresets),
      [preset](const ArithmeticPreset& p) { return preset == p.name; });
  Belief belief;
  belief.preset = found->name;
  belief.plan = *Plan::Parse(found->plan, num_layers);
  belief.rope_angles_f32 = found->rope_angles_f32;
  return belief;
}

absl::StatusOr<ArithmeticFindings> FindArithmetic(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const std::vector<Hypothesis>& accepted) {
  const std::vector<ArithmeticPreset> presets = TriedFor(trace.format());
  const size_t num_layers = weights.original().layers.size();
  // Of each preset the belief that it is, with what is accepted of variants.
  std::vector<Belief> beliefs;
  for (const ArithmeticPreset& preset : presets) {
    beliefs.push_back(With(BeliefIn(preset.name, num_layers), accepted));
  }
  const PerturbedTrace perturbed(trace, UnitRoundoff(trace.format()));
  const Plan oracle = Plan::Oracle(num_layers);
  Variant exact = beliefs.front().variant();
  exact.rope_angles_f32 = false;
  std::vector<Candidate> candidates = {{oracle, exact, &trace}};
  const Format held = trace.format();
  for (size_t p = 0; p < beliefs.size(); ++p) {
    const bool finer = UnitRoundoff(presets[p].result) < UnitRoundoff(held);
    candidates.push_back(
        {beliefs[p].plan, beliefs[p].variant(), &trace, finer});
  }
  candidates.push_back({oracle, exact, &perturbed});
  const auto set = weights.Get(beliefs.front().weights());
  if (!set.ok()) return set.status();
  const auto residuals =
      MeasureCandidates(setting, **set, trace, candidates, "arithmetic");
  if (!residuals.ok()) return residuals.status();
  const std::vector<Residual>& f32 = (*residuals)[1 + kF32Preset];
  const std::vector<Residual>& stored = residuals->back();

  std::vector<Option> fits;  // of all presets, of which some are options
  for (size_t p = 0; p < presets.size(); ++p) {
    const bool finer = UnitRoundoff(presets[p].result) < UnitRoundoff(held);
    fits.push_back({p, finer,
                    FitOf(trace, beliefs[p].plan, (*residuals)[1 + p], f32,
                          finer ? &stored : nullptr)});
  }
  std::vector<Option> options;
  for (size_t p = 0; p < presets.size(); ++p) {
    const double held_share = trace.ShareHeld(presets[p].result);
    // A coarser arithmetic cannot have made them, and a much finer one would
    // have been rounded when they were written.
    if (held_share < kMostPoints) continue;
    const bool other_16_bits =
        presets[p].result != held &&
        UnitRoundoff(presets[p].result) > UnitRoundoff(Format::kF32) &&
        held_share < 1;
    // What f64 computed and f32 keeps cannot be told from f32: replays under
    // f32 are two roundings away from an f32 trace, those under f64 one.
    const bool finer_than_f32 =
        presets[p].result == Format::kF64 && held != Format::kF64;
    const bool unlikely_engine =
        p >= kTriedAlways &&
        BitsNearer(trace, (*residuals)[1 + p],
                   (*residuals)[1 + PresetOf(presets, held)]) < kEngineBits;
    if (!other_16_bits && !finer_than_f32 && !unlikely_engine) {
      options.push_back(fits[p]);
    }
  }
  // The one whose format is the values' is taken unless another is better.
  absl::c_stable_sort(options, [](const Option& a, const Option& b) {
    return a.stored_rounded < b.stored_rounded;
  });
  size_t best = 0;
  for (size_t i = 1; i < options.size(); ++i) {
    if (IsBetter(presets, options[i], options[best])) best = i;
  }
  std::swap(options[0], options[best]);

  ArithmeticFindings findings;
  const Option& taken = options.front();
  findings.belief = beliefs[taken.preset];
  findings.belief.stored_rounded = taken.stored_rounded;
  findings.arithmetic.name = presets[taken.preset].name;
  findings.arithmetic.plan = findings.belief.plan.Text();
  findings.arithmetic.stored_rounded = taken.stored_rounded;
  std::vector<size_t> order = {taken.preset};
  for (size_t i = 1; i < options.size(); ++i) {
    order.push_back(options[i].preset);
    // A search for each would take long, and what engines round within an op
    // explains much: those that come no nearer are left out.
    if (options[i].preset >= kTriedAlways &&
        options[i].fit.mean_log2 >= taken.fit.mean_log2) {
      continue;
    }
    findings.alternatives.push_back(beliefs[options[i].preset]);
    findings.alternatives.back().stored_rounded = options[i].stored_rounded;
  }
  for (size_t p = 0; p < presets.size(); ++p) {
    if (!absl::c_linear_search(order, p)) {
      order.push_back(p);
    }
  }
  for (const size_t p : order) {
    Arithmetic::Preset row;
    row.name = presets[p].name;
    row.plan = beliefs[p].plan.Text();
    row.holds_values = trace.ShareHeld(presets[p].result) >= kMostPoints;
    row.points_explained = fits[p].fit.explained;
    row.mean_log2_distance = fits[p].fit.mean_log2;
    findings.arithmetic.presets.push_back(std::move(row));
  }
  for (size_t i = 0; i < trace.points().size(); ++i) {
    // Of equally near ones the one that was taken.
    size_t nearest = taken.preset;
    double least = Log2Distance(trace, i, (*residuals)[1 + nearest][i]);
    for (size_t p = 0; p < presets.size(); ++p) {
      const double distance = Log2Distance(trace, i, (*residuals)[1 + p][i]);
      if (distance < least) {
        least = distance;
        nearest = p;
      }
    }
    findings.closest.emplace_back(presets[nearest].name);
  }
  return findings;
}

}  // namespace ulpscope
