#include "explorer/attribution/error_source.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/replicates.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/base/format.h"
#include "kernels/measure/error.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// A source, a channel or an op of the head is named if it has at least as much
// as everything else together.
constexpr double kMostly = 0.5;

// The layers and ops of a source hold this much of what its group has: the
// shortest range that holds all would be every layer.
constexpr double kNearlyAll = 0.9;

// The least share of the squared errors that is worth a name beside a source.
constexpr double kNoticeable = 0.01;

double FiniteOrZero(const std::optional<double>& x) {
  return x.has_value() && std::isfinite(*x) ? *x : 0;
}

// |c|^2 up to the reference's norm, which all causes share.
double Square(const Cause& cause) {
  const double x = FiniteOrZero(cause.effect.rel_l2);
  return x * x;
}

double SquareOfLogits(const Cause& cause) {
  const double x = FiniteOrZero(cause.effect.logits_rel_l2);
  return x * x;
}

// A sum over some of the causes.
template <typename Fn, typename Filter>
double SumOver(const std::vector<Cause>& causes, const Fn& value,
               const Filter& filter) {
  double sum = 0;
  for (const Cause& cause : causes) {
    if (filter(cause.cell)) sum += value(cause);
  }
  return sum;
}

// The standard error of the part of the squares that some causes have.
template <typename Filter>
std::optional<double> ErrorOfShare(const std::vector<Cause>& causes,
                                   const Filter& filter) {
  std::vector<double> all, part;
  for (const Cause& cause : causes) {
    if (all.size() < cause.squares.size()) {
      all.resize(cause.squares.size());
      part.resize(cause.squares.size());
    }
    for (size_t i = 0; i < cause.squares.size(); ++i) {
      const double square =
          std::isfinite(cause.squares[i]) ? cause.squares[i] : 0;
      all[i] += square;
      if (filter(cause.cell)) part[i] += square;
    }
  }
  std::vector<double> shares, weights;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!(all[i] > 0)) continue;
    shares.push_back(part[i] / all[i]);
    weights.push_back(all[i]);
  }
  if (shares.size() < 2) return std::nullopt;
  return WeightedMeanOf(shares, weights).standard_error;
}

double ShareOf(const Cause& cause) { return FiniteOrZero(cause.share); }

bool Everywhere(const Cell&) { return true; }

struct LayerRange {
  size_t first = 0, last = 0;
  bool Holds(size_t layer) const { return first <= layer && layer <= last; }
};

// The shortest range that holds kNearlyAll of the layers' values; of equally
// short ones the one that holds most. values[0] is not used.
LayerRange ShortestRange(const std::vector<double>& values) {
  double all = 0;
  for (size_t layer = 1; layer < values.size(); ++layer) all += values[layer];
  LayerRange best = {1, values.size() - 1};
  double best_sum = all;
  for (size_t first = 1; first < values.size(); ++first) {
    double sum = 0;
    for (size_t last = first; last < values.size(); ++last) {
      sum += values[last];
      if (sum < kNearlyAll * all) continue;
      const size_t length = last - first, best_length = best.last - best.first;
      if (length < best_length || (length == best_length && sum > best_sum)) {
        best = {first, last};
        best_sum = sum;
      }
      break;
    }
  }
  return best;
}

// The mean share of a channel in the squared error after these layers. Where
// another channel has the largest share, it counts as 0.
double ErrorIn(size_t channel, const LayerRange& range,
               const std::vector<Concentration>& concentrations) {
  double sum = 0;
  size_t count = 0;
  for (const Concentration& c : concentrations) {
    if (!range.Holds(c.layer)) continue;
    ++count;
    if (c.channel == channel && std::isfinite(c.top1)) sum += c.top1;
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

// The channel that most often has the largest share.
std::optional<SourceChannel> ChannelOf(
    const LayerRange& range, const std::vector<Concentration>& concentrations) {
  std::map<size_t, size_t> counts;
  for (const Concentration& c : concentrations) {
    if (range.Holds(c.layer)) ++counts[c.channel];
  }
  SourceChannel found;
  for (const auto& [channel, count] : counts) {
    const double share = ErrorIn(channel, range, concentrations);
    if (share > found.error_share) {
      found.channel = channel;
      found.error_share = share;
    }
  }
  if (found.error_share < kMostly) return std::nullopt;
  return found;
}

// Of the ops in layers whose cells pass the filter, those that hold nearly all.
template <typename Filter>
std::vector<Op> OpsOf(const std::vector<Cause>& causes, const Filter& filter) {
  std::vector<OpShare> ops;
  double all = 0;
  for (size_t i = 0; i < kNumOps; ++i) {
    const double squares = SumOver(causes, Square, [&](const Cell& cell) {
      return cell.op == OpAt(i) && IsPerLayer(cell.op) && filter(cell);
    });
    ops.push_back({OpAt(i), squares, 0});
    all += squares;
  }
  absl::c_stable_sort(ops, [](const OpShare& a, const OpShare& b) {
    return a.squared_share > b.squared_share;
  });
  std::vector<Op> found;
  double sum = 0;
  for (const OpShare& op : ops) {
    if (op.squared_share == 0 || sum >= kNearlyAll * all) break;
    sum += op.squared_share;
    found.push_back(op.op);
  }
  return found;
}

// Nearly all of the cells of one layer that pass the filter, if worth a name.
template <typename Filter>
std::optional<SourcePart> PartOf(const std::vector<Cause>& causes, size_t layer,
                                 const Filter& filter) {
  const auto in_layer = [&](const Cell& cell) {
    return IsPerLayer(cell.op) && cell.layer == layer && filter(cell);
  };
  SourcePart part = {layer, OpsOf(causes, in_layer), 0};
  part.squared_share =
      SumOver(causes, Square,
              [&](const Cell& cell) {
                return in_layer(cell) &&
                       absl::c_linear_search(part.ops, cell.op);
              }) /
      SumOver(causes, Square, Everywhere);
  if (part.squared_share < kNoticeable) return std::nullopt;
  return part;
}

// The layers after which it is there.
LayerRange LayersOf(const MassiveChannel& massive, size_t num_layers) {
  return {std::max<size_t>(massive.born, 1),
          massive.removed == 0 ? num_layers : massive.removed - 1};
}

void Describe(const MassiveChannel& massive, SourceChannel& channel) {
  channel.massive = true;
  channel.position = massive.position;
  channel.born = massive.born;
  channel.removed = massive.removed;
  channel.removed_op = massive.removed_op;
  channel.value = massive.value;
  channel.value_layer = massive.value_layer;
  channel.ratio_to_median = massive.ratio_to_median;
}

// A massive activation that most of the error goes through while it is there,
// as the adds of the stream round it: its layers.
std::optional<LayerRange> LayersOfMassive(const std::vector<Cause>& causes,
                                          size_t num_layers,
                                          const Phenomena& phenomena,
                                          SourceChannel& channel) {
  const double all = SumOver(causes, Square, Everywhere);
  for (const MassiveChannel& massive : phenomena.massive) {
    const LayerRange range = LayersOf(massive, num_layers);
    const double squares = SumOver(causes, Square, [&range](const Cell& cell) {
      return OpKernel(cell.op) == Kernel::kResidual && range.Holds(cell.layer);
    });
    const double error_share =
        ErrorIn(massive.channel, range, phenomena.concentrations);
    if (squares < kMostly * all || error_share < kMostly) continue;
    channel.channel = massive.channel;
    channel.error_share = error_share;
    channel.rounded = true;
    Describe(massive, channel);
    return range;
  }
  return std::nullopt;
}

}  // namespace

bool OpShare::distinguishable() const {
  // Two standard errors: 1 in 20 by chance.
  return !squared_share_error.has_value() ||
         squared_share > 2 * *squared_share_error;
}

std::vector<OpShare> SharesOfOps(const std::vector<Cause>& causes) {
  const double all = SumOver(causes, Square, Everywhere);
  std::vector<OpShare> shares;
  for (size_t i = 0; i < kNumOps; ++i) {
    const auto of_op = [i](const Cell& cell) { return cell.op == OpAt(i); };
    const double squares = SumOver(causes, Square, of_op);
    if (squares > 0) {
      shares.push_back({OpAt(i), squares / all, SumOver(causes, ShareOf, of_op),
                        ErrorOfShare(causes, of_op)});
    }
  }
  absl::c_stable_sort(shares, [](const OpShare& a, const OpShare& b) {
    return a.squared_share > b.squared_share;
  });
  return shares;
}

std::optional<OpShare> FindHead(const std::vector<Cause>& causes) {
  const double all = SumOver(causes, SquareOfLogits, Everywhere);
  for (const Op op : {Op::kFinalNorm, Op::kLmHead}) {
    const double squares = SumOver(causes, SquareOfLogits,
                                   [op](const Cell& c) { return c.op == op; });
    if (all > 0 && squares >= kMostly * all) return OpShare{op, squares / all};
  }
  return std::nullopt;
}

double NormOfSquares(const std::vector<Cause>& causes) {
  return std::sqrt(SumOver(causes, Square, Everywhere));
}

std::optional<ErrorSource> FindSource(const Plan& plan, const Plan& reference,
                                      const Attribution& attribution,
                                      const Phenomena* phenomena) {
  const std::vector<Cause>& causes = attribution.causes;
  const double all = SumOver(causes, Square, Everywhere);
  if (!(all > 0)) return std::nullopt;
  ErrorSource source;

  // One op that is in no layer?
  for (const Cause& cause : causes) {
    if (IsPerLayer(cause.cell.op) || Square(cause) < kMostly * all) continue;
    source.ops = {cause.cell.op};
    source.squared_share = Square(cause) / all;
    source.share = ShareOf(cause);
    return source;
  }

  // A group of ops in layers.
  Kernel group = Kernel::kMatMul;
  double most = 0;
  for (size_t g = 0; g < kNumKernels; ++g) {
    const double squares = SumOver(causes, Square, [g](const Cell& cell) {
      return OpKernel(cell.op) == static_cast<Kernel>(g) && IsPerLayer(cell.op);
    });
    if (squares > most) {
      most = squares;
      group = static_cast<Kernel>(g);
    }
  }
  if (most < kMostly * all) return std::nullopt;

  LayerRange range;
  SourceChannel channel;
  const auto massive =
      phenomena == nullptr || group != Kernel::kResidual
          ? std::nullopt
          : LayersOfMassive(causes, plan.num_layers(), *phenomena, channel);
  std::vector<double> of_layer(plan.num_layers() + 1, 0);
  for (const Cause& cause : causes) {
    if (OpKernel(cause.cell.op) == group && IsPerLayer(cause.cell.op) &&
        (!massive.has_value() || massive->Holds(cause.cell.layer))) {
      of_layer[cause.cell.layer] += Square(cause);
    }
  }
  range = ShortestRange(of_layer);
  // What comes from most of a massive activation's layers comes from its being
  // there; what comes from a few of them does not.
  if (massive.has_value() &&
      static_cast<double>(range.last - range.first + 1) >=
          kMostly * static_cast<double>(massive->last - massive->first + 1)) {
    range = *massive;
  }
  source.first_layer = range.first;
  source.last_layer = range.last;
  source.ops = OpsOf(causes, [&](const Cell& cell) {
    return OpKernel(cell.op) == group && range.Holds(cell.layer);
  });
  const auto in_source = [&](const Cell& cell) {
    return absl::c_linear_search(source.ops, cell.op) &&
           range.Holds(cell.layer);
  };
  source.squared_share = SumOver(causes, Square, in_source) / all;
  source.share = SumOver(causes, ShareOf, in_source);
  source.squared_share_error = ErrorOfShare(causes, in_source);

  if (massive.has_value()) {
    const auto format_of = [&](const Plan& of) {
      return of.Get(std::max<size_t>(channel.value_layer, 1), source.ops[0])
          .info()
          .result;
    };
    channel.format = format_of(plan);
    const Format of_reference = format_of(reference);
    if (UnitRoundoff(of_reference) > UnitRoundoff(channel.format)) {
      channel.format = of_reference;
    }
    channel.spacing = SpacingAt(channel.format, channel.value);
    source.channel = channel;
    const auto not_of_group = [group](const Cell& cell) {
      return OpKernel(cell.op) != group;
    };
    if (channel.born > 0) {
      source.makes = PartOf(causes, channel.born, not_of_group);
    }
    if (channel.removed > 0) {
      source.removes = PartOf(causes, channel.removed, not_of_group);
      // They round what they add to as well: the one that removes it, too.
      SourcePart part = {channel.removed, {}, 0};
      for (const Op op : source.ops) {
        if (op <= channel.removed_op) part.ops.push_back(op);
      }
      part.squared_share =
          SumOver(causes, Square,
                  [&part](const Cell& cell) {
                    return cell.layer == part.layer &&
                           absl::c_linear_search(part.ops, cell.op);
                  }) /
          all;
      if (part.squared_share >= kNoticeable) source.until_removal = part;
    }
  } else if (phenomena != nullptr) {
    source.channel = ChannelOf(range, phenomena->concentrations);
    if (source.channel.has_value()) {
      for (const MassiveChannel& m : phenomena->massive) {
        const LayerRange layers = LayersOf(m, plan.num_layers());
        if (m.channel == source.channel->channel &&
            layers.first <= range.last && range.first <= layers.last) {
          Describe(m, *source.channel);
          break;
        }
      }
    }
  }
  for (const Op op : source.ops) {
    for (const Repair& repair : attribution.op_repairs) {
      if (repair.cell.op == op && repair.effect.complete()) {
        source.gains.push_back({op, *repair.gain, *repair.moved});
      }
    }
  }
  return source;
}

}  // namespace ulpscope
