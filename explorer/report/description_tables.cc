#include "explorer/report/description_tables.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/description_text.h"
#include "explorer/results/schema.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Unit kNone = Unit::kNone;

using P = PointDescription;
using Text = std::optional<std::string>;

// A point's description, and the point.
struct Described {
  const PointDescription& description;
  const PointResult& point;
};

Field<P> Ranges(const char* name, const char* title, const char* about,
                IndexRanges P::*ranges) {
  return {name, title, kNone, about,
          [ranges](const P& p) { return RangesText(p.*ranges); }};
}

std::vector<std::string> OpNames(const std::vector<Op>& ops) {
  std::vector<std::string> names;
  for (const Op op : ops) names.emplace_back(OpName(op));
  return names;
}

Fields<P> ValueFields() {
  Fields<P> fields = {
      {"status", "Status", kNone,
       "\"unexplained\", \"without_effect\" (the results are right), "
       "\"not_reproduced\" (within rounding), or "
       "\"explained\" by causes: then it is described without them.",
       [](const P& p) { return DescribedAsName(p.status); }},
      Ranges("layers", "Layers", "In which the op is in the same case.",
             &P::layers),
      {"place", "Where", kNone, "Where the difference is.",
       [](const P& p) { return PlaceText(p.origin); }},
      {"ops_to_dump", "", kNone,
       "Ops before it that are not traced, one of which may have made it.",
       [](const P& p) { return OpNames(p.origin.unseen); }},
      {"positions_described", "", kNone, "Positions that were looked at.",
       &P::positions},
      Ranges("positions_that_differ", "Positions that differ",
             "By more than rounding explains of each.",
             &P::positions_that_differ),
      Ranges("positions_that_agree", "Positions that agree", "The others.",
             &P::positions_that_agree),
      Ranges("positions_same_bits", "",
             "Of these, the ones with the same bits.", &P::positions_same_bits),
      Ranges("heads_that_differ", "Heads that differ",
             "In positions that differ; of rope's queries.",
             &P::heads_that_differ),
      Ranges("heads_that_agree", "", "The others.", &P::heads_that_agree),
      Ranges("kv_heads_that_differ", "", "Heads of rope's keys.",
             &P::kv_heads_that_differ),
      Ranges("kv_heads_that_agree", "", "The others.", &P::kv_heads_that_agree),
      Ranges("channels_that_differ", "Channels that differ",
             "In positions that differ; of scores, positions that are seen.",
             &P::channels_that_differ),
      Ranges("channels_that_agree", "", "The others.", &P::channels_that_agree),
      {"nonfinite", "", kNone, "Elements of the trace that are not finite.",
       &P::nonfinite},
      {"ours_nonfinite", "", kNone, "The same of the replay.",
       &P::ours_nonfinite},
      {"best_factor", "", Unit::kRatio,
       "Times which ours is nearest to the trace, in positions that differ.",
       &P::best_factor},
      {"cosine", "Cosine", kNone, "Of the trace and ours, there.", &P::cosine},
      {"constant_factor", "Factor", Unit::kRatio,
       "One that explains all of the difference.", &P::constant_factor}};
  fields.emplace_back(
      "constant_vector_in_all_rows", "Same vector in all rows", kNone,
      "The bias that the difference is in all rows, or \"no bias\".",
      [](const P& p) -> Text {
        if (!p.constant_vector.has_value()) return std::nullopt;
        const std::string& tensor = p.constant_vector->tensor;
        return tensor.empty() ? "no bias" : tensor;
      });
  const Fields<ConstantVector> vector = {
      {"sign", "", kNone, "-1: that bias is left out; 1: it is added twice.",
       &ConstantVector::sign},
      {"size", "", Unit::kRelative, "Its 2-norm by a row's of the trace.",
       &ConstantVector::size}};
  AppendPart(fields, "constant_vector_", vector, true, [](const P& p) {
    return p.constant_vector.has_value() ? &*p.constant_vector : nullptr;
  });
  fields.emplace_back(
      "same_values_in_another_order", "Another order", kNone,
      "\"neighbours\" (i and i + d / 2 of a head of d stand together), "
      "\"halves\" (the way back), \"halves_swapped\", \"reversed\", "
      "\"transposed_heads\", \"transposed_back\", \"heads\" or \"other\".",
      [](const P& p) -> Text {
        if (!p.order.has_value()) return std::nullopt;
        return std::string(OrderName(p.order->kind));
      });
  const Fields<ValueOrder> order = {
      {"heads", "", kNone, "That it is of; 0 where that is not known.",
       &ValueOrder::heads},
      {"right_heads", "", kNone, "Whether the tensor has so many.",
       &ValueOrder::right_heads},
      {"moved", "", kNone, "Channels that are elsewhere.", &ValueOrder::moved}};
  AppendPart(fields, "order_", order, true, [](const P& p) {
    return p.order.has_value() ? &*p.order : nullptr;
  });
  fields.emplace_back(
      "consistent_with_neighbours", "", kNone,
      "Of queries and keys in another order: whether it is what RoPE that "
      "rotates neighbours needs.",
      [](const P& p) {
        return p.order.has_value() ? p.order->consistent_with_neighbours
                                   : std::nullopt;
      });
  fields.emplace_back("position_shift", "", kNone,
                      "Row p has the values of position p + this.",
                      &P::position_shift);
  fields.emplace_back("of_layer", "", kNone,
                      "The values are those of the op in this layer.",
                      &P::of_layer);
  fields.emplace_back("one_factor_per_row", "One factor per row", kNone,
                      "Whether a factor of each row explains the difference.",
                      [](const P& p) { return p.row_factors.has_value(); });
  using F = RowFactors;
  const Fields<F> factors = {
      {"of_heads", "", kNone, "Whether rows are heads of a position.",
       &F::of_heads},
      {"rows", "", kNone, "That have one.", &F::rows},
      {"least", "", Unit::kRatio, "The least factor.", &F::least},
      {"largest", "", Unit::kRatio, "The largest.", &F::largest},
      {"identical", "", Unit::kShare,
       "Elements whose bits they give, within rounding.", &F::identical},
      {"identical_without", "", Unit::kShare, "The same without them.",
       &F::identical_without},
      {"inverse_rms", "", kNone,
       "The format that 1 / rms was rounded to, if that is what they are.",
       [](const F& f) -> Text {
         if (!f.inverse_rms.has_value()) return std::nullopt;
         return FormatName(*f.inverse_rms);
       }}};
  AppendPart(fields, "factor_", factors, true, [](const P& p) {
    return p.row_factors.has_value() ? &*p.row_factors : nullptr;
  });
  return fields;
}

Fields<Described> DescribedFields() {
  using D = Described;
  Fields<D> fields = {{"layer", "Layer", kNone, "0 for ops in no layer.",
                       [](const D& d) { return d.point.layer; }},
                      {"op", "Op", kNone, "Whose output it is.",
                       [](const D& d) { return OpName(d.point.op); }},
                      {"point", "", kNone, "Its index in points.",
                       [](const D& d) { return d.description.point; }}};
  AppendPart(fields, "", ValueFields(), false,
             [](const D& d) { return &d.description; });
  return fields;
}

// The first values that are not finite, and whose they are.
struct Side {
  absl::string_view whose;
  const FirstNonFinite& n;
};

Fields<Side> NonFiniteFields() {
  using S = Side;
  const auto ranges = [](const char* name, const char* title, const char* about,
                         IndexRanges FirstNonFinite::*of) {
    return Field<S>(name, title, kNone, about,
                    [of](const S& s) { return RangesText(s.n.*of); });
  };
  return {
      {"whose", "Whose", kNone, "\"trace\" or \"ours\".",
       [](const S& s) { return s.whose; }},
      {"first_nonfinite", "First in", kNone,
       "op@layer, \"layer N\" or \"model\" where several may be.",
       [](const S& s) { return ShortPlace(s.n.origin); }},
      {"place", "", kNone, "The same in words.",
       [](const S& s) { return PlaceText(s.n.origin); }},
      {"layer", "", kNone, "Of the tensor that has them.",
       [](const S& s) { return s.n.origin.layer; }},
      {"op", "", kNone, "The same.",
       [](const S& s) { return OpName(s.n.origin.op); }},
      ranges("positions_nonfinite", "Positions", "That have any.",
             &FirstNonFinite::positions),
      ranges("heads_nonfinite", "Heads", "The same.", &FirstNonFinite::heads),
      ranges("channels_nonfinite", "Channels", "The same.",
             &FirstNonFinite::channels),
      {"nonfinite", "Values", kNone, "These values.",
       [](const S& s) { return s.n.elements; }},
      {"nan", "NaN", kNone, "Of these, NaN.",
       [](const S& s) { return s.n.nan; }},
      {"elements", "", kNone, "That the tensor has.",
       [](const S& s) { return s.n.of; }},
      {"because", "Because", kNone, "Why, in words; empty: not known.",
       [](const S& s) { return Because(s.n); }},
      {"reason", "", kNone,
       "\"overflow\", \"intermediate_overflow\", \"inf_minus_inf\", "
       "\"zero_by_zero\", \"sees_nothing\" or \"unknown\".",
       [](const S& s) { return ReasonName(s.n.reason); }},
      {"format", "", kNone, "That the op's results are in.",
       [](const S& s) { return FormatName(s.n.format); }},
      {"largest", "Largest", Unit::kActivation, "That the format has.",
       [](const S& s) { return s.n.largest; }},
      {"magnitude", "In f64", Unit::kActivation,
       "The largest that the oracle has where it is not finite; of an "
       "intermediate result where that is the reason.",
       [](const S& s) { return s.n.magnitude; }},
      {"emulated", "", kNone,
       "Whether a replay of the arithmetic is not finite there either.",
       [](const S& s) { return s.n.emulated; }},
      {"emulation_first", "Replay first in", kNone,
       "The op in which that is so first: op@layer.", [](const S& s) -> Text {
         if (!s.n.emulated_op.has_value()) return std::nullopt;
         Origin at;
         at.layer = s.n.emulated_layer.value_or(0);
         at.op = *s.n.emulated_op;
         return ShortPlace(at);
       }}};
}

}  // namespace

std::vector<Table> DescriptionTables(const Diagnosis& d) {
  std::vector<Described> described;
  for (const PointDescription& description : d.descriptions) {
    described.push_back({description, d.points[description.point]});
  }
  std::vector<Side> sides;
  if (d.trace_first_nonfinite.has_value()) {
    sides.push_back({"trace", *d.trace_first_nonfinite});
  }
  if (d.ours_first_nonfinite.has_value()) {
    sides.push_back({"ours", *d.ours_first_nonfinite});
  }
  const Fields<FiniteValues> finite = {
      {"values", "", kNone, "Of the trace.", &FiniteValues::values},
      {"finite", "", kNone, "Of these, finite.", &FiniteValues::finite},
      {"judged", "", kNone, "Of these, of points that are judged.",
       &FiniteValues::judged}};
  return {MakeTable("descriptions",
                    "Points that differ, beside a replay from the trace's own "
                    "values: of every op the first.",
                    DescribedFields(), described),
          MakeTable("not_finite", "The first values that are not finite.",
                    NonFiniteFields(), sides),
          MakeSingle("finite_values", "How many values are finite.", finite,
                     &d.finite_values)};
}

}  // namespace ulpscope
