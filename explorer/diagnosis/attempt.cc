#include "explorer/diagnosis/attempt.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/diagnosis/arithmetic.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/causes.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/run_ratio.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

// Hypotheses that an unlikelier arithmetic may need to explain everything.
constexpr size_t kFewCauses = 2;

// Values that were computed in f32 and kept in 16 bits, but for one group of
// ops after the other that runs in 16 bits: that is the 16-bit arithmetic.
bool IsPatchwork(const Belief& belief) {
  return belief.stored_rounded &&
         absl::c_count_if(belief.accepted, [](const Hypothesis& hypothesis) {
           return !hypothesis.plan_entry.empty() && hypothesis.coarser;
         }) >= 2;
}

class Trying {
 public:
  Trying(const ReplaySetting& setting, WeightSets& weights, Attempt& attempt)
      : setting_(setting),
        weights_(weights),
        trace_(*attempt.aligned),
        attempt_(attempt) {}

  absl::Status Run() {
    auto found = FindArithmetic(setting_, weights_, trace_, {});
    if (!found.ok()) return found.status();
    attempt_.arithmetic = found->arithmetic;
    attempt_.closest = found->closest;
    std::vector<Belief> beliefs = {found->belief};
    beliefs.insert(beliefs.end(), found->alternatives.begin(),
                   found->alternatives.end());
    for (const Belief& belief : beliefs) {
      auto result = SearchHypotheses(setting_, weights_, trace_, belief);
      if (!result.ok()) return result.status();
      if (IsPatchwork(result->belief) && beliefs.size() > 1) continue;
      const bool first = attempt_.search.after.points.empty();
      const auto all = Take(*std::move(result), first);
      if (!all.ok()) return all.status();
      if (*all) break;
    }
    absl::Status status = DoWithout(beliefs);
    if (status.ok()) status = DoWithLogitsAlone(beliefs);
    if (!status.ok()) return status;
    return LookAgain();
  }

 private:
  // What explains everything without any cause, and comes nearer, is the better
  // explanation than an arithmetic with causes.
  absl::Status DoWithout(const std::vector<Belief>& beliefs) {
    for (const Belief& belief : beliefs) {
      if (attempt_.search.belief.accepted.empty()) break;
      if (belief.preset == attempt_.search.belief.preset) continue;
      const auto fit =
          Evaluate(setting_, weights_, trace_, belief, "without a cause");
      if (!fit.ok()) return fit.status();
      if (!IsExplained(*fit) ||
          !(fit->mean_log2 < attempt_.search.after.mean_log2)) {
        continue;
      }
      auto result = SearchHypotheses(setting_, weights_, trace_, belief);
      if (!result.ok()) return result.status();
      if (!result->belief.accepted.empty()) continue;
      const auto all = Take(*std::move(result), false);
      if (!all.ok()) return all.status();
    }
    return absl::OkStatus();
  }

  // Logits alone do not tell a mistake from an arithmetic that is not known, if
  // they are within what rounding in 16 bits explains: nothing is accused then.
  absl::Status DoWithLogitsAlone(const std::vector<Belief>& beliefs) {
    const bool logits_alone =
        absl::c_all_of(trace_.points(), [](const Point& point) {
          return point.op == Op::kLmHead || point.op == Op::kEmbed;
        });
    if (!logits_alone || IsExplained(attempt_.search.after)) {
      return absl::OkStatus();
    }
    for (const Belief& belief : beliefs) {
      const auto fit =
          Evaluate(setting_, weights_, trace_, belief, "of logits alone");
      if (!fit.ok()) return fit.status();
      if (!IsExplained(*fit)) continue;
      SearchResult result;
      result.belief = belief;
      result.before = result.after = *fit;
      result.tried = attempt_.search.tried;
      return Take(std::move(result), true).status();
    }
    return absl::OkStatus();
  }

  // Takes a result if it is the first, or explains everything with few causes.
  // Whether it explains everything.
  absl::StatusOr<bool> Take(SearchResult result, bool is_first) {
    const auto ratios =
        RunRatios(setting_, weights_, trace_, {WithoutMistakes(result.belief)});
    if (!ratios.ok()) return ratios.status();
    Attempt taken;
    taken.ratio = ratios->front();
    auto causes = ConfirmCauses(setting_, weights_, trace_,
                                taken.is_without_effect(), result);
    if (!causes.ok()) return causes.status();
    taken.causes = *std::move(causes);
    taken.search = std::move(result);
    const auto with =
        RunRatios(setting_, weights_, trace_, {taken.search.belief});
    if (!with.ok()) return with.status();
    taken.ratio_with_causes = with->front();
    const bool all = IsExplained(taken.search.after) && taken.agrees_with_run();
    if (is_first ||
        (all && taken.search.belief.accepted.size() <= kFewCauses)) {
      attempt_.search = std::move(taken.search);
      attempt_.causes = std::move(taken.causes);
      attempt_.ratio = taken.ratio;
      attempt_.ratio_with_causes = taken.ratio_with_causes;
    }
    return all;
  }

  // With what is of its arithmetic alone.
  static Belief WithoutMistakes(const Belief& belief) {
    Belief bare = ArithmeticOf(belief);
    for (const Hypothesis& hypothesis : belief.accepted) {
      if (hypothesis.kind != CauseKind::kImplementation) {
        bare = With(bare, {hypothesis});
      }
    }
    return bare;
  }

  // A cause may have hidden what the arithmetic is.
  absl::Status LookAgain() {
    const SearchResult& search = attempt_.search;
    if (search.belief.accepted.empty()) return absl::OkStatus();
    auto found =
        FindArithmetic(setting_, weights_, trace_, search.belief.accepted);
    if (!found.ok()) return found.status();
    if (found->belief.preset == search.belief.preset &&
        found->belief.stored_rounded == search.belief.stored_rounded) {
      return absl::OkStatus();
    }
    auto result = SearchHypotheses(setting_, weights_, trace_,
                                   ArithmeticOf(found->belief));
    if (!result.ok()) return result.status();
    if (IsPatchwork(result->belief)) return absl::OkStatus();
    const size_t now = search.after.explained;
    if (result->after.explained > now ||
        (result->after.explained == now &&
         result->belief.accepted.size() <= search.belief.accepted.size() &&
         result->after.mean_log2 < search.after.mean_log2)) {
      return Take(*std::move(result), true).status();
    }
    return absl::OkStatus();
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const AlignedTrace& trace_;
  Attempt& attempt_;
};

}  // namespace

bool Attempt::agrees_with_run() const {
  // Where all rounding points are known the bits say more.
  return !ratio_with_causes.has_value() || ratio_with_causes->plausible() ||
         search.after.bit_for_bit;
}

bool Attempt::is_without_effect() const {
  return ratio.has_value() && ratio->within_rounding();
}

absl::StatusOr<Attempt> TryReading(const ReplaySetting& setting,
                                   WeightSets& weights,
                                   const TracedValues& values,
                                   const Alignment::Reading& reading,
                                   StatesAre states_are) {
  Attempt attempt;
  attempt.reading = reading;
  attempt.aligned = std::make_unique<AlignedTrace>(
      values, weights.original().layers.size(), reading.state_shift,
      reading.last_state_normed, false, states_are);
  const absl::Status status = Trying(setting, weights, attempt).Run();
  if (!status.ok()) return status;
  return attempt;
}

bool IsExplained(const Fit& fit) { return fit.explained == fit.points.size(); }

bool IsBetter(const Attempt& a, const Attempt& b) {
  // The points are the same, but for their places.
  const size_t left_a = a.search.after.points.size() - a.search.after.explained;
  const size_t left_b = b.search.after.points.size() - b.search.after.explained;
  if (left_a != left_b) return left_a < left_b;
  return a.search.after.mean_log2 < b.search.after.mean_log2;
}

}  // namespace ulpscope
