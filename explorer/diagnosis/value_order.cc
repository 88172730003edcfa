#include "explorer/diagnosis/value_order.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"

namespace ulpscope {
namespace {

constexpr OrderKind kFormulas[] = {
    OrderKind::kNeighbours,      OrderKind::kHalves,
    OrderKind::kHalvesSwapped,   OrderKind::kReversed,
    OrderKind::kTransposedHeads, OrderKind::kTransposedBack};

// Channels that are looked at one by one for each of theirs. Of more there are
// too many that are near enough by chance.
constexpr size_t kMostNear = 64;

// Channels that belong together: queries and keys of rope are brought in order
// apart.
struct Segment {
  size_t begin = 0, width = 0, heads = 0;
};

std::vector<Segment> SegmentsOf(const ComparedValues& v) {
  if (v.query_heads == 0 || v.kv_heads == 0) {
    return {{0, v.cols, v.query_heads + v.kv_heads}};
  }
  const size_t queries = v.query_heads * v.head_dim;
  return {{0, queries, v.query_heads}, {queries, v.cols - queries, v.kv_heads}};
}

size_t Moved(const std::vector<size_t>& order) {
  size_t moved = 0;
  for (size_t c = 0; c < order.size(); ++c) {
    if (order[c] != c) ++moved;
  }
  return moved;
}

// A channel of theirs, and one of ours.
struct Channels {
  size_t theirs, ours;
};

Agreement ChannelsAgree(const ComparedValues& v,
                        const std::vector<size_t>& rows, Channels of) {
  Agreement agreement;
  for (const size_t r : rows) {
    const size_t at = v.At(r, of.ours);
    agreement.Add(v.theirs[v.At(r, of.theirs)], v.ours[at], v.noise[at]);
  }
  return agreement;
}

// Of a segment whose channels are taken from elsewhere.
Agreement SegmentAgrees(const ComparedValues& v,
                        const std::vector<size_t>& rows, const Segment& segment,
                        const std::vector<size_t>& order) {
  Agreement agreement;
  for (const size_t r : rows) {
    for (size_t c = 0; c < segment.width; ++c) {
      const size_t at = v.At(r, segment.begin + order[c]);
      agreement.Add(v.theirs[v.At(r, segment.begin + c)], v.ours[at],
                    v.noise[at]);
    }
  }
  return agreement;
}

std::vector<size_t> Unchanged(size_t width) {
  std::vector<size_t> order(width);
  std::iota(order.begin(), order.end(), size_t{0});
  return order;
}

// Numbers of heads that a width may be taken for, each of two channels or more.
std::vector<size_t> HeadsOf(size_t width) {
  std::vector<size_t> heads;
  for (size_t h = 1; 2 * h <= width; ++h) {
    if (width % h == 0) heads.push_back(h);
  }
  return heads;
}

// For each channel of theirs the nearest one of ours, each taken once; empty if
// one has none. Channels are looked up by their values in one row.
std::vector<size_t> MatchedChannels(const ComparedValues& v,
                                    const std::vector<size_t>& rows,
                                    const Segment& segment) {
  const size_t key_row = rows.front();
  std::vector<std::pair<double, size_t>> sorted;
  double widest = 0;
  for (size_t c = 0; c < segment.width; ++c) {
    const size_t at = v.At(key_row, segment.begin + c);
    if (!std::isfinite(v.ours[at])) return {};
    sorted.emplace_back(v.ours[at], c);
    Agreement one;
    one.Add(v.ours[at], v.ours[at], v.noise[at]);
    widest = std::max(widest, one.Allowed());
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<size_t> order;
  std::vector<bool> taken(segment.width);
  for (size_t c = 0; c < segment.width; ++c) {
    const double value = v.theirs[v.At(key_row, segment.begin + c)];
    if (!std::isfinite(value)) return {};
    auto from = std::lower_bound(sorted.begin(), sorted.end(),
                                 std::make_pair(value - widest, size_t{0}));
    std::optional<size_t> best;
    double least = 0;
    size_t near = 0;
    for (; from != sorted.end() && from->first <= value + widest; ++from) {
      if (++near > kMostNear) return {};
      if (taken[from->second]) continue;
      const Agreement agreement = ChannelsAgree(
          v, rows, {segment.begin + c, segment.begin + from->second});
      if (!agreement.Agrees()) continue;
      if (!best.has_value() || agreement.squares() < least) {
        best = from->second;
        least = agreement.squares();
      }
    }
    if (!best.has_value()) return {};
    taken[*best] = true;
    order.push_back(*best);
  }
  return order;
}

// Whether an order moves whole heads.
bool IsOfHeads(const std::vector<size_t>& order, size_t head_dim) {
  if (head_dim == 0 || order.size() == head_dim) return false;
  for (size_t c = 0; c < order.size(); ++c) {
    const size_t begin = c / head_dim * head_dim;
    if (order[begin] % head_dim != 0) return false;
    if (order[c] != order[begin] + c - begin) return false;
  }
  return true;
}

// What a segment is found to be; none if it agrees as it is.
struct Found {
  OrderKind kind = OrderKind::kOther;
  size_t heads = 0;
  bool right_heads = false;
  size_t moved = 0;
};

// Returns false if the segment is neither as it is nor in another order.
bool FindInSegment(const ComparedValues& v, const std::vector<size_t>& rows,
                   const Segment& segment, std::optional<Found>& found) {
  const Agreement as_is =
      SegmentAgrees(v, rows, segment, Unchanged(segment.width));
  if (as_is.Agrees()) return true;
  if (as_is.squares() == 0) return false;
  const std::vector<size_t> heads = HeadsOf(segment.width);
  const double formulas =
      static_cast<double>(std::size(kFormulas) * heads.size());
  double least = 0;
  for (const size_t h : heads) {
    for (const OrderKind kind : kFormulas) {
      const std::vector<size_t> order = OrderOfChannels(kind, segment.width, h);
      if (order.empty() || Moved(order) == 0) continue;
      // A row that is far from it spares the others.
      if (!SegmentAgrees(v, {rows.front()}, segment, order).Agrees()) continue;
      const Agreement agreement = SegmentAgrees(v, rows, segment, order);
      if (!agreement.Agrees()) continue;
      // Two names may be of one order: the right number of heads comes first.
      const bool better = !found.has_value() || agreement.squares() < least ||
                          (agreement.squares() == least && h == segment.heads &&
                           !found->right_heads);
      if (!better) continue;
      if (!IsBeyondChance(LogChance(agreement.squares() / as_is.squares(),
                                    as_is.independent(), 0),
                          formulas)) {
        continue;
      }
      least = agreement.squares();
      found = Found{kind, h, h == segment.heads, Moved(order)};
    }
  }
  if (found.has_value()) return true;
  const std::vector<size_t> order = MatchedChannels(v, rows, segment);
  if (order.empty() || Moved(order) == 0) return false;
  const Agreement agreement = SegmentAgrees(v, rows, segment, order);
  // One of width! orders.
  const double log_orders = std::lgamma(static_cast<double>(segment.width) + 1);
  if (!agreement.Agrees() ||
      !IsBeyondChance(LogChance(agreement.squares() / as_is.squares(),
                                as_is.independent(), 0) +
                          log_orders,
                      1)) {
    return false;
  }
  const bool of_heads = IsOfHeads(order, v.head_dim);
  found = Found{of_heads ? OrderKind::kHeads : OrderKind::kOther,
                of_heads ? segment.heads : 0, of_heads, Moved(order)};
  return true;
}

}  // namespace

std::vector<size_t> OrderOfChannels(OrderKind kind, size_t width,
                                    size_t heads) {
  if (heads == 0 || width % heads != 0) return {};
  const size_t d = width / heads;
  const bool of_halves = kind == OrderKind::kNeighbours ||
                         kind == OrderKind::kHalves ||
                         kind == OrderKind::kHalvesSwapped;
  if (d < 2 || (of_halves && d % 2 != 0)) return {};
  std::vector<size_t> order(width);
  for (size_t c = 0; c < width; ++c) {
    const size_t head = c / d * d;
    const size_t i = c % d;
    switch (kind) {
      case OrderKind::kNeighbours:
        order[c] = head + i % 2 * (d / 2) + i / 2;
        break;
      case OrderKind::kHalves:
        order[c] = head + 2 * (i % (d / 2)) + i / (d / 2);
        break;
      case OrderKind::kHalvesSwapped:
        order[c] = head + (i + d / 2) % d;
        break;
      case OrderKind::kReversed:
        order[c] = head + d - 1 - i;
        break;
      case OrderKind::kTransposedHeads:
        order[c] = c % heads * d + c / heads;
        break;
      case OrderKind::kTransposedBack:
        order[c] = c % d * heads + c / d;
        break;
      case OrderKind::kHeads:
      case OrderKind::kOther:
        return {};
    }
  }
  return order;
}

std::optional<ValueOrder> FindOrder(const ComparedValues& values,
                                    const std::vector<size_t>& rows) {
  if (rows.empty() || values.score_heads > 0) return std::nullopt;
  std::optional<ValueOrder> order;
  for (const Segment& segment : SegmentsOf(values)) {
    std::optional<Found> found;
    if (!FindInSegment(values, rows, segment, found)) return std::nullopt;
    if (!found.has_value()) continue;
    if (!order.has_value()) {
      order = ValueOrder{found->kind, found->heads, found->right_heads,
                         std::nullopt, found->moved};
    } else {
      // Of keys and queries apart, which is one order of both.
      order->right_heads = order->right_heads && found->right_heads;
      order->moved += found->moved;
      if (order->kind != found->kind) order->kind = OrderKind::kOther;
    }
  }
  return order;
}

}  // namespace ulpscope
