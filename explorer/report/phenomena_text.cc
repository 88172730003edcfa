#include "explorer/report/phenomena_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/figures.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Without the sign, for several in a row.
std::string InPercent(double share) {
  return absl::StrFormat("%.3g", 100 * share);
}

std::string OpOfLayers(size_t first, size_t last, Op op) {
  if (!IsPerLayer(op)) return std::string(OpName(op));
  return absl::StrCat(LayerRangeText(first, last), "'s ", OpName(op));
}

std::string AddIn(size_t layer, Op op) {
  if (op == Op::kEmbed) return "the embedding";
  return absl::StrCat("layer ", layer, " (", OpName(op), ")");
}

struct Line {
  size_t order;  // the layer, or after them all
  NamedPhenomenon named;
};

class Lines {
 public:
  explicit Lines(const Phenomena& phenomena) : phenomena_(phenomena) {}

  std::vector<NamedPhenomenon> All() {
    AddBreakdown("the oracle", phenomena_.oracle_breakdown);
    AddBreakdown("the plan", phenomena_.plan_breakdown);
    AddMassive();
    AddCancellations();
    AddConcentrations();
    AddBiases();
    AddOverflows();
    AddUnderflows();
    if (phenomena_.softmax_over_one()) {
      Add("softmax_over_one", 0, Op::kEmbed,
          "softmax over one position: its only weight is 1, so no softmax "
          "strategy can matter for this prompt");
    }
    std::stable_sort(
        lines_.begin(), lines_.end(),
        [](const Line& a, const Line& b) { return a.order < b.order; });
    std::vector<NamedPhenomenon> all;
    for (Line& line : lines_) all.push_back(std::move(line.named));
    return all;
  }

 private:
  void Add(const char* kind, size_t layer, Op op, std::string text) {
    const bool last = op == Op::kFinalNorm || op == Op::kLmHead;
    lines_.push_back({last ? SIZE_MAX : layer, {kind, layer, std::move(text)}});
  }

  void AddBreakdown(const char* whose, const std::optional<Breakdown>& b) {
    if (!b.has_value()) return;
    Add("breakdown", b->layer, b->op,
        absl::StrFormat("%s breaks down: the first output that is no number is "
                        "%g, of %s at position %d, element %d",
                        whose, b->value, OpOfLayers(b->layer, b->layer, b->op),
                        b->position, b->element));
  }

  void AddMassive() {
    const auto spell = [](const MassiveChannel& m) {
      return std::make_tuple(m.channel, m.born, m.born_op, m.removed,
                             m.removed_op);
    };
    std::map<decltype(spell(MassiveChannel())), size_t> positions;
    for (const MassiveChannel& m : phenomena_.massive) ++positions[spell(m)];
    for (const MassiveChannel& m : phenomena_.massive) {
      // The largest comes first and speaks for all.
      const size_t count = std::exchange(positions[spell(m)], 0);
      if (count == 0) continue;
      const std::string others =
          count == 1 ? "" : absl::StrFormat(" (and %d more)", count - 1);
      const std::string where =
          m.value_layer == 0 ? "in the embedding"
                             : absl::StrCat("after layer ", m.value_layer);
      const std::string end =
          m.removed == 0
              ? "still there after the last layer"
              : absl::StrFormat("removed in %s, which leaves %s",
                                AddIn(m.removed, m.removed_op), Number(m.left));
      Add("massive_channel", m.born, m.born_op,
          absl::StrFormat("massive activation: channel %d at position %d%s, "
                          "born in %s, largest %s %s (%sx the median), %s",
                          m.channel, m.position, others,
                          AddIn(m.born, m.born_op), Number(m.value), where,
                          Number(m.ratio_to_median), end));
    }
  }

  void AddCancellations() {
    for (const CancellingAdd& add : phenomena_.cancellations) {
      if (!(add.ratio >= kNamedCancellation)) continue;
      Add("cancellation", add.layer, add.op,
          absl::StrFormat("%s cancels: (|x| + |u|) / |x + u| = %s, the "
                          "stream's std goes from %s to %s",
                          OpOfLayers(add.layer, add.layer, add.op),
                          Number(add.ratio), Number(add.std_before),
                          Number(add.std_after)));
    }
  }

  // Calls fn(begin, end) for each run of layers that are all `named` and of
  // which each is the `same` as the one before it.
  template <typename T, typename Named, typename Same, typename Fn>
  static void ForRuns(const std::vector<T>& all, const Named& named,
                      const Same& same, const Fn& fn) {
    for (size_t i = 0; i < all.size();) {
      size_t end = i + 1;
      if (named(all[i])) {
        while (end < all.size() && named(all[end]) &&
               all[end].layer == all[end - 1].layer + 1 &&
               same(all[end - 1], all[end])) {
          ++end;
        }
        fn(all.data() + i, all.data() + end);
      }
      i = end;
    }
  }

  void AddConcentrations() {
    const auto in_one = [](const Concentration& c) {
      return c.top1 >= kNamedTop1;
    };
    ForRuns(
        phenomena_.concentrations,
        [&](const Concentration& c) {
          return in_one(c) || c.top8 >= kNamedTop8;
        },
        [&](const Concentration& a, const Concentration& b) {
          return a.channel == b.channel && in_one(a) == in_one(b);
        },
        [&](const Concentration* begin, const Concentration* end) {
          double least = 1, most = 0;
          for (const Concentration* c = begin; c != end; ++c) {
            const double share = in_one(*c) ? c->top1 : c->top8;
            least = std::min(least, share);
            most = std::max(most, share);
          }
          const std::string share =
              end - begin == 1
                  ? InPercent(most)
                  : absl::StrCat(InPercent(least), " to ", InPercent(most));
          const std::string channels =
              in_one(*begin)
                  ? absl::StrCat("channel ", begin->channel)
                  : absl::StrFormat("8 of %d channels, most in channel %d",
                                    begin->channels, begin->channel);
          Add("concentration", begin->layer, Op::kMlpResidual,
              absl::StrFormat("after %s, %s %% of the squared error is in %s",
                              LayerRangeText(begin->layer, end[-1].layer),
                              share, channels));
        });
  }

  void AddBiases() {
    const auto up = [](const Bias& b) { return b.z_signs > 0; };
    ForRuns(
        phenomena_.biases,
        [](const Bias& b) { return std::fabs(b.z_signs) >= kNamedBias; },
        [&](const Bias& a, const Bias& b) { return up(a) == up(b); },
        [&](const Bias* begin, const Bias* end) {
          const Bias& worst =
              *std::max_element(begin, end, [](const Bias& a, const Bias& b) {
                return std::fabs(a.z_signs) < std::fabs(b.z_signs);
              });
          Add("bias", begin->layer, Op::kMlpResidual,
              absl::StrFormat("after %s the error is biased %s: in %d channels "
                              "of %d after layer %d (z = %s), its mean %s "
                              "where its rms is %s",
                              LayerRangeText(begin->layer, end[-1].layer),
                              up(worst) ? "upwards" : "downwards",
                              up(worst) ? worst.positive : worst.negative,
                              worst.positive + worst.negative, worst.layer,
                              Number(worst.z_signs), Number(worst.mean),
                              Number(worst.rms)));
        });
  }

  struct NamedFit {
    const char* format;
    FormatFit fit;
  };
  static std::vector<NamedFit> Misfits(const OutputRange& range,
                                       bool (*misfit)(const FormatFit&)) {
    std::vector<NamedFit> found;
    for (const NamedFit& fit :
         {NamedFit{"f16", range.F16()}, NamedFit{"bf16", range.BF16()},
          NamedFit{"f32", range.F32()}}) {
      if (misfit(fit.fit)) found.push_back(fit);
    }
    return found;
  }

  // Calls fn(where, first, worst, formats) op by op, for layers in a row whose
  // outputs do not fit as many formats; `worst` has the largest size(range) of
  // them and `formats` are those that it does not fit.
  template <typename Size, typename Fn>
  void ForMisfits(bool (*misfit)(const FormatFit&), const Size& size,
                  const Fn& fn) {
    std::map<Op, std::vector<Headroom>> by_op;
    for (const Headroom& h : phenomena_.headrooms) by_op[h.op].push_back(h);
    const auto misfits = [misfit](const Headroom& h) {
      return Misfits(h.range, misfit).size();
    };
    for (const auto& [op, headrooms] : by_op) {
      ForRuns(
          headrooms, [&](const Headroom& h) { return misfits(h) > 0; },
          [&](const Headroom& a, const Headroom& b) {
            return misfits(a) == misfits(b);
          },
          [&](const Headroom* begin, const Headroom* end) {
            const Headroom& worst = *std::max_element(
                begin, end, [&](const Headroom& a, const Headroom& b) {
                  return size(a.range) < size(b.range);
                });
            fn(OpOfLayers(begin->layer, end[-1].layer, begin->op), *begin,
               worst, Misfits(worst.range, misfit));
          });
    }
  }

  void AddOverflows() {
    ForMisfits(
        [](const FormatFit& fit) { return fit.headroom < kNamedHeadroom; },
        [](const OutputRange& range) { return range.largest; },
        [&](const std::string& where, const Headroom& first,
            const Headroom& worst, const std::vector<NamedFit>& fits) {
          std::vector<std::string> formats;
          formats.reserve(fits.size());
          for (const NamedFit& f : fits) {
            formats.push_back(
                f.fit.headroom < 0
                    ? absl::StrCat("overflows ", f.format)
                    : absl::StrFormat("leaves %s %s bits of headroom", f.format,
                                      Number(f.fit.headroom)));
          }
          Add("overflow", first.layer, first.op,
              absl::StrFormat("%s reaches %s, which %s", where,
                              Number(worst.range.largest),
                              absl::StrJoin(formats, ", ")));
        });
  }

  void AddUnderflows() {
    ForMisfits(
        [](const FormatFit& fit) { return fit.underflow >= kNamedUnderflow; },
        [](const OutputRange& range) { return range.F16().underflow; },
        [&](const std::string& where, const Headroom& first,
            const Headroom& /*worst*/, const std::vector<NamedFit>& fits) {
          std::vector<std::string> formats;
          formats.reserve(fits.size());
          for (const NamedFit& f : fits) {
            formats.push_back(
                absl::StrCat(InPercent(f.fit.underflow), " % in ", f.format));
          }
          Add("underflow", first.layer, first.op,
              absl::StrFormat("%s underflows: of its outputs, up to %s are "
                              "below the smallest normal number",
                              where, absl::StrJoin(formats, ", ")));
        });
  }

  const Phenomena& phenomena_;
  std::vector<Line> lines_;
};

}  // namespace

std::vector<NamedPhenomenon> NamesOf(const Phenomena& phenomena) {
  return Lines(phenomena).All();
}

}  // namespace ulpscope
