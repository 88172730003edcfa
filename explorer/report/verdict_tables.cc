#include "explorer/report/verdict_tables.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/results/schema.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Unit kNo = Unit::kNone;

// A field of a part that there may not be.
template <typename T, typename Get>
auto Of(const std::optional<T>& part, Get get)
    -> std::optional<std::decay_t<std::invoke_result_t<Get, const T&>>> {
  if (!part.has_value()) return std::nullopt;
  return std::invoke(get, *part);
}

absl::string_view ScopeName(CureScope scope) {
  return scope == CureScope::kSource ? "source"
         : scope == CureScope::kOps  ? "ops"
                                     : "channel";
}

std::vector<std::string> Names(const std::vector<Op>& ops) {
  std::vector<std::string> names;
  for (const Op op : ops) names.emplace_back(OpName(op));
  return names;
}

// A single table to which values are added; without a row of a null.
Table Single(const char* name, const char* about, bool exists) {
  Table table;
  table.name = name;
  table.about = about;
  table.single = true;
  if (exists) table.rows.emplace_back();
  return table;
}

Table VerdictTable(const Verdict* verdict) {
  Table t = Single("verdict", "The plan's error, and what is true of it.",
                   verdict != nullptr);
  const Verdict& v = verdict != nullptr ? *verdict : Verdict();
  AddValue(t, "rel_l2", Unit::kRelative,
           "Error of the final hidden state, before the final norm.", v.rel_l2);
  AddValue(t, "logits_rel_l2", Unit::kRelative, "Error of the logits.",
           v.logits_rel_l2);
  AddValue(t, "kl_nats", Unit::kNats, "Mean KL(reference || plan).", v.kl);
  AddValue(t, "exact", kNo, "Whether the results are the reference's.",
           v.exact);
  AddValue(t, "nonfinite_from", kNo,
           "First layer after which the stream, or the reference's, is not "
           "finite.",
           v.nonfinite_from);
  const auto op = [](const auto& part) { return OpName(part.op); };
  const auto layer = [](const auto& part) { return part.layer; };
  AddValue(t, "head_op", kNo,
           "final_norm or lm_head, if half of the logits' squared error is its "
           "own.",
           Of(v.head, op));
  AddValue(t, "head_squared_share", Unit::kShare, "That share.",
           Of(v.head, &OpShare::squared_share));
  AddValue(t, "exposed_layer", kNo, "The layer whose cancellation exposes it.",
           Of(v.exposed_by, layer));
  AddValue(t, "exposed_op", kNo, "The add that cancels.", Of(v.exposed_by, op));
  AddValue(t, "cancellation", Unit::kRatio, "(|x| + |u|) / |x + u| of it.",
           Of(v.exposed_by, &Exposure::ratio));
  AddValue(t, "std_before", Unit::kActivation, "Of the stream, before it.",
           Of(v.exposed_by, &Exposure::std_before));
  AddValue(t, "std_after", Unit::kActivation, "The same after it.",
           Of(v.exposed_by, &Exposure::std_after));
  AddValue(t, "rel_l2_before", Unit::kRelative, "The error before that layer.",
           Of(v.exposed_by, &Exposure::error_before));
  AddValue(t, "inherited_after", Unit::kRelative,
           "What the layer inherits of it.",
           Of(v.exposed_by, &Exposure::inherited_after));
  AddValue(t, "rel_l2_after", Unit::kRelative, "The error after that layer.",
           Of(v.exposed_by, &Exposure::error_after));
  AddValue(t, "spread_layer", kNo, "The layer that spreads it over channels.",
           Of(v.spread_by, layer));
  AddValue(t, "top1_before", Unit::kShare,
           "Largest channel's share of the squared error before it.",
           Of(v.spread_by, &Spreading::top1_before));
  AddValue(t, "top1_after", Unit::kShare, "The same after it.",
           Of(v.spread_by, &Spreading::top1_after));
  AddValue(t, "spread_amplification", Unit::kRatio,
           "How much larger it makes what it inherits; 0 if not known.",
           Of(v.spread_by, &Spreading::amplification));
  AddValue(t, "sum_cosine", kNo,
           "Cosine of the sum of the cells' error vectors with the plan's.",
           Of(v.interaction, &Interaction::sum_cosine));
  AddValue(t, "sum_norm", Unit::kRelative, "Norm of that sum by the plan's.",
           Of(v.interaction, &Interaction::sum_norm));
  AddValue(t, "sum_rest", Unit::kRelative, "Norm of what it leaves.",
           Of(v.interaction, &Interaction::sum_rest));
  AddValue(t, "squares_norm", Unit::kRelative,
           "What the cells give on average if they are independent.",
           Of(v.interaction, &Interaction::squares_norm));
  AddValue(t, "adds_up", kNo, "Whether the cells' errors add up to the plan's.",
           Of(v.interaction, &Interaction::adds_up));
  AddValue(t, "judged_until", kNo,
           "Where the attribution was stopped; empty if it was not.",
           v.stopped_in);
  return t;
}

Table SourceTable(const ErrorSource* source) {
  Table t = Single("source", "Where most of the error comes from.",
                   source != nullptr);
  const ErrorSource& s = source != nullptr ? *source : ErrorSource();
  AddValue(t, "ops", kNo, "The largest part first.", Names(s.ops));
  AddValue(t, "first_layer", kNo, "0: in no layer.", s.first_layer);
  AddValue(t, "last_layer", kNo, "0: in no layer.", s.last_layer);
  AddValue(t, "squared_share", Unit::kShare,
           "Of the squared errors of all cells, each run alone.",
           s.squared_share);
  AddValue(t, "share", Unit::kShare,
           "Of the plan's error, if the cells add up.", s.share);
  AddValue(t, "squared_share_error", Unit::kShare,
           "Standard error of squared_share, over the positions.",
           s.squared_share_error);
  std::optional<SourceChannel> massive, rounded;
  if (s.channel.has_value() && s.channel->massive) massive = s.channel;
  if (s.channel.has_value() && s.channel->rounded) rounded = s.channel;
  AddValue(t, "channel", kNo, "That the error goes through.",
           Of(s.channel, &SourceChannel::channel));
  AddValue(t, "channel_error_share", Unit::kShare,
           "Its mean share of the squared error over the source's layers.",
           Of(s.channel, &SourceChannel::error_share));
  AddValue(t, "massive", kNo, "Whether it is a massive activation.",
           Of(s.channel, &SourceChannel::massive));
  AddValue(t, "position", kNo, "Where it is massive.",
           Of(massive, &SourceChannel::position));
  AddValue(t, "born", kNo, "The layer that makes it.",
           Of(massive, &SourceChannel::born));
  AddValue(t, "removed", kNo, "The layer that removes it; 0 if none does.",
           Of(massive, &SourceChannel::removed));
  AddValue(t, "value", kNo, "The largest, signed.",
           Of(massive, &SourceChannel::value));
  AddValue(t, "value_layer", kNo, "After which layer.",
           Of(massive, &SourceChannel::value_layer));
  AddValue(t, "ratio_to_median", Unit::kRatio, "By the position's median.",
           Of(massive, &SourceChannel::ratio_to_median));
  AddValue(t, "rounded", kNo, "Whether the source's ops round it.",
           Of(massive, &SourceChannel::rounded));
  AddValue(
      t, "format", kNo, "What they round it to.",
      Of(rounded, [](const SourceChannel& c) { return FormatName(c.format); }));
  AddValue(t, "spacing", Unit::kActivation, "Of that format at the value.",
           Of(rounded, &SourceChannel::spacing));
  AddValue(t, "isolated_rel_l2", Unit::kRelative,
           "The error of its ops by themselves, in all layers.",
           Of(s.isolated, &Isolated::rel_l2));
  return t;
}

using Part = std::pair<const char*, const SourcePart*>;
using Best = std::pair<absl::string_view, const BestRepair*>;

bool Is(const Best& best, absl::string_view scope) {
  return best.first == scope;
}

template <typename T>
std::optional<T> If(bool applies, const T& value) {
  return applies ? std::optional<T>(value) : std::nullopt;
}

std::vector<Table> SourceLists(const Verdict& v, const ErrorSource& s) {
  std::vector<Part> parts;
  const auto add = [&parts](const char* name, const auto& part) {
    if (part.has_value()) parts.emplace_back(name, &*part);
  };
  add("makes", s.makes);
  add("until_removal", s.until_removal);
  add("removes", s.removes);
  const Isolated isolated = s.isolated.value_or(Isolated());
  return {
      MakeTable(
          "source_parts", "Other cells that act on its channel.",
          Fields<Part>{
              {"part", "Part", kNo,
               "\"makes\" it, reads it \"until_removal\", \"removes\" it.",
               [](const Part& p) { return std::string(p.first); }},
              {"layer", "Layer", kNo, "Where.",
               [](const Part& p) { return p.second->layer; }},
              {"ops", "Ops", kNo, "The largest part first.",
               [](const Part& p) { return Names(p.second->ops); }},
              {"squared_share", "Squared share", Unit::kShare,
               "Of the squared errors of all cells.",
               [](const Part& p) { return p.second->squared_share; }}},
          parts),
      MakeTable(
          "source_gains", "The reference in one of its ops, in all layers.",
          Fields<OpGain>{{"op", "Op", kNo, "Its name.",
                          [](const OpGain& g) { return OpName(g.op); }},
                         {"gain", "Gone", Unit::kShare, "Of the plan's error.",
                          &OpGain::gain},
                         {"moved", "Moved", Unit::kShare,
                          "How far the result moves, by the plan's error.",
                          &OpGain::moved}},
          s.gains),
      MakeTable(
          "source_upgrades",
          "Its ops by themselves, in all layers, under better ones, or those "
          "of the plan that errors are against.",
          Fields<Isolated::Upgraded>{
              {"strategy", "Strategy", kNo, "Of these ops.",
               [](const Isolated::Upgraded& u) { return u.strategy.name(); }},
              {"rel_l2", "Rel L2", Unit::kRelative, "Their error.",
               &Isolated::Upgraded::rel_l2}},
          isolated.upgraded),
      MakeTable(
          "cures",
          "The plan with some of the source upgraded, or, against another "
          "plan, "
          "as that has it.",
          Fields<Cure>{
              {"scope", "Scope", kNo,
               "\"source\", its \"ops\" in all layers, or its \"channel\".",
               [](const Cure& c) { return ScopeName(c.scope); }},
              {"strategy", "Strategy", kNo, "What they take.",
               [](const Cure& c) { return c.strategy.name(); }},
              {"entries", "Entries", kNo, "To add to the plan.",
               &Cure::entries},
              {"rel_l2", "Rel L2", Unit::kRelative, "The error with them.",
               &Cure::rel_l2},
              {"rel_l2_on_average", "On average", Unit::kRelative,
               "What all other cells give on average, if independent.",
               [&v](const Cure& c) { return LeftOnAverage(v, c.scope); }}},
          s.cures)};
}

std::vector<Table> OtherLists(const Verdict& v) {
  std::vector<Best> best;
  const auto add = [&best](const char* scope, const auto& repair) {
    if (repair.has_value()) best.emplace_back(scope, &*repair);
  };
  add("cell", v.best_cell);
  add("op", v.best_op);
  add("group", v.best_group);
  add("layer", v.best_layer);
  return {
      MakeTable(
          "op_shares", "Every op's part, over its layers.",
          Fields<OpShare>{
              {"op", "Op", kNo, "Its name.",
               [](const OpShare& o) { return OpName(o.op); }},
              {"squared_share", "Squared share", Unit::kShare,
               "Of the squared errors of all cells.", &OpShare::squared_share},
              {"share", "Share", Unit::kShare,
               "Of the plan's error, if the cells add up.", &OpShare::share},
              {"squared_share_error", "±", Unit::kShare,
               "Standard error of squared_share, over the positions; null of "
               "fewer than two.",
               &OpShare::squared_share_error},
              {"distinguishable", "Distinguishable", kNo,
               "Whether squared_share is above two of them, or there is none.",
               &OpShare::distinguishable}},
          v.ops),
      MakeTable(
          "no_effect", "Ops that change no bit of the results.",
          Fields<NoEffect>{{"op", "Op", kNo, "Its name.",
                            [](const NoEffect& o) { return OpName(o.op); }},
                           {"over_one_position", "Over one position", kNo,
                            "A softmax that is 1 whatever it is given.",
                            &NoEffect::over_one_position}},
          v.no_effect),
      MakeTable(
          "nonfinite_cells",
          "Cells that suffice for results that are not finite.",
          Fields<Cell>{{"layer", "Layer", kNo, "0: in no layer.", &Cell::layer},
                       {"op", "Op", kNo, "Its name.",
                        [](const Cell& c) { return OpName(c.op); }}},
          v.nonfinite_cells),
      MakeTable(
          "best_repairs",
          "What the reference takes away at most, in one of each.",
          Fields<Best>{
              {"scope", "One", kNo, "\"cell\", \"op\", \"group\" or \"layer\".",
               [](const Best& b) { return b.first; }},
              {"layer", "Layer", kNo, "Of a cell (0: in no layer) or a layer.",
               [](const Best& b) {
                 return If(Is(b, "cell") || Is(b, "layer"),
                           b.second->cell.layer);
               }},
              {"op", "Op", kNo, "Of a cell or an op.",
               [](const Best& b) {
                 return If(Is(b, "cell") || Is(b, "op"),
                           OpName(b.second->cell.op));
               }},
              {"group", "Group", kNo, "Of a group.",
               [](const Best& b) {
                 return If(Is(b, "group"),
                           KernelName(OpKernel(b.second->cell.op)));
               }},
              {"gain", "Gone", Unit::kShare, "Of the plan's error.",
               [](const Best& b) { return b.second->gain; }},
              {"most_moved", "Most moved", Unit::kShare,
               "The largest move of any of these, by the plan's error.",
               [](const Best& b) { return b.second->most_moved; }}},
          best)};
}

}  // namespace

std::vector<Table> VerdictTables(const Verdict* verdict) {
  const Verdict none;
  const Verdict& v = verdict != nullptr ? *verdict : none;
  const ErrorSource no_source;
  const ErrorSource* source = v.source.has_value() ? &*v.source : nullptr;
  std::vector<Table> tables = {VerdictTable(verdict), SourceTable(source)};
  for (std::vector<Table> lists :
       {SourceLists(v, source != nullptr ? *source : no_source),
        OtherLists(v)}) {
    for (Table& list : lists) tables.push_back(std::move(list));
  }
  return tables;
}

Table SentencesTable(const std::vector<std::string>& sentences) {
  return MakeTable(
      "sentences", "What the report says first.",
      Fields<std::string>{{"text", "", kNo, "A sentence or two.",
                           [](const std::string& text) { return text; }}},
      sentences);
}

}  // namespace ulpscope
