#include "explorer/report/attribution_results.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/losses.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/error/effect.h"
#include "explorer/error/position_errors.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/frame.h"
#include "explorer/report/mechanism_tables.h"
#include "explorer/report/phenomena_tables.h"
#include "explorer/report/set_tables.h"
#include "explorer/report/verdict_tables.h"
#include "explorer/report/verdict_text.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Unit kNo = Unit::kNone;

Fields<Effect> EffectFields() {
  using E = Effect;
  return {
      {"complete", "", kNo, "Whether the run reached its logits.",
       &E::complete},
      {"rel_l2", "Rel L2", Unit::kRelative,
       "Error of the final hidden state, before the final norm.", &E::rel_l2},
      {"logits_rel_l2", "Logits rel L2", Unit::kRelative,
       "Error of the logits of all positions.", &E::logits_rel_l2},
      {"kl_nats", "KL (nats)", Unit::kNats, "Mean KL(reference || run).",
       &E::kl},
      {"ordinary_rel_l2", "Ordinary rel L2", Unit::kRelative,
       "rel_l2 over the ordinary positions, those without a massive activation "
       "in the reference's stream; null if there is none.",
       &E::ordinary_rel_l2},
      {"ordinary_logits_rel_l2", "Ordinary logits rel L2", Unit::kRelative,
       "logits_rel_l2 over the ordinary positions.",
       &E::ordinary_logits_rel_l2},
      {"ordinary_kl_nats", "Ordinary KL (nats)", Unit::kNats,
       "kl_nats over the ordinary positions.", &E::ordinary_kl},
      {"layers_rel_l2", "", Unit::kRelative,
       "Error of the stream after the embedding and after each layer.",
       &E::layers}};
}

Fields<LayerSplit> SplitFields() {
  using S = LayerSplit;
  Fields<S> fields = {{"layer", "Layer", kNo, "0: the embedding.", &S::layer}};
  using E = ErrorSize;
  const Fields<E> sizes = {
      {"l2", "", Unit::kActivation, "2-norm of the error vector.", &E::l2},
      {"rel_l2", "", Unit::kRelative,
       "The same, by that of the reference's stream.", &E::rel_l2},
      {"mean_abs", "", Unit::kActivation, "Mean absolute error.", &E::mean_abs},
      {"max_abs", "", Unit::kActivation, "Largest absolute error.",
       &E::max_abs},
      {"max_position", "", kNo, "Its position.", &E::max_position},
      {"max_channel", "", kNo, "Its channel.", &E::max_channel}};
  const auto add = [&](const char* part, const char* title, E S::*size) {
    const size_t first = fields.size();
    AppendPart(fields, part, sizes, false,
               [size](const S& s) { return &(s.*size); });
    fields[first + 1].column.title = title;
  };
  add("total_", "Total", &S::total);
  add("inherited_", "Inherited", &S::inherited);
  add("local_", "Local", &S::local);
  const Fields<S> more = {
      {"amplification", "Amplification", Unit::kRatio,
       "Of what the layer inherits.", &S::amplification},
      {"relative_amplification", "Relative", Unit::kRatio,
       "The same of errors relative to the streams.",
       &S::relative_amplification},
      {"identity_ulps", "", Unit::kUlps,
       "How far total is from inherited + local, in ulps of f64.",
       &S::identity_ulps},
      {"interaction_share", "", Unit::kShare,
       "Of the local error, what is no single op's.", &S::interaction_share}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

struct LayerOp {
  size_t layer;
  const OpError* op;
};

Table LayerOpsTable(const Attribution& a) {
  std::vector<LayerOp> rows;
  for (const LayerSplit& split : a.layers) {
    for (const OpError& op : split.ops) rows.push_back({split.layer, &op});
  }
  return MakeTable(
      "layer_ops", "The local error of every op, it alone under the plan.",
      Fields<LayerOp>{
          {"layer", "Layer", kNo, "0: the embedding.",
           [](const LayerOp& r) { return r.layer; }},
          {"op", "Op", kNo, "Its name.",
           [](const LayerOp& r) { return OpName(r.op->op); }},
          {"rel_l2", "Rel L2", Unit::kRelative,
           "By the reference's stream after the layer.",
           [](const LayerOp& r) { return r.op->rel_l2; }},
          {"share", "Share", Unit::kShare, "Of the layer's local error.",
           [](const LayerOp& r) { return r.op->share; }}},
      rows);
}

Table CellsTable(const Plan& plan, const Attribution& a) {
  using C = Cause;
  Fields<C> fields = {
      {"layer", "Layer", kNo, "0: in no layer.",
       [](const C& c) { return c.cell.layer; }},
      {"op", "Op", kNo, "Its name.",
       [](const C& c) { return OpName(c.cell.op); }},
      {"strategy", "Strategy", kNo, "The plan's there.",
       [&plan](const C& c) {
         return plan.Get(c.cell.layer, c.cell.op).name();
       }},
      {"changes_bits", "", kNo, "Whether it changes any bit of the results.",
       &C::changes_bits},
      {"share", "Share", Unit::kShare, "Of the plan's error vector, along it.",
       &C::share},
      {"cosine", "Cosine", kNo, "With the plan's error vector.", &C::cosine},
      {"peak_position", "Most at position", kNo,
       "The position with most of its squared error of the final hidden state.",
       [](const C& c) {
         return c.peak ? std::optional<size_t>(c.peak->position) : std::nullopt;
       }},
      {"peak_squared_share", "Share there", Unit::kShare,
       "That position's part of it.", [](const C& c) {
         return c.peak ? std::optional<double>(c.peak->squared_share)
                       : std::nullopt;
       }}};
  AppendPart(fields, "", EffectFields(), false,
             [](const C& c) { return &c.effect; });
  return MakeTable("cells",
                   "The plan at one cell alone, the reference everywhere else.",
                   fields, a.causes);
}

struct PositionRow {
  size_t position;
  int32_t token;
  const PositionError* error;
  PositionLoss loss;
};

Table PositionsTable(const Explanation& e) {
  std::vector<PositionRow> rows;
  const std::vector<PositionError>& errors = e.attribution.positions;
  const std::vector<PositionLoss> losses = LossesOf(errors, e.phenomena);
  for (size_t i = 0; i < errors.size(); ++i) {
    rows.push_back({i, e.tokens[i], &errors[i], losses[i]});
  }
  using P = PositionRow;
  const auto figure = [](double PositionError::*of) {
    return [of](const P& p) { return p.error->*of; };
  };
  return MakeTable(
      "positions", "The plan's error at every position of the prompt.",
      Fields<P>{
          {"position", "Position", kNo, "From 0.", &P::position},
          {"token", "Token", kNo, "Its id.", &P::token},
          {"massive", "Massive", kNo,
           "Whether the reference's stream has a massive activation there, "
           "after the embedding or after any layer.",
           [](const P& p) { return p.error->massive; }},
          {"squared_share", "Squared share", Unit::kShare,
           "Of the squared error of the final hidden state.",
           figure(&PositionError::squared_share)},
          {"rel_l2", "Rel L2", Unit::kRelative,
           "Error of its final hidden state, before the final norm.",
           figure(&PositionError::rel_l2)},
          {"logits_squared_share", "Of the logits'", Unit::kShare,
           "Of the squared error of the logits.",
           figure(&PositionError::logits_squared_share)},
          {"kl_nats", "KL (nats)", Unit::kNats, "KL(reference || plan).",
           figure(&PositionError::kl)},
          {"kl_share", "Of the KL", Unit::kShare, "Of that of all positions.",
           [](const P& p) { return p.loss.kl_share; }},
          {"changes_token", "Changes", kNo,
           "Whether the most likely next token is another one.",
           [](const P& p) { return p.loss.changes_token; }},
          {"matters", "Matters", kNo,
           "Whether it changes the token or has a KL of 0.01 nats.",
           [](const P& p) { return p.loss.matters; }}},
      rows);
}

// One of the two plans, its place, and how far it is from the oracle.
struct ToOracle {
  absl::string_view whose;
  std::string plan;
  const Effect* effect;
  std::optional<bool> nearer;
};

Table TruthTable(const Explanation& e) {
  std::vector<ToOracle> rows;
  if (e.truth.has_value()) {
    const Nearer nearer = e.truth->nearer();
    const bool known = nearer == Nearer::kPlan || nearer == Nearer::kReference;
    const auto is = [&](Nearer which) {
      return known ? std::optional<bool>(nearer == which) : std::nullopt;
    };
    rows = {{"plan", e.plan.Text(), &e.truth->plan, is(Nearer::kPlan)},
            {"reference", e.reference.Text(), &e.truth->reference,
             is(Nearer::kReference)}};
  }
  using T = ToOracle;
  Fields<T> fields = {
      {"whose", "Of", kNo, "\"plan\" or \"reference\".",
       [](const T& t) { return t.whose; }},
      {"plan", "Plan", kNo, "Its text.", [](const T& t) { return t.plan; }},
      {"nearer", "Nearer", kNo,
       "Whether it is the nearer one by rel_l2, logits_rel_l2 and kl_nats; "
       "null if they do not agree, or do not differ.",
       [](const T& t) { return t.nearer; }}};
  Fields<Effect> of_effect = EffectFields();
  // What they say of the reference holds of the oracle here.
  for (Field<Effect>& field : of_effect) {
    field.column.about = absl::StrReplaceAll(
        field.column.about,
        {{"reference's", "oracle's"}, {"reference", "oracle"}});
  }
  AppendPart(fields, "", of_effect, false, [](const T& t) { return t.effect; });
  return MakeTable("truth",
                   "Both plans against the oracle, where the reference is "
                   "another plan: who is nearer to the truth.",
                   fields, rows);
}

using Scoped = std::pair<absl::string_view, const Repair*>;

Table RepairsTable(const Attribution& a) {
  std::vector<Scoped> rows;
  const auto add = [&rows](absl::string_view scope,
                           const std::vector<Repair>& repairs) {
    for (const Repair& repair : repairs) rows.emplace_back(scope, &repair);
  };
  add("cell", a.repairs);
  add("op", a.op_repairs);
  add("group", a.group_repairs);
  add("layer", a.layer_repairs);
  // A layer's repair is of all its ops, an op's of all layers.
  const auto text_if = [](bool applies, absl::string_view text) {
    return applies ? std::optional<std::string>(text) : std::nullopt;
  };
  Fields<Scoped> fields = {
      {"scope", "Of", kNo, "One \"cell\", \"op\", \"group\" or \"layer\".",
       [](const Scoped& s) { return s.first; }},
      {"layer", "Layer", kNo, "Of a cell (0: in no layer) or a layer.",
       [](const Scoped& s) {
         return s.first == "cell" || s.first == "layer"
                    ? std::optional<size_t>(s.second->cell.layer)
                    : std::nullopt;
       }},
      {"op", "Op", kNo, "Of a cell or an op.",
       [text_if](const Scoped& s) {
         return text_if(s.first == "cell" || s.first == "op",
                        OpName(s.second->cell.op));
       }},
      {"group", "Group", kNo, "Of a group.", [text_if](const Scoped& s) {
         return text_if(s.first == "group",
                        KernelName(OpKernel(s.second->cell.op)));
       }}};
  AppendPart(fields, "", EffectFields(), false,
             [](const Scoped& s) { return &s.second->effect; });
  const auto figure = [](std::optional<double> Repair::*of) {
    return [of](const Scoped& s) { return s.second->*of; };
  };
  const Fields<Scoped> more = {
      {"gain", "Gone", Unit::kShare, "Of the final hidden state's error.",
       figure(&Repair::gain)},
      {"moved", "Moved", Unit::kShare,
       "How far the final hidden state moves, by its error.",
       figure(&Repair::moved)},
      {"logits_gain", "Gone", Unit::kShare, "Of the logits' error.",
       figure(&Repair::logits_gain)},
      {"logits_moved", "Moved", Unit::kShare,
       "How far the logits move, by their error.",
       figure(&Repair::logits_moved)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return MakeTable("repairs", "The reference there, the plan everywhere else.",
                   fields, rows);
}

using NamedSet = std::pair<std::string, const UpgradeSet*>;

struct SetUpgrade {
  const NamedSet* set;
  const Upgrade* upgrade;
};

Table MinimalRepairTable(const RepairResult* repair) {
  using R = RepairResult;
  const auto found = [](const R& r) { return r.reached; };
  Fields<R> fields = {
      {"budget", "", kNo, "--budget.",
       [](const R& r) { return BudgetText(r.budget); }},
      {"metric", "", kNo, "Its metric.",
       [](const R& r) { return MetricName(r.budget.metric); }},
      {"limit", "", kNo, "Its limit.",
       [](const R& r) { return r.budget.limit; }},
      {"strategies", "", kNo,
       "That upgrades may choose from; empty if they take the reference's.",
       [](const R& r) {
         std::vector<std::string> names;
         for (const Strategy s : r.strategies) names.emplace_back(s.name());
         return names;
       }},
      {"reached", "", kNo, "Whether a set keeps the budget.", &R::reached},
      {"error_before", "", kNo, "The plan's metric.", &R::error_before},
      {"streams", "", kNo, "Runs of the search.", &R::streams},
      {"passes", "", kNo, "Passes over the weights.", &R::passes},
      {"search_stopped_in", "", kNo, "What was not finished; empty if all was.",
       &R::stopped_in},
      {"best_error", "", kNo, "The least one, if nothing keeps the budget.",
       [found](const R& r) { return found(r) ? std::nullopt : r.best_error; }},
      {"best_is_everything", "", kNo,
       "Whether that is of upgrading everything.",
       [found](const R& r) {
         return found(r) ? std::nullopt
                         : std::optional<bool>(r.best_is_everything);
       }},
      {"entries", "", kNo, "To add to the plan.", &R::entries}};
  Fields<RepairCost> costs;
  const auto add = [&costs](const char* name, Unit unit, const char* about,
                            Spread RepairCost::*of) {
    AppendSpread(costs, name, "", unit, about,
                 [of](const RepairCost& c) { return c.*of; });
  };
  const Unit rate = Unit::kTokensPerSecond;
  add("plan_decode_tokens_per_second", rate, "The plan's speed",
      &RepairCost::plan_decode);
  add("decode_tokens_per_second", rate, "The repaired plan's",
      &RepairCost::repaired_decode);
  add("decode_ratio", Unit::kRatio, "Of neighbouring runs",
      &RepairCost::decode_ratio);
  add("plan_prefill_tokens_per_second", rate, "The plan's speed",
      &RepairCost::plan_prefill);
  add("prefill_tokens_per_second", rate, "The repaired plan's",
      &RepairCost::repaired_prefill);
  add("prefill_ratio", Unit::kRatio, "Of neighbouring runs",
      &RepairCost::prefill_ratio);
  AppendPart(fields, "", costs, true,
             [](const R& r) { return r.cost ? &*r.cost : nullptr; });
  fields.push_back(NotTimedField<R>(
      "", [](const R& r) { return r.emulated ? kEmulated : nullptr; }));
  return MakeSingle("minimal_repair",
                    "The search for the smallest set of upgrades that keeps "
                    "the budget.",
                    fields, repair);
}

std::vector<Table> UpgradeTables(const RepairResult* repair) {
  std::vector<NamedSet> sets;
  if (repair != nullptr && repair->reached) {
    sets.emplace_back("repair", &repair->repair);
    for (const UpgradeSet& set : repair->alternatives) {
      sets.emplace_back(absl::StrCat("alternative ", sets.size()), &set);
    }
  }
  std::vector<SetUpgrade> upgrades;
  for (const NamedSet& set : sets) {
    for (const Upgrade& upgrade : set.second->upgrades) {
      upgrades.push_back({&set, &upgrade});
    }
  }
  return {
      MakeTable("upgrade_sets", "Sets of upgrades that keep the budget.",
                Fields<NamedSet>{
                    {"set", "Set", kNo, "\"repair\" or \"alternative N\".",
                     [](const NamedSet& s) { return s.first; }},
                    {"plan", "Plan", kNo, "The plan with them.",
                     [](const NamedSet& s) { return s.second->plan.Text(); }},
                    {"error", "Error", kNo, "Its metric.",
                     [](const NamedSet& s) { return s.second->error; }},
                    {"cells", "Cells", kNo, "How many are upgraded.",
                     [](const NamedSet& s) { return s.second->cells(); }}},
                sets),
      MakeTable(
          "upgrades", "Their parts.",
          Fields<SetUpgrade>{
              {"set", "Set", kNo, "That it is of.",
               [](const SetUpgrade& u) { return u.set->first; }},
              {"op", "Op", kNo, "Its name.",
               [](const SetUpgrade& u) { return OpName(u.upgrade->op); }},
              {"strategy", "Strategy", kNo, "What it takes.",
               [](const SetUpgrade& u) { return u.upgrade->strategy.name(); }},
              {"layers", "Layers", kNo, "Where; 0: in no layer.",
               [](const SetUpgrade& u) { return u.upgrade->layers; }}},
          upgrades)};
}

Table CauseSumTable(const Attribution& a) {
  using S = CauseSum;
  Fields<Attribution> fields;
  AppendPart(fields, "",
             Fields<S>{{"cosine", "", kNo, "Of their sum with the plan's.",
                        &S::cosine},
                       {"norm", "", Unit::kRelative,
                        "Of their sum, by the plan's.", &S::norm},
                       {"rest", "", Unit::kRelative,
                        "Norm of what is left, by the plan's.", &S::rest}},
             true, [](const Attribution& x) {
               return x.cause_sum ? &*x.cause_sum : nullptr;
             });
  return MakeSingle("cause_sum",
                    "How far the cells' error vectors add up to the plan's.",
                    fields, &a);
}

}  // namespace

Results AttributionTables(const RunInfo& info, const Explanation& e) {
  const Attribution& a = e.attribution;
  const RepairResult* repair = e.repair.has_value() ? &*e.repair : nullptr;
  Table context = ContextTable(info, e.stopped_in);
  AddValue(context, "plan", kNo, "The plan that is explained.", e.plan.Text());
  AddAgainst(context, info);
  AddValue(context, "tokens", kNo, "That it runs on.", e.tokens);
  AddValue(context, "samples", kNo, "Positions that errors are over.",
           e.tokens.size());
  AddValue(context, "phenomena_positions", kNo,
           "The first ones, of which the phenomena are.",
           e.phenomena.positions);
  AddValue(context, "cells_left_out", kNo,
           "Repairs of single cells that were not run, as neither their op in "
           "all layers nor their whole layer takes a quarter away.",
           a.cells_left_out);
  AddValue(context, "softmax_over_one", kNo,
           "Whether every softmax is over a single score, and so 1.",
           e.phenomena.softmax_over_one());
  std::vector<std::string> sentences = Sentences(e.verdict, repair);
  const auto add = [&sentences](const std::vector<std::string>& more) {
    sentences.insert(sentences.end(), more.begin(), more.end());
  };
  if (e.sets.has_value()) {
    add(SetSentences(e.verdict, *e.sets));
  }
  if (e.luck.has_value()) add(LuckSentences(*e.luck));
  add(MechanismSentences(e.mechanisms));
  if (e.truth.has_value() && !e.verdict.is_itself) {
    sentences.insert(sentences.begin() + 1, TruthSentence(e.verdict, *e.truth));
  }
  add(LossSentences(
      a, LossesOf(a.positions, e.phenomena), [&](size_t position) {
        return info.text_of
                   ? info.text_of(absl::MakeConstSpan(&e.tokens[position], 1))
                   : std::string();
      }));
  const auto of_positions = PositionSentence(a);
  if (of_positions.has_value()) sentences.push_back(*of_positions);
  Results results = {
      "attribute",
      {std::move(context), SentencesTable(sentences), TruthTable(e),
       MakeSingle("effect", "The whole plan against the reference.",
                  EffectFields(), &a.plan),
       PositionsTable(e),
       MakeTable("layers", "Where the error arises, layer by layer.",
                 SplitFields(), a.layers),
       LayerOpsTable(a), CellsTable(e.plan, a), CauseSumTable(a),
       RepairsTable(a), MinimalRepairTable(repair)}};
  for (std::vector<Table> tables :
       {UpgradeTables(repair), VerdictTables(&e.verdict),
        SetTables(e.sets.has_value() ? &*e.sets : nullptr),
        MechanismTables(e.mechanisms, e.luck),
        PhenomenaTables(e.phenomena, !IsAgainstPlan(e.verdict))}) {
    for (Table& table : tables) results.tables.push_back(std::move(table));
  }
  return results;
}

}  // namespace ulpscope
