#include "explorer/report/description_text.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/figures.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

// Ranges that are listed, and ops that are.
constexpr size_t kMostRanges = 8;
constexpr size_t kMostOps = 6;

std::string LayersText(size_t first, size_t last) {
  return first == last ? absl::StrCat("layer ", first)
                       : absl::StrCat("layers ", first, "-", last);
}

size_t CountOf(const IndexRanges& ranges) {
  size_t count = 0;
  for (const IndexRange& range : ranges) count += range.last - range.first + 1;
  return count;
}

// "position 3", "heads 0-2, 5"
std::string Named(absl::string_view noun, const IndexRanges& ranges) {
  return absl::StrCat(noun, CountOf(ranges) == 1 ? " " : "s ",
                      RangesText(ranges));
}

// The smaller of the two halves, if there are both.
void AddPart(absl::string_view noun, const IndexRanges& differ,
             const IndexRanges& agree, std::vector<std::string>& said) {
  if (differ.empty() || agree.empty()) return;
  said.push_back(absl::StrCat(
      Named(noun, differ), CountOf(differ) == 1 ? " differs, " : " differ, ",
      Named(noun, agree), CountOf(agree) == 1 ? " agrees" : " agree"));
}

std::string OrderText(const ValueOrder& order) {
  const auto of_heads = [&](absl::string_view what) {
    return absl::StrFormat("%s, as of %d heads%s", what, order.heads,
                           order.right_heads ? "" : ", which it has not");
  };
  std::string text;
  switch (order.kind) {
    case OrderKind::kNeighbours:
      text = of_heads("halves of each head interleaved to neighbours");
      break;
    case OrderKind::kHalves:
      text = of_heads("neighbours of each head taken apart to halves");
      break;
    case OrderKind::kHalvesSwapped:
      text = of_heads("the halves of each head swapped");
      break;
    case OrderKind::kReversed:
      text = of_heads("each head reversed");
      break;
    case OrderKind::kTransposedHeads:
      text = of_heads("[heads, channels] transposed");
      break;
    case OrderKind::kTransposedBack:
      text = of_heads("[channels, heads] transposed");
      break;
    case OrderKind::kHeads:
      text = "whole heads in another order";
      break;
    case OrderKind::kOther:
      text = absl::StrCat(order.moved, " channels are elsewhere");
      break;
  }
  if (order.consistent_with_neighbours.has_value()) {
    absl::StrAppend(&text,
                    *order.consistent_with_neighbours
                        ? ", as RoPE of neighbours needs it"
                        : ", which is not what RoPE of neighbours needs");
  }
  return text;
}

std::string VectorText(const ConstantVector& vector) {
  std::string text = "the difference is the same vector in all rows";
  if (vector.tensor.empty()) {
    return absl::StrCat(text, ", of ", Number(vector.size),
                        " times their size, and of no bias");
  }
  return absl::StrCat(text, ": `", vector.tensor,
                      vector.sign < 0 ? "` is left out" : "` is added twice");
}

std::string FactorsText(const RowFactors& factors) {
  std::string text = absl::StrFormat(
      "one factor per %s makes theirs of ours, from %.6g to %.6g",
      factors.of_heads ? "head of a row" : "row", factors.least,
      factors.largest);
  if (factors.identical.has_value()) {
    absl::StrAppend(&text, ", and gives ", Percent(*factors.identical),
                    " their bits (without ",
                    Percent(factors.identical_without.value_or(0)), ")");
  }
  if (factors.inverse_rms.has_value()) {
    absl::StrAppend(&text, ": 1 / rms rounded to ",
                    FormatName(*factors.inverse_rms));
  }
  return text;
}

}  // namespace

std::string RangesText(const IndexRanges& ranges) {
  std::vector<std::string> parts;
  for (const IndexRange& range : ranges) {
    if (parts.size() == kMostRanges) {
      parts.push_back(
          absl::StrCat("and ", ranges.size() - kMostRanges, " more"));
      break;
    }
    parts.push_back(range.first == range.last
                        ? absl::StrCat(range.first)
                        : absl::StrCat(range.first, "-", range.last));
  }
  return absl::StrJoin(parts, ", ");
}

std::string ShortPlace(const Origin& origin) {
  if (origin.whole_model) return "model";
  if (origin.unseen.empty()) {
    return absl::StrCat(OpName(origin.op), "@", origin.layer);
  }
  return LayersText(origin.first_layer, origin.last_layer);
}

std::string PlaceText(const Origin& origin) {
  if (origin.unseen.empty()) {
    return IsPerLayer(origin.op) ? absl::StrCat("op ", OpName(origin.op),
                                                " of layer ", origin.layer)
                                 : absl::StrCat("op ", OpName(origin.op));
  }
  const std::string layers =
      origin.whole_model ? "the model"
                         : LayersText(origin.first_layer, origin.last_layer);
  if (origin.whole_layers || origin.unseen.size() > kMostOps) {
    return absl::StrCat("one of the ops of ", layers, ", ",
                        origin.whole_layers ? "none" : "most",
                        " of which is traced");
  }
  std::vector<absl::string_view> ops;
  for (const Op op : origin.unseen) ops.push_back(OpName(op));
  return absl::StrCat(absl::StrJoin(ops, ", "), " or ", OpName(origin.op),
                      " of ", layers, ", of which only the last is traced");
}

absl::string_view DescribedAsName(DescribedAs status) {
  switch (status) {
    case DescribedAs::kUnexplained:
      return "unexplained";
    case DescribedAs::kNotReproduced:
      return "not_reproduced";
    case DescribedAs::kWithoutEffect:
      return "without_effect";
    case DescribedAs::kExplained:
      break;
  }
  return "explained";
}

absl::string_view OrderName(OrderKind kind) {
  switch (kind) {
    case OrderKind::kNeighbours:
      return "neighbours";
    case OrderKind::kHalves:
      return "halves";
    case OrderKind::kHalvesSwapped:
      return "halves_swapped";
    case OrderKind::kReversed:
      return "reversed";
    case OrderKind::kTransposedHeads:
      return "transposed_heads";
    case OrderKind::kTransposedBack:
      return "transposed_back";
    case OrderKind::kHeads:
      return "heads";
    case OrderKind::kOther:
      break;
  }
  return "other";
}

absl::string_view ReasonName(NonFiniteReason reason) {
  switch (reason) {
    case NonFiniteReason::kOverflow:
      return "overflow";
    case NonFiniteReason::kIntermediate:
      return "intermediate_overflow";
    case NonFiniteReason::kInfMinusInf:
      return "inf_minus_inf";
    case NonFiniteReason::kZeroByZero:
      return "zero_by_zero";
    case NonFiniteReason::kSeesNothing:
      return "sees_nothing";
    case NonFiniteReason::kUnknown:
      break;
  }
  return "unknown";
}

std::string Because(const FirstNonFinite& nonfinite) {
  switch (nonfinite.reason) {
    case NonFiniteReason::kOverflow:
    case NonFiniteReason::kIntermediate:
      return absl::StrFormat("%s ends at %.6g", FormatName(nonfinite.format),
                             nonfinite.largest);
    case NonFiniteReason::kInfMinusInf:
      return "inf - inf";
    case NonFiniteReason::kZeroByZero:
      return "0 / 0";
    case NonFiniteReason::kSeesNothing:
      return "rows that see nothing: their mask is -inf throughout";
    case NonFiniteReason::kUnknown:
      break;
  }
  return "";
}

std::string NonFiniteSentence(absl::string_view whose,
                              const FirstNonFinite& n) {
  std::vector<std::string> where;
  if (!n.positions.empty()) where.push_back(Named("position", n.positions));
  if (!n.heads.empty()) where.push_back(Named("head", n.heads));
  if (!n.channels.empty()) where.push_back(Named("channel", n.channels));
  std::string text = absl::StrFormat(
      "The first values of %s that are not finite: %d of %d (%d NaN) in "
      "%s%s%s.",
      whose, n.elements, n.of, n.nan, PlaceText(n.origin),
      where.empty() ? "" : ", at ", absl::StrJoin(where, ", "));
  const std::string because = Because(n);
  if (!because.empty()) {
    absl::StrAppend(&text, " Reason: ", because);
    if (n.magnitude.has_value()) {
      absl::StrAppendFormat(&text, ", and %s %.3g in f64 there",
                            n.reason == NonFiniteReason::kIntermediate
                                ? "what it is computed from is"
                                : "the number is",
                            *n.magnitude);
    }
    text += ".";
  }
  if (n.emulated && n.emulated_op.has_value() && !n.origin.unseen.empty()) {
    absl::StrAppend(&text, " A replay of the arithmetic is not finite in ",
                    OpName(*n.emulated_op), " of layer ",
                    n.emulated_layer.value_or(0), " first.");
  } else if (!n.emulated) {
    text += " A replay of the arithmetic is finite there.";
  }
  return text;
}

std::string FiniteSentence(const FiniteValues& values) {
  const auto share = [&values](size_t part) {
    return Percent(static_cast<double>(part) /
                   static_cast<double>(std::max<size_t>(1, values.values)));
  };
  return absl::StrCat("Of the trace's values ", share(values.finite),
                      " are finite, and ", share(values.judged),
                      " are finite and judged.");
}

std::string DescriptionSentence(const Diagnosis& d, const PointDescription& p) {
  const PointResult& point = d.points[p.point];
  std::vector<std::string> said;
  AddPart("position", p.positions_that_differ, p.positions_that_agree, said);
  AddPart("head", p.heads_that_differ, p.heads_that_agree, said);
  AddPart("KV head", p.kv_heads_that_differ, p.kv_heads_that_agree, said);
  // In another order most of them differ, here and there.
  if (p.channels_that_differ.size() <= kMostRanges && !p.order.has_value()) {
    AddPart("channel", p.channels_that_differ, p.channels_that_agree, said);
  }
  if (p.nonfinite > 0) {
    said.push_back(absl::StrCat(p.nonfinite, " values are not finite"));
  }
  if (p.constant_factor.has_value()) {
    said.push_back(absl::StrFormat("theirs is %.10g times ours (cosine %.6g)",
                                   *p.constant_factor, p.cosine.value_or(0)));
  }
  if (p.constant_vector.has_value()) {
    said.push_back(VectorText(*p.constant_vector));
  }
  if (p.order.has_value()) {
    said.push_back(absl::StrCat("the same values in another order: ",
                                OrderText(*p.order)));
  }
  if (p.position_shift.has_value()) {
    said.push_back(
        absl::StrFormat("rows are ours %d %s", std::abs(*p.position_shift),
                        *p.position_shift > 0 ? "later" : "earlier"));
  }
  if (p.of_layer.has_value()) {
    said.push_back(absl::StrCat("the values are those of layer ", *p.of_layer));
  }
  if (p.row_factors.has_value()) said.push_back(FactorsText(*p.row_factors));
  const bool known = p.constant_factor.has_value() ||
                     p.constant_vector.has_value() || p.order.has_value() ||
                     p.position_shift.has_value() || p.of_layer.has_value() ||
                     p.row_factors.has_value();
  if (!known && p.cosine.has_value() && p.best_factor.has_value()) {
    said.push_back(
        absl::StrFormat("theirs is nearest to %.4g times ours (cosine %.4g)",
                        *p.best_factor, *p.cosine));
  }
  std::string text = absl::StrCat(
      "Description of ", OpName(point.op),
      point.layer > 0 ? absl::StrCat(" in layer ", point.layer) : "", " (",
      p.status == DescribedAs::kNotReproduced   ? "not bit for bit"
      : p.status == DescribedAs::kWithoutEffect ? "without effect"
                                                : DescribedAsName(p.status),
      CountOf(p.layers) > 1
          ? absl::StrCat("; the same in layers ", RangesText(p.layers))
          : "",
      "): ", said.empty() ? "nothing stands out" : absl::StrJoin(said, "; "),
      ".");
  if (!p.origin.unseen.empty()) {
    absl::StrAppend(&text, " It is somewhere in ",
                    p.origin.whole_model
                        ? "the model"
                        : LayersText(p.origin.first_layer, p.origin.last_layer),
                    ": dump ");
    std::vector<absl::string_view> ops;
    for (const Op op : p.origin.unseen) {
      if (ops.size() == kMostOps) break;
      ops.push_back(OpName(op));
    }
    absl::StrAppend(
        &text, absl::StrJoin(ops, ", "),
        ops.size() < p.origin.unseen.size() ? " and the other ops" : "",
        " there.");
  }
  return text;
}

}  // namespace ulpscope
