#include "explorer/attribution/mechanisms.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/flips.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/phenomena/softmax_weights.h"
#include "model/architecture/op.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

// A bias makes most of a key channel from half of its largest value on.
constexpr double kMostOfKey = 0.5;

// The least factor that a rounded score changes its weight by: a weight that is
// off by half changes what a head reads, one by a hundredth (IsNamed) does not.
constexpr double kWrongWeight = 1.5;

// Of a weight that moved: a majority went elsewhere.
constexpr double kWentElsewhere = 0.5;

// The layers that the error comes from, and whether it is attention's scores.
struct Scope {
  size_t first_layer, last_layer;
  bool of_scores;

  bool Holds(size_t layer) const {
    return first_layer <= layer && layer <= last_layer;
  }
};

bool IsOfScores(Op op) {
  return op == Op::kQProj || op == Op::kKProj || op == Op::kQNorm ||
         op == Op::kKNorm || op == Op::kRope || op == Op::kKvK ||
         op == Op::kQk || op == Op::kSoftmax;
}

Scope ScopeOf(const Verdict& verdict, const ErrorSets* sets,
              size_t num_layers) {
  if (sets != nullptr && sets->whole.has_value()) {
    const ErrorSet& set = *sets->whole;
    return {set.first_layer, set.last_layer,
            absl::c_any_of(set.ops, IsOfScores)};
  }
  if (verdict.source.has_value() && verdict.source->last_layer > 0) {
    const ErrorSource& source = *verdict.source;
    return {source.first_layer, source.last_layer,
            absl::c_any_of(source.ops, IsOfScores)};
  }
  return {1, num_layers, true};
}

std::vector<size_t> Sorted(const std::set<size_t>& values) {
  return {values.begin(), values.end()};
}

// Of each layer the channel with the largest one, if it makes most of what
// k_proj gives at most.
void AddKeyBiases(const Weights& weights, const Phenomena& phenomena,
                  const Scope& scope, std::vector<Mechanism>& found) {
  const size_t head_dim = static_cast<size_t>(weights.config.head_dim);
  for (const Headroom& headroom : phenomena.headrooms) {
    if (headroom.op != Op::kKProj || !scope.Holds(headroom.layer)) continue;
    const std::vector<double>& bias = weights.layers[headroom.layer - 1].k_bias;
    if (bias.empty()) continue;
    const auto largest = absl::c_max_element(
        bias, [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    // Small ones make most of small keys, whose scores are small.
    if (!(std::fabs(*largest) >=
          kMostOfKey * std::fabs(headroom.range.largest))) {
      continue;
    }
    const size_t channel = static_cast<size_t>(largest - bias.begin());
    Mechanism m;
    m.kind = MechanismKind::kKeyBias;
    m.first_layer = m.last_layer = headroom.layer;
    m.heads = {channel / head_dim};
    m.channels = {channel};
    m.value = *largest;
    m.ratio = std::fabs(*largest) / std::fabs(headroom.range.largest);
    found.push_back(std::move(m));
  }
}

// Of each layer, with its heads; `value` is the largest one's.
void AddLargeScores(const Phenomena& phenomena, const Scope& scope,
                    std::vector<Mechanism>& found) {
  std::map<size_t, Mechanism> by_layer;
  std::map<size_t, std::set<size_t>> positions;
  for (const LargeScore& score : phenomena.large_scores) {
    const std::optional<double> factor = score.rounding_factor();
    if (!scope.Holds(score.layer) || !factor.has_value() ||
        *factor < kWrongWeight) {
      continue;
    }
    Mechanism& m = by_layer[score.layer];
    m.kind = MechanismKind::kLargeScores;
    m.first_layer = m.last_layer = score.layer;
    m.heads.push_back(score.head);
    positions[score.layer].insert(score.position);
    if (std::fabs(score.score) > std::fabs(m.value)) {
      m.value = score.score;
      m.ratio = *factor;
    }
  }
  for (auto& [layer, m] : by_layer) {
    m.positions = Sorted(positions[layer]);
    found.push_back(std::move(m));
  }
}

// Weights of a layer that went elsewhere; of heads with a sink that they left,
// these by themselves.
void AddMovedWeights(const Phenomena& phenomena, const Scope& scope,
                     std::vector<Mechanism>& found) {
  std::map<std::pair<size_t, size_t>, AttentionSink> sinks;
  for (const AttentionSink& sink : phenomena.sinks) {
    sinks[{sink.layer, sink.head}] = sink;
  }
  std::map<std::pair<MechanismKind, size_t>, Mechanism> by_layer;
  std::map<std::pair<MechanismKind, size_t>, std::set<size_t>> positions;
  for (const MovedWeight& moved : phenomena.moved_weights) {
    const double by = moved.plan - moved.reference;
    if (!scope.Holds(moved.layer) || !(std::fabs(by) >= kWentElsewhere)) {
      continue;
    }
    const auto sink = sinks.find({moved.layer, moved.head});
    const bool leaves = sink != sinks.end() && by < 0 &&
                        sink->second.key_position == moved.key_position;
    const std::pair<MechanismKind, size_t> key = {
        leaves ? MechanismKind::kSink : MechanismKind::kMovedWeights,
        moved.layer};
    Mechanism& m = by_layer[key];
    m.kind = key.first;
    m.first_layer = m.last_layer = moved.layer;
    m.heads.push_back(moved.head);
    positions[key].insert(moved.position);
    if (std::fabs(by) > std::fabs(m.value)) {
      m.value = by;
      m.ratio = leaves ? sink->second.mean_weight : moved.reference;
    }
  }
  for (auto& [key, m] : by_layer) {
    m.positions = Sorted(positions[key]);
    found.push_back(std::move(m));
  }
}

// Of one channel and birth, with all of its positions.
void AddFlips(const Phenomena& phenomena, std::vector<Mechanism>& found) {
  std::map<std::tuple<size_t, size_t, bool>, size_t> known;
  for (const FlippedActivation& flip : phenomena.flips) {
    const auto [at, is_new] = known.try_emplace(
        {flip.born, flip.channel, flip.in_plan}, found.size());
    if (is_new) {
      Mechanism m;
      m.kind = MechanismKind::kFlip;
      m.first_layer = m.last_layer = flip.born;
      m.channels = {flip.channel};
      // The largest comes first.
      m.value = flip.value;
      m.ratio = flip.other / flip.value;
      found.push_back(std::move(m));
    }
    std::vector<size_t>& positions = found[at->second].positions;
    if (!absl::c_linear_search(positions, flip.position)) {
      positions.push_back(flip.position);
      absl::c_sort(positions);
    }
  }
}

void AddNearTies(const Phenomena& phenomena, std::vector<Mechanism>& found) {
  Mechanism m;
  m.kind = MechanismKind::kNearTie;
  for (const NearTie& tie : phenomena.near_ties) {
    if (!tie.flips) continue;
    // The one that the error exceeds least says how near a tie it is.
    if (m.positions.empty() || tie.margin < m.value) {
      m.value = tie.margin;
      m.ratio = tie.margin == 0 ? 0 : tie.error / tie.margin;
    }
    m.positions.push_back(tie.position);
  }
  if (!m.positions.empty()) found.push_back(std::move(m));
}

}  // namespace

std::vector<Mechanism> FindMechanisms(const Weights& weights,
                                      const Verdict& verdict,
                                      const ErrorSets* sets,
                                      const Phenomena& phenomena) {
  std::vector<Mechanism> found;
  if (verdict.exact || verdict.is_itself || phenomena.positions == 0) {
    return found;
  }
  const Scope scope = ScopeOf(verdict, sets, weights.layers.size());
  if (scope.of_scores) {
    std::vector<Mechanism> scores;
    AddLargeScores(phenomena, scope, scores);
    // Biases matter by the scores that they make.
    if (!scores.empty()) AddKeyBiases(weights, phenomena, scope, found);
    for (Mechanism& m : scores) found.push_back(std::move(m));
    AddMovedWeights(phenomena, scope, found);
  }
  AddFlips(phenomena, found);
  AddNearTies(phenomena, found);
  return found;
}

}  // namespace ulpscope
