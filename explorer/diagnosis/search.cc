#include "explorer/diagnosis/search.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/chance.h"
#include "explorer/diagnosis/evidence.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/tryable.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/rounded_tensors.h"

namespace ulpscope {
namespace {

// Changes of a point's distance by less than this are noise.
constexpr double kBitsMatter = 0.5;
// But where two mistakes meet in one point, mending the smaller one hardly
// brings it nearer.
constexpr double kAnyBits = 0x1p-6;

// Causes that are looked for one after the other.
constexpr size_t kMostCauses = 4;
// Singles, or pairs, that are looked at closely.
constexpr size_t kMostVerified = 6;
// Singles of which all pairs are tried; the first few of them also with all
// others.
constexpr size_t kMostPaired = 16;
constexpr size_t kPairedWithAll = 3;

// One or two hypotheses on top of a belief.
struct Guess {
  std::vector<Hypothesis> hypotheses;
  Belief belief;
  Tried tried;
  std::vector<double> log2;  // [point], Log2Distance
  double all_bits = 0;       // Tried::bits with all changes
};

std::string IdOf(const std::vector<Hypothesis>& hypotheses) {
  std::string id;
  for (const Hypothesis& hypothesis : hypotheses) {
    absl::StrAppend(&id, id.empty() ? "" : "+", hypothesis.id);
  }
  return id;
}

// Whether rounding points that are elsewhere are the better explanation.
bool HitsRows(const Tried& tried) {
  return HitsMoreThanChance(tried.rows_hit, tried.rows_moved);
}

class Search {
 public:
  Search(const ReplaySetting& setting, WeightSets& weights,
         const AlignedTrace& trace)
      : setting_(setting), weights_(weights), trace_(trace) {}

  absl::StatusOr<SearchResult> Run(const Belief& belief) {
    auto before = Evaluate(setting_, weights_, trace_, belief, "replay");
    if (!before.ok()) return before.status();
    result_.belief = belief;
    result_.before = *before;
    result_.after = *std::move(before);
    for (size_t i = 0; i < kMostCauses; ++i) {
      const auto found = AcceptSingle(i == 0);
      if (!found.ok()) return found.status();
      if (!*found) break;
    }
    if (Unexplained(result_.after) > 0 || NotReproduced(result_.after) > 0) {
      const absl::Status status = AcceptPair();
      if (!status.ok()) return status;
    }
    const absl::Status status = DropNeedless(belief);
    if (!status.ok()) return status;
    return std::move(result_);
  }

 private:
  static size_t NotReproduced(const Fit& fit) {
    return fit.bit_for_bit ? fit.points.size() - fit.reproduced : 0;
  }

  size_t Unexplained(const Fit& fit) const {
    return fit.points.size() - fit.explained;
  }

  // Replays all guesses, those on the same weights together, and judges them
  // against the fit of the belief that they add to.
  absl::Status Measure(const Belief& base, const Fit& fit,
                       std::vector<Guess>& guesses, absl::string_view task) {
    const Plan oracle = Plan::Oracle(weights_.original().layers.size());
    Variant exact = base.variant();
    exact.rope_angles_f32 = false;
    std::vector<std::optional<WeightRounding>> roundings;
    for (const Guess& guess : guesses) {
      const auto rounding = guess.belief.weights();
      if (!absl::c_linear_search(roundings, rounding)) {
        roundings.push_back(rounding);
      }
    }
    for (const auto& rounding : roundings) {
      const auto set = weights_.Get(rounding);
      std::vector<Candidate> candidates = {
          {oracle, exact, &trace_},
          {base.plan, base.variant(), &trace_, base.stored_rounded}};
      std::vector<Guess*> measured;
      for (Guess& guess : guesses) {
        if (guess.belief.weights() != rounding) continue;
        if (!set.ok()) {
          guess.tried.not_tried = std::string(set.status().message());
          continue;
        }
        measured.push_back(&guess);
        candidates.push_back({guess.belief.plan, guess.belief.variant(),
                              &trace_, guess.belief.stored_rounded});
      }
      if (measured.empty()) {
        if (absl::IsResourceExhausted(set.status())) continue;
        return set.status();
      }
      const auto residuals =
          MeasureCandidates(setting_, **set, trace_, candidates, task);
      if (!residuals.ok()) return residuals.status();
      for (size_t g = 0; g < measured.size(); ++g) {
        Judge(fit, (*residuals)[2 + g], *measured[g]);
        // On other weights the belief without the guess is another one.
        if (rounding != base.weights()) {
          measured[g]->tried.rows_moved = measured[g]->tried.rows_hit = 0;
        }
      }
    }
    return absl::OkStatus();
  }

  void Judge(const Fit& fit, const std::vector<Residual>& residuals,
             Guess& guess) const {
    Tried& tried = guess.tried;
    for (size_t i = 0; i < residuals.size(); ++i) {
      const Residual& r = residuals[i];
      const bool explained = IsWithin(r, fit.points[i]);
      if (!explained && fit.points[i].explained) ++tried.spoiled;
      guess.log2.push_back(Log2Distance(trace_, i, r));
      const double bits =
          Log2Distance(trace_, i, fit.residuals[i]) - guess.log2.back();
      if (explained && !fit.points[i].explained && bits >= kBitsMatter) {
        ++tried.explained;
      }
      if (std::fabs(bits) >= kBitsMatter) tried.bits += bits;
      guess.all_bits += bits;
      // Only where both are explained: a mistake that is nearer is one still.
      if (explained && fit.points[i].explained && fit.points[i].judged) {
        tried.rows_moved += r.rows_moved;
        tried.rows_hit += r.rows_hit;
      }
    }
  }

  static void SortBest(std::vector<Guess>& guesses) {
    absl::c_stable_sort(guesses, [](const Guess& a, const Guess& b) {
      if (a.tried.not_tried.empty() != b.tried.not_tried.empty()) {
        return a.tried.not_tried.empty();
      }
      return a.tried.bits > b.tried.bits;
    });
  }

  // Whether the belief with the guess, seen closely, is better.
  absl::StatusOr<bool> Accept(const Guess& guess) {
    auto fit = Evaluate(setting_, weights_, trace_, guess.belief,
                        "verifying a hypothesis");
    if (!fit.ok()) return fit.status();
    size_t better = 0, spoiled = 0;
    bool leaves_moved = false;
    for (size_t i = 0; i < fit->points.size(); ++i) {
      const PointFit& before = result_.after.points[i];
      const PointFit& after = fit->points[i];
      const double bits = Log2Distance(trace_, i, result_.after.residuals[i]) -
                          Log2Distance(trace_, i, fit->residuals[i]);
      // By what was allowed before: a coarser arithmetic allows for more
      // everywhere, which explains nothing.
      if (before.explained &&
          (!after.explained || !IsWithin(fit->residuals[i], before))) {
        ++spoiled;
      }
      if (before.reproduced && !after.reproduced) ++spoiled;
      if (result_.after.bit_for_bit && !after.reproduced && bits != 0) {
        leaves_moved = true;
      }
      if (!before.explained && after.explained && bits >= kBitsMatter) {
        ++better;
      }
      if (result_.after.bit_for_bit && !before.reproduced && after.reproduced &&
          after.explained) {
        ++better;
      }
    }
    if (spoiled > 0) return false;
    // Where rounding points are known, the right ones give all bits.
    if (better == 0 && (leaves_moved || !HitsRows(guess.tried))) return false;
    result_.belief = guess.belief;
    result_.after = *std::move(fit);
    return true;
  }

  // Others that come as near at every point.
  void NoteSame(const Guess& accepted, const std::vector<Guess>& guesses) {
    for (const Guess& other : guesses) {
      if (&other == &accepted || other.log2.size() != accepted.log2.size()) {
        continue;
      }
      bool same = true;
      for (size_t i = 0; i < other.log2.size() && same; ++i) {
        same = std::fabs(other.log2[i] - accepted.log2[i]) < 0x1p-20;
      }
      if (same) result_.same_as[accepted.tried.id].push_back(other.tried.id);
    }
  }

  absl::StatusOr<bool> AcceptSingle(bool first) {
    std::vector<Tried> not_tried;
    std::vector<Guess> guesses;
    const bool differs =
        Unexplained(result_.after) > 0 || NotReproduced(result_.after) > 0;
    const auto set = weights_.Get(result_.belief.weights());
    if (!set.ok()) return set.status();
    const auto evidence =
        EvidenceOf(setting_, **set, trace_, result_.belief, result_.after);
    if (!evidence.ok()) return evidence.status();
    for (Hypothesis& h : Tryable(weights_.original(), trace_, result_.belief,
                                 result_.after, *evidence)) {
      // Other weights take another load of them.
      if (h.weights.has_value() && !differs) {
        Tried tried;
        tried.id = h.id;
        tried.not_tried = "nothing is left to explain";
        not_tried.push_back(tried);
        continue;
      }
      guesses.push_back(GuessOf({std::move(h)}, result_.belief));
    }
    const absl::Status status =
        Measure(result_.belief, result_.after, guesses, "hypotheses");
    if (!status.ok()) return status;
    SortBest(guesses);
    if (first) {
      for (const Guess& guess : guesses) result_.tried.push_back(guess.tried);
      result_.tried.insert(result_.tried.end(), not_tried.begin(),
                           not_tried.end());
    }
    size_t verified = 0;
    for (const Guess& guess : guesses) {
      const Tried& tried = guess.tried;
      if (!tried.not_tried.empty()) break;
      if (tried.bits < kBitsMatter && !HitsRows(guess.tried)) continue;
      if (++verified > kMostVerified) break;
      const auto accepted = Accept(guess);
      if (!accepted.ok()) return accepted.status();
      if (!*accepted) continue;
      NoteSame(guess, guesses);
      singles_ = std::move(guesses);
      return true;
    }
    singles_ = std::move(guesses);
    return false;
  }

  static Guess GuessOf(std::vector<Hypothesis> hypotheses, const Belief& base) {
    Guess guess;
    guess.belief = With(base, hypotheses);
    guess.tried.id = IdOf(hypotheses);
    guess.hypotheses = std::move(hypotheses);
    return guess;
  }

  // Two at once, where neither explains a point alone.
  absl::Status AcceptPair() {
    absl::c_stable_sort(singles_, [](const Guess& a, const Guess& b) {
      return a.all_bits > b.all_bits;
    });
    std::vector<Guess> pairs;
    for (size_t i = 0; i < std::min(kMostPaired, singles_.size()); ++i) {
      if (singles_[i].all_bits < kAnyBits) break;
      const size_t others = i < kPairedWithAll ? singles_.size() : kMostPaired;
      for (size_t j = i + 1; j < std::min(others, singles_.size()); ++j) {
        const Hypothesis& a = singles_[i].hypotheses.front();
        const Hypothesis& b = singles_[j].hypotheses.front();
        if (a.weights.has_value() && b.weights.has_value()) continue;
        pairs.push_back(GuessOf({a, b}, result_.belief));
      }
    }
    if (pairs.empty()) return absl::OkStatus();
    const absl::Status status =
        Measure(result_.belief, result_.after, pairs, "pairs");
    if (!status.ok()) return status;
    SortBest(pairs);
    size_t verified = 0;
    for (const Guess& pair : pairs) {
      if (pair.tried.bits < kBitsMatter || !pair.tried.not_tried.empty()) {
        continue;
      }
      if (++verified > kMostVerified) break;
      const auto accepted = Accept(pair);
      if (!accepted.ok()) return accepted.status();
      if (*accepted) return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  // Those without which everything that is explained still is.
  absl::Status DropNeedless(const Belief& base) {
    for (size_t i = 0; result_.belief.accepted.size() > 1 &&
                       i < result_.belief.accepted.size();) {
      std::vector<Hypothesis> rest = result_.belief.accepted;
      rest.erase(rest.begin() + static_cast<ptrdiff_t>(i));
      const Belief belief = With(base, rest);
      auto fit =
          Evaluate(setting_, weights_, trace_, belief, "verifying without one");
      if (!fit.ok()) return fit.status();
      bool needless = fit->mean_log2 <= result_.after.mean_log2;
      for (size_t p = 0; p < fit->points.size(); ++p) {
        if (result_.after.points[p].explained && !fit->points[p].explained) {
          needless = false;
        }
        if (result_.after.points[p].reproduced && !fit->points[p].reproduced) {
          needless = false;
        }
      }
      if (!needless) {
        ++i;
        continue;
      }
      result_.belief = belief;
      result_.after = *std::move(fit);
    }
    return absl::OkStatus();
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const AlignedTrace& trace_;
  SearchResult result_;
  std::vector<Guess> singles_;  // of the last round, the best first
};

}  // namespace

absl::StatusOr<SearchResult> SearchHypotheses(const ReplaySetting& setting,
                                              WeightSets& weights,
                                              const AlignedTrace& trace,
                                              const Belief& belief) {
  return Search(setting, weights, trace).Run(belief);
}

}  // namespace ulpscope
