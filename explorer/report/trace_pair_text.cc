#include "explorer/report/trace_pair_text.h"

#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/trace_pair.h"
#include "explorer/report/figures.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

std::string Plural(size_t n, absl::string_view noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

std::string Place(const PairPoint& point) {
  return IsPerLayer(point.op)
             ? absl::StrCat(OpName(point.op), " in layer ", point.layer)
             : std::string(OpName(point.op));
}

std::string Figure(const std::optional<double>& x) {
  return x.has_value() ? Number(*x) : "-";
}

std::string Headline(const TracePair& pair) {
  const PairOutcome outcome = OutcomeOf(pair);
  switch (outcome) {
    case PairOutcome::kNothingShared:
      return "Nothing can be compared: no output is in both traces.";
    case PairOutcome::kStopped:
      return "Nothing is known yet.";
    case PairOutcome::kSame:
      return absl::StrCat("The traces are the same: all bits of ",
                          Plural(pair.points.size(), "point"), " are equal.");
    case PairOutcome::kRounding: {
      const PairPoint& point = pair.points[*pair.first_different];
      return absl::StrCat(
          "The traces differ by rounding alone: whatever is added at any "
          "point, its trace's arithmetic explains. The first bits that differ "
          "are of ",
          Place(point), ".");
    }
    case PairOutcome::kDiffers:
      break;
  }
  const PairPoint& point = pair.points[*pair.first_added];
  const bool both = point.origin == PairOrigin::kAddedByBoth;
  const bool is_a = point.origin == PairOrigin::kAddedByA;
  return absl::StrCat(
      "The traces part at ", Place(point), ": ",
      both   ? "both compute"
      : is_a ? "A computes"
             : "B computes",
      " there what neither the values before it nor the rounding of ",
      both ? "their arithmetics" : "its arithmetic",
      " explains. Relative to A "
      "they are ",
      Figure(point.distance), " apart there; A adds ", Figure(point.added_a),
      ", B adds ", Figure(point.added_b), ", and ", Figure(point.inherited),
      " is inherited.");
}

// What becomes of the difference.
std::string AfterThat(const TracePair& pair) {
  size_t counts[static_cast<size_t>(PairOrigin::kNotJudged) + 1] = {};
  for (const PairPoint& point : pair.points) {
    ++counts[static_cast<size_t>(point.origin)];
  }
  const auto of = [&counts](PairOrigin origin) {
    return counts[static_cast<size_t>(origin)];
  };
  std::string text = absl::StrFormat(
      "Of %s that both traces have, %d are equal bit for bit, %d differ by "
      "rounding, %d inherit the difference; A adds one at %d, B at %d, both "
      "at %d",
      Plural(pair.points.size(), "point"), of(PairOrigin::kSame),
      of(PairOrigin::kRounding), of(PairOrigin::kInherited),
      of(PairOrigin::kAddedByA), of(PairOrigin::kAddedByB),
      of(PairOrigin::kAddedByBoth));
  if (of(PairOrigin::kNotJudged) > 0) {
    absl::StrAppend(&text, "; ", of(PairOrigin::kNotJudged),
                    " are not judged, behind values that are not finite");
  }
  text += ".";
  if (pair.only_in_a + pair.only_in_b > 0) {
    absl::StrAppend(&text, " Left out, as only one of the two has them: ",
                    pair.only_in_a, " of A, ", pair.only_in_b, " of B.");
  }
  return text;
}

std::string PlacesText(const PairDifference::Places& places,
                       absl::string_view noun) {
  if (places.differing == places.all) {
    return absl::StrCat("all ", Plural(places.all, noun));
  }
  return absl::StrCat(places.differing, " of ", Plural(places.all, noun), " (",
                      absl::StrJoin(places.first, ", "),
                      places.first.size() < places.differing ? ", ..." : "",
                      ")");
}

std::string HowTheyDiffer(const TracePair& pair) {
  const PairDifference& d = *pair.difference;
  const PairPoint& point = pair.points[d.point];
  std::string text = absl::StrCat(
      "At ", Place(point), " other bits are in ",
      PlacesText(d.positions, "position"),
      d.heads.all > 0 ? absl::StrCat(", ", PlacesText(d.heads, "head")) : "",
      " and ", PlacesText(d.channels, "channel"), "; most at position ",
      d.position, d.head ? absl::StrCat(", head ", *d.head) : "", ", channel ",
      d.channel, ": ", Number(d.value_a), " in A, ", Number(d.value_b),
      " in B.");
  if (d.cosine.has_value()) {
    absl::StrAppendFormat(
        &text, " Their cosine is %.6f, and %.6g times A comes nearest to B.",
        *d.cosine, *d.factor);
  }
  return text;
}

std::string NotFinite(const TracePair& pair) {
  const auto side = [&](absl::string_view name,
                        const std::optional<size_t>& first,
                        size_t PairPoint::*count) {
    if (!first.has_value()) return absl::StrCat(name, " is finite.");
    const PairPoint& point = pair.points[*first];
    return absl::StrCat(name, " is not finite from ", Place(point),
                        " on: ", point.*count, " of ",
                        Plural(point.elements, "value"), " there.");
  };
  return absl::StrCat(
      side("A", pair.first_nonfinite_a, &PairPoint::nonfinite_a), " ",
      side("B", pair.first_nonfinite_b, &PairPoint::nonfinite_b),
      " Distances are of what is finite in both.");
}

std::string Reading(absl::string_view name, const Alignment& alignment) {
  std::string text;
  if (alignment.state_shift != 0) {
    absl::StrAppendFormat(
        &text, " %s's hidden_states[n] is the stream after layer n %c %d.",
        name, alignment.state_shift > 0 ? '+' : '-',
        std::abs(alignment.state_shift));
  }
  if (!alignment.other_tokens.empty()) {
    absl::StrAppend(&text, " ", name,
                    "'s embedding is not that of the tokens at ",
                    Plural(alignment.other_tokens.size(), "position"),
                    ", first ", alignment.other_tokens.front().position, ".");
  }
  return text;
}

std::string ArithmeticText(const Arithmetic& arithmetic) {
  if (arithmetic.points_that_tell == 0) return "not known";
  return absl::StrCat("`", arithmetic.name, "`",
                      arithmetic.stored_rounded ? ", rounded when stored" : "");
}

std::string WhoIsNearer(const TracePair& pair) {
  size_t a = 0, b = 0, known = 0;
  for (const PairState& state : pair.states) {
    a += state.nearer() > 0;
    b += state.nearer() < 0;
    known += state.a_to_oracle.has_value() && state.b_to_oracle.has_value();
  }
  if (known == 0) {
    return "Nearer to the oracle: not known, as no state is finite in both "
           "traces and in the oracle's run.";
  }
  return absl::StrFormat(
      "Nearer to the oracle: %s. Of %s, A is nearer to the f64 oracle at %d, B "
      "at %d.",
      pair.nearer_to_oracle > 0   ? "A"
      : pair.nearer_to_oracle < 0 ? "B"
                                  : "neither is twice as near at most states",
      Plural(known, "state"), a, b);
}

}  // namespace

PairOutcome OutcomeOf(const TracePair& pair) {
  if (pair.points.empty()) {
    return pair.stopped_in.empty() ? PairOutcome::kNothingShared
                                   : PairOutcome::kStopped;
  }
  if (pair.first_added.has_value()) return PairOutcome::kDiffers;
  return pair.first_different.has_value() ? PairOutcome::kRounding
                                          : PairOutcome::kSame;
}

absl::string_view OutcomeName(PairOutcome outcome) {
  constexpr absl::string_view kNames[] = {"nothing_shared", "stopped", "same",
                                          "rounding", "differs"};
  return kNames[static_cast<size_t>(outcome)];
}

absl::string_view PairOriginName(PairOrigin origin) {
  constexpr absl::string_view kNames[] = {
      "same",       "rounding",      "inherited", "added_by_a",
      "added_by_b", "added_by_both", "not_judged"};
  return kNames[static_cast<size_t>(origin)];
}

std::vector<std::string> Sentences(const TracePair& pair) {
  std::vector<std::string> sentences = {Headline(pair)};
  if (pair.points.empty()) return sentences;
  sentences.push_back(AfterThat(pair));
  if (pair.difference.has_value()) sentences.push_back(HowTheyDiffer(pair));
  if (pair.first_nonfinite_a || pair.first_nonfinite_b) {
    sentences.push_back(NotFinite(pair));
  }
  sentences.push_back(absl::StrCat(
      "Arithmetics: A ", ArithmeticText(pair.arithmetic_a), ", B ",
      ArithmeticText(pair.arithmetic_b), ".", Reading("A", pair.alignment_a),
      Reading("B", pair.alignment_b)));
  sentences.push_back(WhoIsNearer(pair));
  return sentences;
}

}  // namespace ulpscope
