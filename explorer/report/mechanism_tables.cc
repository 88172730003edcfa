#include "explorer/report/mechanism_tables.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/luck.h"
#include "explorer/attribution/mechanisms.h"
#include "explorer/report/figures.h"
#include "explorer/results/schema.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

constexpr Unit kNo = Unit::kNone;

absl::string_view KindName(MechanismKind kind) {
  switch (kind) {
    case MechanismKind::kKeyBias:
      return "key_bias";
    case MechanismKind::kLargeScores:
      return "large_scores";
    case MechanismKind::kMovedWeights:
      return "moved_weights";
    case MechanismKind::kSink:
      return "attention_sink";
    case MechanismKind::kFlip:
      return "threshold_flip";
    case MechanismKind::kNearTie:
      return "near_tie";
  }
  return "";
}

// "position 3", "positions 1, 3, 9".
std::string Counted(absl::string_view what, const std::vector<size_t>& of) {
  constexpr size_t kMost = 8;
  std::vector<size_t> some = of;
  if (some.size() > kMost) some.resize(kMost);
  return absl::StrCat(
      what, of.size() == 1 ? " " : "s ", absl::StrJoin(some, ", "),
      of.size() > kMost ? absl::StrCat(" and ", of.size() - kMost, " more")
                        : "");
}

// The mechanisms of a kind that are largest, as many as a sentence takes.
std::vector<const Mechanism*> Of(MechanismKind kind,
                                 const std::vector<Mechanism>& all) {
  constexpr size_t kMost = 5;
  std::vector<const Mechanism*> found;
  for (const Mechanism& m : all) {
    if (m.kind == kind && found.size() < kMost) found.push_back(&m);
  }
  return found;
}

// "BEFORE part, part and part." of each of them, if there are any.
template <typename Part>
void Say(absl::string_view before, MechanismKind kind,
         const std::vector<Mechanism>& all, const Part& part,
         std::vector<std::string>& sentences) {
  std::vector<std::string> parts;
  for (const Mechanism* m : Of(kind, all)) parts.push_back(part(*m));
  if (parts.empty()) return;
  sentences.push_back(absl::StrCat(before, absl::StrJoin(parts, "; "), "."));
}

}  // namespace

std::vector<Table> MechanismTables(const std::vector<Mechanism>& mechanisms,
                                   const std::optional<Luck>& luck) {
  using M = Mechanism;
  using L = Luck;
  const Luck none;
  const Luck& of = luck.has_value() ? *luck : none;
  return {
      MakeTable(
          "mechanisms", "How the error becomes what it is.",
          Fields<M>{
              {"kind", "Kind", kNo,
               "\"key_bias\", \"large_scores\", \"moved_weights\", "
               "\"attention_sink\", \"threshold_flip\" or \"near_tie\".",
               [](const M& m) { return KindName(m.kind); }},
              {"layer", "Layer", kNo, "0: the logits.", &M::first_layer},
              {"last_layer", "To", kNo, "0: the logits.", &M::last_layer},
              {"heads", "Heads", kNo, "From 0; of a key bias, its KV head.",
               &M::heads},
              {"positions", "Positions", kNo, "Of queries, or of tokens.",
               &M::positions},
              {"channels", "Channels", kNo, "Of the stream, or of the keys.",
               &M::channels},
              {"value", "Value", kNo,
               "The largest one: a bias, a score, the difference of a softmax "
               "weight from the reference's, an activation; of near ties the "
               "least margin of two logits.",
               &M::value},
              {"ratio", "Ratio", Unit::kRatio,
               "Of a bias, to the largest key; of a score, by which factor "
               "half of its spacing changes its weight; of a weight, what the "
               "reference has; of a sink, the mean weight in the reference; of "
               "a flip, what the other run has, by the value; of a near tie, "
               "the error by the margin.",
               &M::ratio}},
          mechanisms),
      MakeSingle(
          "luck",
          "What the set's upgrade leaves of the error where roundings fall "
          "otherwise.",
          Fields<L>{
              {"left", "", Unit::kRatio,
               "Geometric mean of the error with the set by that "
               "without, over the plan's run and luck_runs.",
               &L::left},
              {"left_low", "", Unit::kRatio,
               "The 95 % interval of it, by Student's t.", &L::left_low},
              {"left_high", "", Unit::kRatio, "Its other end.", &L::left_high},
              {"distinguishable", "", kNo, "Whether the interval is below 1.",
               &L::distinguishable}},
          luck.has_value() ? &of : nullptr),
      MakeTable(
          "luck_runs", "The same plan where roundings fall otherwise.",
          Fields<LuckyRun>{
              {"name", "Run", kNo,
               "\"bf16_srN\": MatMul results are rounded by draws of "
               "that seed; \"window N\" of the text.",
               [](const LuckyRun& r) { return r.what; }},
              {"plan_rel_l2", "Plan", Unit::kRelative,
               "Error of the final hidden state.", &LuckyRun::plan_rel_l2},
              {"rel_l2", "With the set", Unit::kRelative,
               "The same with the set upgraded.", &LuckyRun::rel_l2}},
          of.runs)};
}

std::vector<std::string> MechanismSentences(const std::vector<Mechanism>& all) {
  using M = Mechanism;
  std::vector<std::string> sentences;
  Say(
      "Mechanism: large attention scores, which rounding moves by so much that "
      "their softmax weights change by a factor (half of a spacing): ",
      MechanismKind::kLargeScores, all,
      [](const M& m) {
        return absl::StrFormat("%s up to %.4g, factor %.3g (%s; %s)",
                               LayerRangeText(m.first_layer, m.last_layer),
                               m.value, m.ratio, Counted("head", m.heads),
                               Counted("position", m.positions));
      },
      sentences);
  Say(
      "Key biases make these scores: ", MechanismKind::kKeyBias, all,
      [](const M& m) {
        return absl::StrFormat("%.4g in %s (key channel %d, KV head %d)",
                               m.value,
                               LayerRangeText(m.first_layer, m.last_layer),
                               m.channels[0], m.heads[0]);
      },
      sentences);
  Say(
      "Softmax weights that went to another position: ",
      MechanismKind::kMovedWeights, all,
      [](const M& m) {
        return absl::StrFormat("%s, %s, %s: from %s to %s",
                               LayerRangeText(m.first_layer, m.last_layer),
                               Counted("head", m.heads),
                               Counted("position", m.positions),
                               Percent(m.ratio), Percent(m.ratio + m.value));
      },
      sentences);
  Say(
      "Queries leave an attention sink: ", MechanismKind::kSink, all,
      [](const M& m) {
        return absl::StrFormat("%s, %s, %s (its mean weight is %s)",
                               LayerRangeText(m.first_layer, m.last_layer),
                               Counted("head", m.heads),
                               Counted("position", m.positions),
                               Percent(m.ratio));
      },
      sentences);
  Say(
      "A threshold flips, and a massive activation is there in one run only: ",
      MechanismKind::kFlip, all,
      [](const M& m) {
        return absl::StrFormat(
            "channel %d at %s, born in layer %d, is %.4g in one and %.4g in "
            "the other",
            m.channels[0], Counted("position", m.positions), m.first_layer,
            m.value, m.ratio * m.value);
      },
      sentences);
  Say(
      "The most likely next token is another one at ", MechanismKind::kNearTie,
      all,
      [](const M& m) {
        return absl::StrFormat(
            "%s; the nearest tie has a margin of %.3g, and the error there is "
            "%.3g times that",
            Counted("position", m.positions), m.value, m.ratio);
      },
      sentences);
  return sentences;
}

std::vector<std::string> LuckSentences(const Luck& luck) {
  if (!luck.left_high.has_value()) return {};
  const std::string interval = absl::StrFormat(
      "over %d runs in which roundings fall otherwise the set leaves %s of the "
      "error on average (95 %% interval %s to %s)",
      luck.runs.size() + 1, Percent(*luck.left), Percent(*luck.left_low),
      Percent(*luck.left_high));
  return {*luck.distinguishable
              ? absl::StrCat("It is not luck: ", interval, ".")
              : absl::StrCat("It may be luck: ", interval, ".")};
}

std::vector<std::string> LossSentences(
    const Attribution& a, const std::vector<PositionLoss>& losses,
    const std::function<std::string(size_t)>& token_at) {
  // A state that is so far off and yet does not matter is worth a line.
  constexpr double kFarOff = 0.1;
  constexpr size_t kMost = 5;
  std::vector<std::string> sentences;
  if (losses.size() < 2 || !a.plan.kl.has_value() ||
      !std::isfinite(*a.plan.kl) || !(*a.plan.kl > 0)) {
    return sentences;
  }
  const auto named = [&](size_t position) {
    const std::string token = token_at(position);
    return absl::StrCat("position ", position,
                        token.empty() ? "" : absl::StrCat(" (`", token, "`)"));
  };
  std::vector<std::string> lose, harmless;
  size_t num_lose = 0;
  double share = 0;
  for (const PositionLoss& loss : losses) {
    const PositionError& error = a.positions[loss.position];
    if (loss.has_most) {
      ++num_lose;
      share += loss.kl_share;
      if (lose.size() < kMost) {
        lose.push_back(absl::StrFormat(
            "%s, %s of its state and %.3g nats%s", named(loss.position),
            Percent(error.rel_l2), error.kl,
            loss.changes_token ? " (another most likely token)" : ""));
      }
    }
    if (!loss.matters && error.rel_l2 >= kFarOff && harmless.size() < kMost) {
      harmless.push_back(absl::StrFormat("%s, %s and %.2g nats",
                                         named(loss.position),
                                         Percent(error.rel_l2), error.kl));
    }
  }
  sentences.push_back(absl::StrFormat(
      "Of %d positions %d %s %s of the KL: %s%s.", losses.size(), num_lose,
      num_lose == 1 ? "has" : "have", Percent(share), absl::StrJoin(lose, "; "),
      num_lose > kMost ? "; ..." : ""));
  if (!harmless.empty()) {
    sentences.push_back(
        absl::StrCat("Far off in the state, but not in the logits: ",
                     absl::StrJoin(harmless, "; "), "."));
  }
  return sentences;
}

}  // namespace ulpscope
