#include "explorer/diagnosis/point_description.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/row_factors.h"
#include "explorer/diagnosis/value_order.h"
#include "kernels/base/format.h"
#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

// Kinds of things that are said of a point.
constexpr double kThings = 16;

// Some of the elements, and of these the ones that do not stand out: both have
// to agree, as a norm sees nothing beside what stands out.
struct Agreements {
  Agreement all, usual;

  void Add(const ComparedValues& v, size_t at) {
    if (!v.Counts(at)) return;
    all.Add(v.theirs[at], v.ours[at], v.noise[at]);
    if (v.outstanding.empty() || v.outstanding[at]) return;
    usual.Add(v.theirs[at], v.ours[at], v.noise[at]);
  }
  bool Agrees() const { return all.Agrees() && usual.Agrees(); }
};

// The rows of the positions that differ, or all rows if none does alone.
std::vector<size_t> DifferingRows(const ComparedValues& v,
                                  PointDescription& d) {
  const size_t positions = v.positions();
  std::vector<Agreements> of(positions);
  for (size_t r = 0; r < v.rows; ++r) {
    for (size_t c = 0; c < v.cols; ++c) {
      of[v.PositionOfRow(r)].Add(v, v.At(r, c));
    }
  }
  std::vector<bool> agree(positions), differ(positions), same(positions);
  for (size_t p = 0; p < positions; ++p) {
    agree[p] = of[p].Agrees();
    differ[p] = !agree[p];
    same[p] = of[p].all.is_identical();
  }
  d.positions = positions;
  d.positions_that_agree = RangesOf(agree, v.first_position);
  d.positions_that_differ = RangesOf(differ, v.first_position);
  d.positions_same_bits = RangesOf(same, v.first_position);
  std::vector<size_t> rows;
  for (size_t r = 0; r < v.rows; ++r) {
    if (d.positions_that_differ.empty() || differ[v.PositionOfRow(r)]) {
      rows.push_back(r);
    }
  }
  return rows;
}

void Divide(const std::vector<Agreements>& of, IndexRanges& agreeing,
            IndexRanges& differing) {
  std::vector<bool> agree, differ;
  for (const Agreements& one : of) {
    agree.push_back(one.Agrees());
    differ.push_back(!agree.back());
  }
  agreeing = RangesOf(agree);
  differing = RangesOf(differ);
}

void DescribeParts(const ComparedValues& v, const std::vector<size_t>& rows,
                   PointDescription& d) {
  const size_t queries = v.score_heads > 0   ? v.score_heads
                         : v.query_heads > 0 ? v.query_heads
                                             : v.kv_heads;
  std::vector<Agreements> heads(queries), channels(v.cols);
  std::vector<Agreements> kv_heads(
      v.score_heads == 0 && v.query_heads > 0 ? v.kv_heads : 0);
  for (const size_t r : rows) {
    for (size_t c = 0; c < v.cols; ++c) {
      const size_t at = v.At(r, c);
      channels[c].Add(v, at);
      if (v.score_heads > 0) {
        heads[r / v.positions()].Add(v, at);
      } else if (v.head_dim > 0) {
        const size_t head = c / v.head_dim;
        (head < queries ? heads[head] : kv_heads[head - queries]).Add(v, at);
      }
    }
  }
  Divide(heads, d.heads_that_agree, d.heads_that_differ);
  Divide(kv_heads, d.kv_heads_that_agree, d.kv_heads_that_differ);
  Divide(channels, d.channels_that_agree, d.channels_that_differ);
}

// Sums over what is finite on both sides.
struct Products {
  double theirs = 0, ours = 0, both = 0;
};

Products ProductsOf(const ComparedValues& v, const std::vector<size_t>& rows) {
  Products sums;
  for (const size_t r : rows) {
    for (size_t c = 0; c < v.cols; ++c) {
      const size_t at = v.At(r, c);
      const double x = v.theirs[at], y = v.ours[at];
      if (!v.Counts(at) || !std::isfinite(x) || !std::isfinite(y)) continue;
      sums.theirs += x * x;
      sums.ours += y * y;
      sums.both += x * y;
    }
  }
  return sums;
}

// As ours is, or would be with another value in its place.
template <typename Ours>  // (index) -> {value, noise}
Agreement AgreementWith(const ComparedValues& v,
                        const std::vector<size_t>& rows, const Ours& ours) {
  Agreement agreement;
  for (const size_t r : rows) {
    for (size_t c = 0; c < v.cols; ++c) {
      const size_t at = v.At(r, c);
      if (!v.Counts(at)) continue;
      const auto [value, noise] = ours(r, c);
      agreement.Add(v.theirs[at], value, noise);
    }
  }
  return agreement;
}

struct Value {
  double value, noise;
};

// Whether something without a parameter explains what is left otherwise.
bool Explains(const Agreement& with, const Agreement& without) {
  return with.Agrees() && without.squares() > 0 &&
         IsBeyondChance(LogChance(with.squares() / without.squares(),
                                  without.independent(), 0),
                        kThings);
}

// The decimal number of the fewest digits within `error` of x.
double Shortest(double x, double error) {
  if (x == 0 || !(error > 0)) return x;
  const int last = static_cast<int>(std::ceil(-std::log10(error)));
  for (int digits = last - 18; digits < last; ++digits) {
    const double unit = std::pow(10, std::abs(digits));
    const double rounded =
        digits < 0 ? std::round(x / unit) * unit : std::round(x * unit) / unit;
    if (rounded != 0 && std::fabs(rounded - x) <= error) return rounded;
  }
  return x;
}

// One factor of all elements. Theirs is as exact as ours, so its noise is of
// its own size.
std::optional<double> ConstantFactor(const ComparedValues& v,
                                     const std::vector<size_t>& rows,
                                     double factor, const Agreement& as_is) {
  const Agreement with = AgreementWith(v, rows, [&](size_t r, size_t c) {
    const size_t at = v.At(r, c);
    return Value{factor * v.ours[at], factor * factor * v.noise[at]};
  });
  if (!with.Agrees() || as_is.squares() == 0 ||
      !IsBeyondChance(
          LogChance(with.squares() / as_is.squares(), as_is.independent(), 1),
          kThings)) {
    return std::nullopt;
  }
  const Products sums = ProductsOf(v, rows);
  return Shortest(factor, RatioOrZero(with.Allowed(), std::sqrt(sums.ours)));
}

// Rows that are not within rounding of one before: two of the same token in the
// same context say no more than one.
std::vector<size_t> DistinctRows(const ComparedValues& v,
                                 const std::vector<size_t>& rows) {
  std::vector<size_t> distinct;
  for (const size_t r : rows) {
    const auto same = [&](size_t before) {
      Agreement agreement;
      for (size_t c = 0; c < v.cols; ++c) {
        agreement.Add(v.ours[v.At(r, c)], v.ours[v.At(before, c)],
                      v.noise[v.At(r, c)]);
      }
      return agreement.Agrees();
    };
    if (std::none_of(distinct.begin(), distinct.end(), same)) {
      distinct.push_back(r);
    }
  }
  return distinct;
}

// A vector with a row's share of the noise.
std::vector<double> MeanDifference(const ComparedValues& v,
                                   const std::vector<size_t>& rows) {
  std::vector<double> mean(v.cols);
  for (const size_t r : rows) {
    for (size_t c = 0; c < v.cols; ++c) {
      mean[c] += v.theirs[v.At(r, c)] - v.ours[v.At(r, c)];
    }
  }
  for (double& x : mean) x /= static_cast<double>(rows.size());
  return mean;
}

// Whether theirs - ours is the same in all rows, and not by chance: each
// channel is one direction of as many dimensions as there are rows.
bool IsConstant(const ComparedValues& v, const std::vector<size_t>& rows,
                const std::vector<double>& vector) {
  const std::vector<size_t> distinct = DistinctRows(v, rows);
  if (distinct.size() < 2) return false;
  double log_chance = 0;
  Agreement all;
  for (size_t c = 0; c < v.cols; ++c) {
    Agreement with, without;
    for (const size_t r : distinct) {
      const size_t at = v.At(r, c);
      with.Add(v.theirs[at], v.ours[at] + vector[c], v.noise[at]);
      without.Add(v.theirs[at], v.ours[at], v.noise[at]);
      all.Add(v.theirs[at], v.ours[at] + vector[c], v.noise[at]);
    }
    if (without.Agrees()) continue;
    log_chance +=
        LogChance(with.squares() / without.squares(), without.independent(), 1);
  }
  return all.Agrees() && IsBeyondChance(log_chance, kThings);
}

std::optional<ConstantVector> FindConstantVector(
    const ComparedValues& v, const std::vector<size_t>& rows,
    const std::vector<NamedVector>& vectors, const Agreement& as_is) {
  const double size_of_row =
      std::sqrt(ProductsOf(v, rows).theirs / static_cast<double>(rows.size()));
  for (const NamedVector& named : vectors) {
    for (const int sign : {-1, 1}) {
      const Agreement with = AgreementWith(v, rows, [&](size_t r, size_t c) {
        const size_t at = v.At(r, c);
        return Value{v.ours[at] + sign * (*named.values)[c], v.noise[at]};
      });
      if (Explains(with, as_is)) {
        return ConstantVector{RatioOrZero(Norm2(*named.values), size_of_row),
                              named.name, sign};
      }
    }
  }
  const std::vector<double> mean = MeanDifference(v, rows);
  const double size = Norm2(mean);
  if (!std::isfinite(size) || !IsConstant(v, rows, mean)) return std::nullopt;
  return ConstantVector{RatioOrZero(size, size_of_row), "", 0};
}

// Rows from other positions, as far as there are such.
std::optional<int64_t> FindShift(const ComparedValues& v,
                                 const std::vector<size_t>& rows) {
  const auto count = static_cast<int64_t>(v.rows);
  if (v.score_heads > 0) return std::nullopt;
  for (int64_t size = 1; size < count; ++size) {
    for (const int64_t shift : {-size, size}) {
      Agreement with, without;
      size_t moved = 0;
      for (const size_t r : rows) {
        const int64_t from = static_cast<int64_t>(r) + shift;
        if (from < 0 || from >= count) continue;
        ++moved;
        for (size_t c = 0; c < v.cols; ++c) {
          const size_t at = v.At(static_cast<size_t>(from), c);
          with.Add(v.theirs[v.At(r, c)], v.ours[at], v.noise[at]);
          without.Add(v.theirs[v.At(r, c)], v.ours[v.At(r, c)],
                      v.noise[v.At(r, c)]);
        }
        if (!with.Agrees()) break;
      }
      // A single row may be elsewhere for another reason than a shift.
      const bool enough =
          2 * moved >= rows.size() && moved >= std::min<size_t>(2, rows.size());
      if (enough && Explains(with, without)) return shift;
    }
  }
  return std::nullopt;
}

std::optional<size_t> FindLayer(
    const ComparedValues& v, const std::vector<size_t>& rows,
    const std::vector<DescriptionContext::OtherLayer>& layers,
    const Agreement& as_is) {
  for (const DescriptionContext::OtherLayer& other : layers) {
    if (other.ours.size() != v.ours.size()) continue;
    const Agreement with = AgreementWith(v, rows, [&](size_t r, size_t c) {
      return Value{other.ours[v.At(r, c)], v.noise[v.At(r, c)]};
    });
    if (Explains(with, as_is)) return other.layer;
  }
  return std::nullopt;
}

void DescribeRounded(const ComparedValues& v, const DescriptionContext& context,
                     const std::vector<size_t>& rows, PointDescription& d) {
  if (!Has16Bits(context.result) || v.score_heads > 0) return;
  const bool of_heads = context.rows_are_heads && v.head_dim > 0;
  const std::vector<FactorGroup> groups = GroupsOf(v, rows, of_heads);
  d.row_factors = FindRoundedFactors(v, groups, context.result);
  if (!d.row_factors.has_value()) return;
  d.row_factors->of_heads = of_heads;
  if (context.inverse_rms.size() == groups.size() &&
      AreRounded(v, groups, context.result, context.inverse_rms)) {
    d.row_factors->inverse_rms = context.result;
  }
}

}  // namespace

IndexRanges RangesOf(const std::vector<bool>& set, size_t offset) {
  IndexRanges ranges;
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i]) continue;
    if (i > 0 && set[i - 1]) {
      ranges.back().last = i + offset;
    } else {
      ranges.push_back({i + offset, i + offset});
    }
  }
  return ranges;
}

PointDescription DescribeValues(const ComparedValues& v,
                                const DescriptionContext& context) {
  PointDescription d;
  if (v.rows == 0 || v.cols == 0) return d;
  for (size_t at = 0; at < v.theirs.size(); ++at) {
    if (!v.Counts(at)) continue;
    if (!std::isfinite(v.theirs[at])) ++d.nonfinite;
    if (!std::isfinite(v.ours[at])) ++d.ours_nonfinite;
  }
  const std::vector<size_t> rows = DifferingRows(v, d);
  if (!context.beyond_rounding) {
    DescribeRounded(v, context, rows, d);
    return d;
  }
  DescribeParts(v, rows, d);
  const Products sums = ProductsOf(v, rows);
  if (sums.ours > 0) d.best_factor = sums.both / sums.ours;
  if (sums.ours > 0 && sums.theirs > 0) {
    d.cosine = sums.both / std::sqrt(sums.ours * sums.theirs);
  }
  const Agreement as_is = AgreementWith(v, rows, [&](size_t r, size_t c) {
    const size_t at = v.At(r, c);
    return Value{v.ours[at], v.noise[at]};
  });
  if (d.best_factor.has_value()) {
    d.constant_factor = ConstantFactor(v, rows, *d.best_factor, as_is);
  }
  d.constant_vector = FindConstantVector(v, rows, context.vectors, as_is);
  d.order = FindOrder(v, rows);
  if (d.order.has_value() && context.is_query_or_key) {
    d.order->consistent_with_neighbours =
        d.order->kind == OrderKind::kNeighbours && d.order->right_heads;
  }
  d.position_shift = FindShift(v, rows);
  d.of_layer = FindLayer(v, rows, context.other_layers, as_is);
  if (!d.constant_factor.has_value() && v.score_heads == 0) {
    const bool of_heads = context.rows_are_heads && v.head_dim > 0;
    d.row_factors = FindFactors(v, GroupsOf(v, rows, of_heads));
    if (d.row_factors.has_value()) d.row_factors->of_heads = of_heads;
  }
  return d;
}

}  // namespace ulpscope
