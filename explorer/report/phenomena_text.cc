#include "explorer/report/phenomena_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using Lines = std::vector<NamedPhenomenon>;

// What the stream after a layer is the output of.
Op AddBefore(size_t layer) {
  return layer == 0 ? Op::kEmbed : Op::kMlpResidual;
}

// Of each run of layers with the same `key`, 0 of what is not named, the one
// whose figure is the largest: as `line` makes it, less its layers.
template <typename T, typename Key, typename MakeLine>
void AddRuns(const std::vector<T>& all, const Key& key, const MakeLine& line,
             Lines& lines) {
  for (size_t i = 0, end = 0; i < all.size(); i = end) {
    const size_t named = key(all[i]);
    NamedPhenomenon most = line(all[i]);
    for (end = i + 1;
         end < all.size() && named != 0 &&
         all[end].layer == all[end - 1].layer + 1 && key(all[end]) == named;
         ++end) {
      const NamedPhenomenon next = line(all[end]);
      if (std::fabs(next.figure) > std::fabs(most.figure)) most = next;
    }
    most.layer = all[i].layer;
    most.last_layer = all[end - 1].layer;
    if (named != 0) lines.push_back(most);
  }
}

void AddMassive(const std::vector<MassiveChannel>& massive, Lines& lines) {
  std::set<std::tuple<size_t, size_t, Op, size_t, Op>> spells;
  for (const MassiveChannel& m : massive) {
    // The largest comes first and speaks for all positions.
    if (spells.emplace(m.channel, m.born, m.born_op, m.removed, m.removed_op)
            .second) {
      lines.push_back({"massive_channel", m.born, m.born, m.born_op, m.channel,
                       m.value,
                       "largest value of a massive activation, born here"});
    }
  }
}

void AddConcentrations(const std::vector<Concentration>& all, Lines& lines) {
  const auto in_one = [](const Concentration& c) {
    return c.top1 >= kNamedTop1;
  };
  AddRuns(
      all,
      [in_one](const Concentration& c) {
        return in_one(c)              ? 2 * c.channel + 2
               : c.top8 >= kNamedTop8 ? 2 * c.channel + 1
                                      : 0;
      },
      [in_one](const Concentration& c) -> NamedPhenomenon {
        const bool one = in_one(c);
        return {"concentration",
                0,
                0,
                AddBefore(c.layer),
                c.channel,
                one ? c.top1 : c.top8,
                one ? "of the squared error is in this channel"
                    : "of the squared error is in 8 channels, most in this"};
      },
      lines);
}

void AddBiases(const std::vector<Bias>& all, Lines& lines) {
  AddRuns(
      all,
      [](const Bias& b) -> size_t {
        return std::fabs(b.z_signs) >= kNamedBias ? 1 + (b.z_signs > 0) : 0;
      },
      [](const Bias& b) -> NamedPhenomenon {
        return {"bias",
                0,
                0,
                AddBefore(b.layer),
                {},
                b.z_signs,
                "z of the signs of the channels' errors"};
      },
      lines);
}

// What does not fit f16, as what does not fit bf16 or f32 does not either.
void AddRanges(const std::vector<Headroom>& headrooms, Lines& lines) {
  std::map<Op, std::vector<Headroom>> by_op;
  for (const Headroom& h : headrooms) by_op[h.op].push_back(h);
  for (const auto& [op, all] : by_op) {
    AddRuns(
        all,
        [](const Headroom& h) {
          return size_t{h.range.F16().headroom < kNamedHeadroom};
        },
        [](const Headroom& h) -> NamedPhenomenon {
          return {"overflow",
                  0,
                  0,
                  h.op,
                  {},
                  h.range.largest,
                  "largest output: above half of f16's range"};
        },
        lines);
  }
  for (const auto& [op, all] : by_op) {
    AddRuns(
        all,
        [](const Headroom& h) {
          return size_t{h.range.F16().underflow >= kNamedUnderflow};
        },
        [](const Headroom& h) -> NamedPhenomenon {
          return {"underflow",
                  0,
                  0,
                  h.op,
                  {},
                  h.range.F16().underflow,
                  "of the outputs are below f16's smallest normal number"};
        },
        lines);
  }
}

// Of each layer the head with the most.
void AddLargeScores(const std::vector<LargeScore>& scores, Lines& lines) {
  const auto factor_of = [](const LargeScore& score) {
    return score.weight_factor().value_or(0);
  };
  std::vector<LargeScore> most;
  for (const LargeScore& score : scores) {
    if (most.empty() || most.back().layer != score.layer) {
      most.push_back(score);
    } else if (factor_of(score) > factor_of(most.back())) {
      most.back() = score;
    }
  }
  AddRuns(
      most, [](const LargeScore& score) { return size_t{IsNamed(score)}; },
      [factor_of](const LargeScore& score) -> NamedPhenomenon {
        return {"large_score",
                0,
                0,
                Op::kQk,
                {},
                factor_of(score),
                "by which one spacing of the largest score can change a "
                "softmax weight"};
      },
      lines);
}

}  // namespace

std::vector<NamedPhenomenon> NamesOf(const Phenomena& p,
                                     bool reference_is_oracle) {
  Lines lines;
  const auto breakdown = [&](const std::optional<Breakdown>& b,
                             const char* text) {
    if (!b.has_value()) return;
    lines.push_back(
        {"breakdown", b->layer, b->layer, b->op, {}, b->value, text});
  };
  breakdown(p.reference_breakdown,
            reference_is_oracle
                ? "the oracle's first output that is no number"
                : "the reference's first output that is no number");
  breakdown(p.plan_breakdown, "the plan's first output that is no number");
  AddMassive(p.massive, lines);
  for (const CancellingAdd& add : p.cancellations) {
    if (!(add.ratio >= kNamedCancellation)) continue;
    lines.push_back({"cancellation",
                     add.layer,
                     add.layer,
                     add.op,
                     {},
                     add.ratio,
                     "norms of the operands by that of their sum"});
  }
  AddConcentrations(p.concentrations, lines);
  AddBiases(p.biases, lines);
  AddRanges(p.headrooms, lines);
  AddLargeScores(p.large_scores, lines);
  if (p.softmax_over_one()) {
    lines.push_back({"softmax_over_one",
                     0,
                     0,
                     Op::kSoftmax,
                     {},
                     1,
                     "its only weight: no softmax strategy can matter"});
  }
  const auto order = [](const NamedPhenomenon& line) {
    const bool last = line.op == Op::kFinalNorm || line.op == Op::kLmHead;
    return last ? SIZE_MAX : line.layer;
  };
  std::stable_sort(
      lines.begin(), lines.end(),
      [order](const auto& a, const auto& b) { return order(a) < order(b); });
  return lines;
}

}  // namespace ulpscope
