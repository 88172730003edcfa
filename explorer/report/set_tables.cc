#include "explorer/report/set_tables.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/verdict.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Unit kNo = Unit::kNone;

std::vector<std::string> Names(const std::vector<Op>& ops) {
  std::vector<std::string> names;
  for (const Op op : ops) names.emplace_back(OpName(op));
  return names;
}

using Named = std::pair<std::string, const ErrorSet*>;

// "`k_proj@1-2=f32` (2 cells) takes the error from 0.4 to 0.1 ...".
std::string Takes(const Verdict& v, const ErrorSet& set) {
  std::string text = absl::StrFormat(
      "`%s` (%d cells) takes it from %.3g to %.3g",
      absl::StrJoin(set.entries, ","), set.cells, *v.rel_l2, set.rel_l2);
  if (set.kl.has_value() && v.kl.has_value()) {
    absl::StrAppendFormat(&text, ", and the KL from %.3g to %.3g nats", *v.kl,
                          *set.kl);
  }
  if (set.alone_rel_l2.has_value()) {
    absl::StrAppendFormat(
        &text, "; these cells alone under the plan make an error of %.3g",
        *set.alone_rel_l2);
  }
  return text;
}

}  // namespace

std::vector<Table> SetTables(const ErrorSets* sets) {
  const ErrorSets none;
  const ErrorSets& s = sets != nullptr ? *sets : none;
  std::vector<Named> named;
  if (s.whole.has_value()) named.emplace_back("whole", &*s.whole);
  for (size_t i = 0; i < s.halving.size(); ++i) {
    named.emplace_back(i == 0 ? "smallest" : absl::StrCat("alternative ", i),
                       &s.halving[i]);
  }
  using S = ErrorSets;
  using G = GroupEffect;
  using N = Named;
  const auto figure = [](std::optional<double> ErrorSet::*of) {
    return [of](const N& n) { return n.second->*of; };
  };
  return {
      MakeSingle(
          "set_search", "The search for sets of cells that halve the error.",
          Fields<S>{
              {"saturated", "", kNo,
               "Whether no repair of one cell, or of one op or kernel in "
               "all layers, halves the error.",
               &S::saturated},
              {"halved", "", kNo, "Whether a set that does was found.",
               [](const S& x) { return !x.halving.empty(); }},
              {"set_search_stopped_in", "", kNo,
               "What was not finished; empty if all was.", &S::stopped_in}},
          sets),
      MakeTable(
          "sets",
          "Sets of cells whose upgrade halves the error: the smallest of each "
          "group; and the range beyond which the first one's group gains next "
          "to nothing.",
          Fields<N>{
              {"set", "Set", kNo, "\"whole\", \"smallest\", \"alternative N\".",
               [](const N& n) { return n.first; }},
              {"group", "Of", kNo, "The group of ops that it is a part of.",
               [](const N& n) { return n.second->group; }},
              {"ops", "Ops", kNo, "As they run.",
               [](const N& n) { return Names(n.second->ops); }},
              {"first_layer", "From layer", kNo, "0: in no layer.",
               [](const N& n) { return n.second->first_layer; }},
              {"last_layer", "To", kNo, "0: in no layer.",
               [](const N& n) { return n.second->last_layer; }},
              {"cells", "Cells", kNo, "How many.",
               [](const N& n) { return n.second->cells; }},
              {"rel_l2", "Rel L2", Unit::kRelative,
               "Of the final hidden state, with the set upgraded.",
               [](const N& n) { return n.second->rel_l2; }},
              {"kl_nats", "KL (nats)", Unit::kNats,
               "Of the logits, with the set upgraded.", figure(&ErrorSet::kl)},
              {"alone_rel_l2", "Alone", Unit::kRelative,
               "With the plan at these cells and the reference elsewhere.",
               figure(&ErrorSet::alone_rel_l2)},
              {"alone_kl_nats", "KL alone", Unit::kNats, "The same.",
               figure(&ErrorSet::alone_kl)},
              {"entries", "Entries", kNo, "To add to the plan.",
               [](const N& n) { return n.second->entries; }}},
          named),
      MakeTable(
          "set_groups", "Groups of ops, upgraded in all layers.",
          Fields<G>{
              {"group", "Group", kNo, "Its name.", &G::group},
              {"ops", "Ops", kNo, "Those that can be upgraded.",
               [](const G& g) { return Names(g.ops); }},
              {"rel_l2", "Rel L2", Unit::kRelative,
               "Of the final hidden state, with the group upgraded.",
               &G::rel_l2},
              {"alone_rel_l2", "Alone", Unit::kRelative,
               "With the plan at the group and the reference elsewhere; null "
               "of a single op.",
               &G::alone_rel_l2}},
          s.groups)};
}

std::vector<std::string> SetSentences(const Verdict& v, const ErrorSets& sets) {
  std::vector<std::string> all;
  if (sets.groups.empty()) return all;
  if (sets.saturated) {
    all.push_back(
        "Single repairs saturate: no (layer, op) cell and no op or kernel in "
        "all layers halves the error. It takes a set of cells.");
  }
  if (sets.whole.has_value()) {
    const ErrorSet& set = *sets.whole;
    // What takes it away may be in its way rather than make it.
    const bool makes =
        set.alone_rel_l2.has_value() && *set.alone_rel_l2 >= *v.rel_l2 / 2;
    all.push_back(absl::StrCat(
        makes ? "The set behind the error: "
              : "The set without which it goes: ",
        set.group,
        set.last_layer == 0
            ? ""
            : absl::StrCat(" of ",
                           LayerRangeText(set.first_layer, set.last_layer)),
        ". ", Takes(v, set), "."));
  }
  if (!sets.halving.empty()) {
    if (!sets.whole.has_value() && sets.stopped_in.empty()) {
      all.push_back(
          "No group of ops and no range of layers is behind the error: nearly "
          "all of it goes only with all ops in all layers.");
    }
    all.push_back(absl::StrCat("The smallest set found that halves it: ",
                               Takes(v, sets.halving.front()), "."));
  } else if (sets.stopped_in.empty()) {
    all.push_back("No set of cells that was tried halves it.");
  }
  return all;
}

}  // namespace ulpscope
