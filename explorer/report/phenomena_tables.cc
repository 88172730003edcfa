#include "explorer/report/phenomena_tables.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/phenomena_text.h"
#include "explorer/results/schema.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Unit kNo = Unit::kNone;

Table MassiveTable(const Phenomena& p) {
  using M = MassiveChannel;
  return MakeTable(
      "massive_channels", "Massive activations, the largest first.",
      Fields<M>{
          {"channel", "Channel", kNo, "Of the residual stream.", &M::channel},
          {"position", "Position", kNo, "Of the prompt.", &M::position},
          {"born", "Born", kNo, "The layer whose add made it.", &M::born},
          {"born_op", "By", kNo, "That add.",
           [](const M& m) { return OpName(m.born_op); }},
          {"removed", "Removed", kNo,
           "The layer whose add removed it; 0: none did.", &M::removed},
          {"removed_op", "By", kNo, "That add.",
           [](const M& m) -> std::optional<absl::string_view> {
             if (m.removed == 0) return std::nullopt;
             return OpName(m.removed_op);
           }},
          {"left", "Leaves", kNo, "What that add left.", &M::left},
          {"value", "Largest", kNo, "The largest, signed.", &M::value},
          {"value_layer", "After layer", kNo, "After which layer.",
           &M::value_layer},
          {"ratio_to_median", "By the median", Unit::kRatio,
           "By the median magnitude of that position.", &M::ratio_to_median}},
      p.massive);
}

Table CancellationTable(const Phenomena& p) {
  using C = CancellingAdd;
  return MakeTable("cancellations", "How much every residual add cancels.",
                   Fields<C>{{"layer", "Layer", kNo, "From 1.", &C::layer},
                             {"op", "Add", kNo, "Its name.",
                              [](const C& c) { return OpName(c.op); }},
                             {"ratio", "Cancels", Unit::kRatio,
                              "(|x| + |u|) / |x + u|.", &C::ratio},
                             {"std_before", "Std before", Unit::kActivation,
                              "Of the stream, x.", &C::std_before},
                             {"std_after", "Std after", Unit::kActivation,
                              "Of the stream, x + u.", &C::std_after}},
                   p.cancellations);
}

Table ConcentrationTable(const Phenomena& p) {
  using C = Concentration;
  return MakeTable(
      "concentrations", "How the squared error is spread over channels.",
      Fields<C>{
          {"layer", "Layer", kNo, "After it; 0: the embedding.", &C::layer},
          {"channel", "Channel", kNo, "With the most.", &C::channel},
          {"top1", "Top 1", Unit::kShare, "Its share.", &C::top1},
          {"top8", "Top 8", Unit::kShare, "That of the eight with most.",
           &C::top8}},
      p.concentrations);
}

Table BiasTable(const Phenomena& p) {
  using B = Bias;
  return MakeTable(
      "biases", "Whether the stream's errors have a sign.",
      Fields<B>{
          {"layer", "Layer", kNo, "After it; 0: the embedding.", &B::layer},
          {"mean", "Mean", Unit::kActivation, "Of the error.", &B::mean},
          {"rms", "RMS", Unit::kActivation, "Of the error.", &B::rms},
          {"z", "z", kNo, "Of the mean, in standard errors.", &B::z},
          {"positive", "Positive", kNo, "Channels.", &B::positive},
          {"negative", "Negative", kNo, "Channels.", &B::negative},
          {"z_signs", "z of signs", kNo, "Of a fair coin.", &B::z_signs}},
      p.biases);
}

Table HeadroomTable(const Phenomena& p) {
  using H = Headroom;
  Fields<H> fields = {
      {"layer", "Layer", kNo, "0: in no layer.", &H::layer},
      {"op", "Op", kNo, "Its name.", [](const H& h) { return OpName(h.op); }},
      {"largest", "Largest", kNo, "Magnitude of its outputs.",
       [](const H& h) { return h.range.largest; }},
      {"smallest", "Smallest", kNo, "The same, not 0.",
       [](const H& h) { return h.range.smallest; }}};
  const auto add = [&fields](const char* format,
                             FormatFit (OutputRange::*fit)() const) {
    fields.emplace_back(
        absl::StrCat(format, "_headroom_bits"), "", Unit::kBits,
        "Powers of 2 between the largest and overflow.",
        [fit](const H& h) { return (h.range.*fit)().headroom; });
    fields.emplace_back(
        absl::StrCat(format, "_underflow"), "", Unit::kShare,
        "Outputs below the smallest normal number.",
        [fit](const H& h) { return (h.range.*fit)().underflow; });
  };
  add("f16", &OutputRange::F16);
  add("bf16", &OutputRange::BF16);
  add("f32", &OutputRange::F32);
  return MakeTable("headrooms", "The range of every op's outputs.", fields,
                   p.headrooms);
}

Table LargeScoreTable(const Phenomena& p) {
  using S = LargeScore;
  return MakeTable(
      "large_scores",
      "The reference's largest attention score of every head, and what the "
      "plan's format of scores makes of it.",
      Fields<S>{
          {"layer", "Layer", kNo, "From 1.", &S::layer},
          {"head", "Head", kNo, "From 0.", &S::head},
          {"position", "Position", kNo,
           "Of the query; not the first, whose softmax is 1 whatever the score "
           "is.",
           &S::position},
          {"key_position", "Key at", kNo, "Of the key.", &S::key_position},
          {"score", "Score", kNo,
           "The largest in magnitude, signed, after scaling.", &S::score},
          {"weight", "Weight", Unit::kShare, "Its softmax weight.", &S::weight},
          {"format", "Held in", kNo,
           "What holds scores between the product and the softmax under the "
           "plan: the coarser of what qk writes and softmax reads; of a fused "
           "attention, its accumulators.",
           [](const S& s) { return FormatName(s.format); }},
          {"spacing", "Spacing", kNo,
           "Of that format at the score, infinite where it overflows; null of "
           "a score that is NaN or infinite.",
           &S::spacing},
          {"rounding_factor", "Half of it", Unit::kRatio,
           "By which a weight can be wrong if its score is by half a spacing, "
           "as one rounding to nearest makes it: e^(spacing / 2).",
           &S::rounding_factor},
          {"weight_factor", "All of it", Unit::kRatio,
           "The same by a whole spacing: e^spacing.", &S::weight_factor}},
      p.large_scores);
}

Table SinkTable(const Phenomena& p) {
  using S = AttentionSink;
  return MakeTable(
      "attention_sinks",
      "Heads of the reference whose weights mostly go to one position.",
      Fields<S>{
          {"layer", "Layer", kNo, "From 1.", &S::layer},
          {"head", "Head", kNo, "From 0.", &S::head},
          {"key_position", "Key at", kNo, "That position.", &S::key_position},
          {"queries", "Queries", kNo, "The positions behind it.", &S::queries},
          {"mean_weight", "Mean weight", Unit::kShare, "Over these.",
           &S::mean_weight}},
      p.sinks);
}

Table MovedWeightTable(const Phenomena& p) {
  using M = MovedWeight;
  return MakeTable(
      "moved_weights",
      "The softmax weight of every head that differs most between the runs.",
      Fields<M>{
          {"layer", "Layer", kNo, "From 1.", &M::layer},
          {"head", "Head", kNo, "From 0.", &M::head},
          {"position", "Position", kNo, "Of the query.", &M::position},
          {"key_position", "Key at", kNo, "Of the key.", &M::key_position},
          {"reference", "Reference", Unit::kShare, "The weight there.",
           &M::reference},
          {"plan_weight", "Plan", Unit::kShare, "The weight under the plan.",
           &M::plan}},
      p.moved_weights);
}

Table FlipTable(const Phenomena& p) {
  using F = FlippedActivation;
  return MakeTable(
      "flips", "Massive activations that one of the two runs has.",
      Fields<F>{
          {"channel", "Channel", kNo, "From 0.", &F::channel},
          {"position", "Position", kNo, "Where.", &F::position},
          {"born", "Born", kNo, "The layer that makes it.", &F::born},
          {"in_plan", "In the plan", kNo,
           "Whether the plan's run has it, and not the reference's.",
           &F::in_plan},
          {"value", "Value", kNo, "The largest, signed.", &F::value},
          {"value_layer", "After layer", kNo, "Where it is that.",
           &F::value_layer},
          {"other", "Other", kNo, "What the other run has there.", &F::other}},
      p.flips);
}

Table NearTieTable(const Phenomena& p) {
  using N = NearTie;
  return MakeTable(
      "near_ties",
      "Positions whose most likely token the error changes, or nearly does.",
      Fields<N>{
          {"position", "Position", kNo, "Of the prompt.", &N::position},
          {"next_token", "Token", kNo, "The reference's most likely.",
           &N::token},
          {"rival", "Rival", kNo,
           "The plan's most likely if it is another one, else the reference's "
           "second.",
           &N::rival},
          {"margin", "Margin", kNo, "Of their logits, in the reference.",
           &N::margin},
          {"margin_error", "Error", kNo, "By how much less the plan has.",
           &N::error},
          {"changes", "Changes", kNo,
           "Whether the plan's most likely token is another one.", &N::flips}},
      p.near_ties);
}

using Broken = std::pair<const char*, const Breakdown*>;

Table BreakdownTable(const Phenomena& p, bool reference_is_oracle) {
  std::vector<Broken> broken;
  const auto add = [&broken](const char* whose, const auto& b) {
    if (b.has_value()) broken.emplace_back(whose, &*b);
  };
  add(reference_is_oracle ? "oracle" : "reference", p.reference_breakdown);
  add("plan", p.plan_breakdown);
  return MakeTable(
      "breakdowns", "The first output that is NaN or infinite.",
      Fields<Broken>{{"whose", "Of", kNo,
                      "\"oracle\", \"reference\" (another one) or \"plan\".",
                      [](const Broken& b) { return std::string(b.first); }},
                     {"layer", "Layer", kNo, "0: in no layer.",
                      [](const Broken& b) { return b.second->layer; }},
                     {"op", "Op", kNo, "Its name.",
                      [](const Broken& b) { return OpName(b.second->op); }},
                     {"position", "Position", kNo, "Of the prompt.",
                      [](const Broken& b) { return b.second->position; }},
                     {"element", "Element", kNo, "Of that position's outputs.",
                      [](const Broken& b) { return b.second->element; }},
                     {"value", "Value", kNo, "What it is.",
                      [](const Broken& b) { return b.second->value; }}},
      broken);
}

}  // namespace

std::vector<Table> PhenomenaTables(const Phenomena& p,
                                   bool reference_is_oracle) {
  using N = NamedPhenomenon;
  return {
      MakeTable(
          "phenomena", "What is peculiar, in the order of layers.",
          Fields<N>{
              {"kind", "Kind", kNo, "Its name.",
               [](const N& n) { return std::string(n.kind); }},
              {"layer", "Layer", kNo, "The first one.", &N::layer},
              {"last_layer", "To", kNo, "Of these in a row.", &N::last_layer},
              {"op", "Op", kNo, "Of the stream: the add before.",
               [](const N& n) { return OpName(n.op); }},
              {"channel", "Channel", kNo, "If it is of one.", &N::channel},
              {"figure", "Figure", kNo, "What `text` says.", &N::figure},
              {"text", "What", kNo, "What that is.",
               [](const N& n) { return std::string(n.text); }}},
          NamesOf(p, reference_is_oracle)),
      MassiveTable(p),
      CancellationTable(p),
      ConcentrationTable(p),
      BiasTable(p),
      HeadroomTable(p),
      LargeScoreTable(p),
      SinkTable(p),
      MovedWeightTable(p),
      FlipTable(p),
      NearTieTable(p),
      BreakdownTable(p, reference_is_oracle)};
}

}  // namespace ulpscope
