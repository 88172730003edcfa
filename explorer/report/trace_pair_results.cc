#include "explorer/report/trace_pair_results.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/trace_pair.h"
#include "explorer/report/diagnosis_text.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/report/run_info.h"
#include "explorer/report/trace_pair_text.h"
#include "explorer/report/verdict_tables.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

constexpr Unit kNone = Unit::kNone;
constexpr Unit kRelative = Unit::kRelative;

// Points that are listed; of more, those before and behind what is added.
constexpr size_t kMostPoints = 60;

std::optional<std::string> NearerName(int nearer) {
  if (nearer == 0) return std::nullopt;
  return nearer > 0 ? "a" : "b";
}

Fields<TracePair> PairFields() {
  using P = TracePair;
  Fields<P> fields = {
      {"outcome", "", kNone,
       "\"differs\" (one of the two adds more than its arithmetic explains), "
       "\"rounding\", \"same\" (bit for bit), \"nothing_shared\" or "
       "\"stopped\".",
       [](const P& p) { return OutcomeName(OutcomeOf(p)); }},
      {"first_different", "", kNone,
       "Index of the first point whose bits differ.", &P::first_different},
      {"first_added", "", kNone,
       "Index of the first at which one adds more than its arithmetic "
       "explains.",
       &P::first_added},
      {"added_by", "", kNone,
       "There: \"a\" (the reference), \"b\" or \"both\".",
       [](const P& p) -> std::optional<std::string> {
         if (!p.first_added) return std::nullopt;
         const PairOrigin origin = p.points[*p.first_added].origin;
         return origin == PairOrigin::kAddedByA   ? "a"
                : origin == PairOrigin::kAddedByB ? "b"
                                                  : "both";
       }},
      {"nearer_to_oracle", "", kNone,
       "\"a\" or \"b\", if it is at most half as far away at most states; null "
       "if neither is.",
       [](const P& p) { return NearerName(p.nearer_to_oracle); }},
      {"first_not_finite_a", "", kNone,
       "Index of the first point at which A is not finite.",
       &P::first_nonfinite_a},
      {"first_not_finite_b", "", kNone, "The same of B.",
       &P::first_nonfinite_b},
      {"only_in_a", "", kNone, "Points of A that B lacks: not compared.",
       &P::only_in_a},
      {"only_in_b", "", kNone, "The same of B.", &P::only_in_b}};
  struct Side {
    const char* name;
    Alignment P::*alignment;
    Arithmetic P::*arithmetic;
  };
  for (const Side side : {Side{"a", &P::alignment_a, &P::arithmetic_a},
                          Side{"b", &P::alignment_b, &P::arithmetic_b}}) {
    const auto name = [&side](const char* what) {
      return absl::StrCat(what, "_", side.name);
    };
    fields.emplace_back(
        name("arithmetic"), "", kNone, "The preset that it was computed in.",
        [of = side.arithmetic](const P& p) { return (p.*of).name; });
    fields.emplace_back(
        name("stored_rounded"), "", kNone,
        "Whether its values were rounded when they were stored.",
        [of = side.arithmetic](const P& p) { return (p.*of).stored_rounded; });
    fields.emplace_back(
        name("points_that_tell"), "", kNone,
        "Points that tell what it is; if there are none it is not known.",
        [of = side.arithmetic](const P& p) {
          return (p.*of).points_that_tell;
        });
    fields.emplace_back(
        name("state_shift"), "", kNone,
        "Its hidden_states[n] is the stream after layer n + this.",
        [of = side.alignment](const P& p) { return (p.*of).state_shift; });
    fields.emplace_back(name("last_state_is_normed"), "", kNone,
                        "Whether its last state is after the final norm.",
                        [of = side.alignment](const P& p) {
                          return (p.*of).last_state_normed;
                        });
    fields.emplace_back(name("other_tokens"), "", kNone,
                        "Positions whose embedding is not the token's.",
                        [of = side.alignment](const P& p) {
                          return (p.*of).other_tokens.size();
                        });
  }
  return fields;
}

Fields<PairPoint> PointFields() {
  using P = PairPoint;
  return {
      {"layer", "Layer", kNone, "0 for ops in no layer.", &P::layer},
      {"op", "Op", kNone, "Whose output it is.",
       [](const P& p) { return OpName(p.op); }},
      {"name_a", "", kNone, "The tensor's in A.",
       [](const P& p) { return Printable(p.name_a); }},
      {"name_b", "", kNone, "The tensor's in B.",
       [](const P& p) { return Printable(p.name_b); }},
      {"stored_a", "A", kNone, "The tensor's type in A.", &P::stored_a},
      {"stored_b", "B", kNone, "The same in B.", &P::stored_b},
      {"elements", "", kNone, "That both have.", &P::elements},
      {"identical", "Same bits", Unit::kShare, "Elements with the same bits.",
       [](const P& p) -> std::optional<double> {
         if (p.elements == 0) return std::nullopt;
         return static_cast<double>(p.identical) /
                static_cast<double>(p.elements);
       }},
      {"not_finite_a", "", kNone, "Elements that are infinite or NaN in A.",
       &P::nonfinite_a},
      {"not_finite_b", "", kNone, "The same in B.", &P::nonfinite_b},
      {"not_finite_differ", "Not finite", kNone,
       "Of these, elements that are not the same in both.",
       &P::nonfinite_differ},
      {"compared", "", kNone,
       "Elements that distances are over: finite in both and in the oracle's "
       "replays.",
       &P::compared},
      {"distance", "Distance", kRelative,
       "|A - B|, by A's norm, as all of these.", &P::distance},
      {"inherited", "Inherited", kRelative,
       "Of it what is in the values before: the distance of the oracle's "
       "replays from both.",
       &P::inherited},
      {"added_a", "A adds", kRelative,
       "A's distance from the oracle's replay from its own values.",
       &P::added_a},
      {"added_b", "B adds", kRelative, "The same of B.", &P::added_b},
      {"excess_a", "A / allowed", Unit::kRatio,
       "A's distance from a replay under its arithmetic, by what that "
       "explains.",
       &P::excess_a},
      {"excess_b", "B / allowed", Unit::kRatio, "The same of B.", &P::excess_b},
      {"origin", "Origin", kNone,
       "\"same\", \"rounding\", \"inherited\", \"added_by_a\", "
       "\"added_by_b\", \"added_by_both\" or \"not_judged\" (not finite, "
       "behind others).",
       [](const P& p) { return PairOriginName(p.origin); }}};
}

Fields<PairState> StateFields() {
  using S = PairState;
  return {
      {"layer", "After layer", kNone, "0 is the embedding.", &S::layer},
      {"normed", "Final norm", kNone, "Whether it is after the final norm.",
       &S::normed},
      {"compared", "", kNone,
       "Elements that are finite in both and in the oracle.", &S::compared},
      {"elements", "", kNone, "That both have.", &S::elements},
      {"a_to_oracle", "A to oracle", kRelative,
       "L2 distance from the oracle's run, by that one's norm.",
       &S::a_to_oracle},
      {"b_to_oracle", "B to oracle", kRelative, "The same.", &S::b_to_oracle},
      {"a_to_b", "A to B", kRelative, "The same.", &S::a_to_b},
      {"nearer", "Nearer", kNone, "\"a\", \"b\" or null.",
       [](const S& s) { return NearerName(s.nearer()); }}};
}

Fields<PairDifference> DifferenceFields() {
  using D = PairDifference;
  Fields<D> fields = {
      {"point", "", kNone,
       "Index of the point: first_added, or else "
       "first_different.",
       &D::point},
      {"cosine", "", Unit::kRatio, "Of A and B.", &D::cosine},
      {"factor", "", Unit::kRatio, "That A times it is nearest to B.",
       &D::factor},
      {"largest_position", "", kNone, "Where the difference is largest.",
       &D::position},
      {"largest_head", "", kNone, "The same; null where there are no heads.",
       &D::head},
      {"largest_channel", "", kNone, "The same; of scores the key's position.",
       &D::channel},
      {"value_a", "", Unit::kActivation, "A there.", &D::value_a},
      {"value_b", "", Unit::kActivation, "B there.", &D::value_b}};
  using Places = PairDifference::Places;
  struct Kind {
    const char* prefix;
    Places D::*of;
  };
  const Fields<Places> places = {
      {"differing", "", kNone, "With other bits.", &Places::differing},
      {"all", "", kNone, "That there are.", &Places::all},
      {"first", "", kNone, "The first of those that differ.", &Places::first}};
  for (const Kind kind :
       {Kind{"positions_", &D::positions}, Kind{"heads_", &D::heads},
        Kind{"channels_", &D::channels}}) {
    AppendPart(fields, kind.prefix, places, false,
               [of = kind.of](const D& d) { return &(d.*of); });
  }
  return fields;
}

// A tensor that could not be used, and whose it is.
struct Unused {
  std::string whose;
  const ReferenceTrace::NotMeasured* entry;
};

std::vector<Unused> UnusedOf(const TracePair& pair) {
  std::vector<Unused> unused;
  for (const auto& entry : pair.not_measured_a) unused.push_back({"a", &entry});
  for (const auto& entry : pair.not_measured_b) unused.push_back({"b", &entry});
  return unused;
}

}  // namespace

Results TracePairResults(const RunInfo& info, const TracePair& pair) {
  Table context = ContextTable(info, pair.stopped_in);
  AddValue(context, "reference", kNone, "The path of A.", pair.path_a);
  AddValue(context, "against_trace", kNone, "The path of B.", pair.path_b);
  AddValue(context, "tokens", kNone, "That were run.", pair.tokens);
  AddValue(context, "samples", kNone, "Positions that errors are over.",
           pair.tokens.size());
  return {
      "trace_pair",
      {std::move(context), SentencesTable(Sentences(pair)),
       MakeSingle("pair", "What the comparison comes to.", PairFields(), &pair),
       MakeSingle("pair_difference",
                  "How the traces differ where the difference begins.",
                  DifferenceFields(),
                  pair.difference.has_value() ? &*pair.difference : nullptr),
       MakeTable("pair_points", "Outputs that both traces have, as they run.",
                 PointFields(), pair.points),
       MakeTable("pair_states", "Who is nearer to the oracle, state by state.",
                 StateFields(), pair.states),
       MakeTable(
           "not_measured", "Tensors that could not be used.",
           Fields<Unused>{
               {"whose", "Trace", kNone, "\"a\" or \"b\".", &Unused::whose},
               {"name", "Tensor", kNone, "Its name.",
                [](const Unused& u) { return Printable(u.entry->name); }},
               {"reason", "Why", kNone, "Why it was not.",
                [](const Unused& u) { return Printable(u.entry->reason); }}},
           UnusedOf(pair))}};
}

std::string TracePairReport(const RunInfo& info, const TracePair& pair,
                            const Results& results) {
  std::string text =
      ReportHead("Two traces", info,
                 absl::StrFormat(". A is `%s`, B is `%s`, on %s.", pair.path_a,
                                 pair.path_b, TokensText(pair.tokens)),
                 pair.stopped_in);
  absl::StrAppend(&text, "\n## Verdict\n\n");
  for (const std::string& sentence : Sentences(pair)) {
    absl::StrAppend(&text, "- ", sentence, "\n");
  }
  const auto section = [&](absl::string_view title, absl::string_view about,
                           const Table& table,
                           const std::vector<std::string>& columns) {
    if (table.rows.empty()) return;
    absl::StrAppend(
        &text, "\n## ", title, "\n\n", about, "\n\n",
        Markdown(table, columns, [&](const std::vector<Value>& row) {
          if (!table.Has("layer")) return true;
          const auto n =
              static_cast<size_t>(std::get<int64_t>(row[table.Find("layer")]));
          return n == 0 || info.IsShown(n);
        }));
  };
  // Around where the difference begins.
  Table points = results.Find("pair_points");
  const size_t count = points.rows.size();
  if (count > kMostPoints) {
    const size_t begin =
        pair.difference.has_value() ? pair.difference->point : 0;
    const size_t first =
        std::min(begin - std::min(begin, kMostPoints / 4), count - kMostPoints);
    const auto at = points.rows.begin() + static_cast<ptrdiff_t>(first);
    points.rows = std::vector<std::vector<Value>>(
        at, at + static_cast<ptrdiff_t>(kMostPoints));
  }
  section(
      "Points",
      absl::StrCat(
          "Relative to A's norm: how far the traces are apart; what of it "
          "is in the values before (the oracle's replays of the op from "
          "either's own values, against each other); and what each adds "
          "(against that replay). A / allowed and B / allowed: by what its "
          "arithmetic explains.",
          count > kMostPoints
              ? absl::StrCat(" Of ", count, " points these are ", kMostPoints,
                             " around the one where the difference begins; "
                             "results.json has all.")
              : ""),
      points,
      {"layer", "op", "identical", "not_finite_differ", "distance", "inherited",
       "added_a", "added_b", "excess_a", "excess_b", "origin"});
  section(
      "Who is nearer to the oracle",
      "L2 distances from the oracle's run from the tokens on, by its norm, "
      "over what is finite in both traces.",
      results.Find("pair_states"),
      {"layer", "normed", "a_to_oracle", "b_to_oracle", "a_to_b", "nearer"});
  section("Not measured", "Tensors that could not be used.",
          results.Find("not_measured"), {"whose", "name", "reason"});
  return text + ReportTail(info);
}

}  // namespace ulpscope
