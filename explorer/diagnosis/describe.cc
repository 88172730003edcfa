#include "explorer/diagnosis/describe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/kept_replays.h"
#include "explorer/diagnosis/origin.h"
#include "explorer/diagnosis/point_description.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/row_factors.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/rounding.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

constexpr size_t kMostDescribed = 12;

// Of values that are kept of replays at once, whatever memory there is: what is
// said does not depend on it.
constexpr size_t kMostBytes = size_t{256} << 20;

// The replays that a point is described beside.
constexpr size_t kExact = 0, kOurs = 1, kSingle = 2, kPerturbed = 3;

std::optional<DescribedAs> StatusOf(const PointResult& point) {
  if (point.without_effect) return DescribedAs::kWithoutEffect;
  if (point.still_differs) return DescribedAs::kUnexplained;
  if (point.not_reproduced) return DescribedAs::kNotReproduced;
  if (point.differs) return DescribedAs::kExplained;
  return std::nullopt;
}

double Rounded(double x, Format format) {
  switch (format) {
    case Format::kBF16:
      return RoundedToBF16(x);
    case Format::kF16:
      return RoundedToF16(x);
    case Format::kF32:
      return static_cast<double>(static_cast<float>(x));
    case Format::kF64:
      break;
  }
  return x;
}

// What several points are described beside, and where they lie.
class Describer {
 public:
  Describer(const ReplaySetting& setting, const Weights& weights,
            const AlignedTrace& trace, const Belief& belief)
      : setting_(setting),
        weights_(weights),
        config_(weights.config),
        trace_(trace),
        belief_(belief) {}

  // Fills in all but what is set.
  absl::Status Describe(const std::vector<PointDescription*>& described) {
    const PerturbedTrace perturbed(trace_, UnitRoundoff(trace_.format()));
    const size_t num_layers = weights_.layers.size();
    const Variant variant = belief_.variant();
    Variant exact = variant;
    exact.rope_angles_f32 = false;
    std::vector<Candidate> candidates = {
        {Plan::Oracle(num_layers), exact, &trace_},
        {belief_.plan, variant, &trace_},
        {Plan(num_layers), variant, &trace_}};
    if (belief_.stored_rounded) {
      candidates.push_back({Plan::Oracle(num_layers), exact, &perturbed});
    }
    runs_ = candidates.size();
    const size_t bytes = kMostBytes / std::max<size_t>(1, described.size());
    std::vector<KeptReplays::What> what;
    for (const PointDescription* d : described) {
      const Point& point = PointOf(*d);
      what.push_back(WhatOf(point, bytes));
      if (d->status == DescribedAs::kNotReproduced || IsScores(point.op) ||
          !IsPerLayer(point.op) ||
          what.back().positions * WidthOf(point) * num_layers * sizeof(double) >
              bytes) {
        continue;
      }
      for (size_t layer = 1; layer <= num_layers; ++layer) {
        if (layer == point.layer) continue;
        KeptReplays::What other = what.back();
        other.cell.layer = layer;
        other.only_run = kOurs;
        others_.push_back(other);
      }
    }
    // A point that is described is kept of all runs, whatever others ask for.
    others_.insert(others_.end(), what.begin(), what.end());
    KeptReplays kept(others_, runs_);
    const int logits = trace_.Find(0, Op::kLmHead);
    const absl::Status status = ObserveCandidates(
        setting_, weights_, candidates,
        logits < 0 ? Logits::kNone
        : trace_.points()[static_cast<size_t>(logits)].tensor->first_position +
                    1 ==
                setting_.tokens.size()
            ? Logits::kLast
            : Logits::kAll,
        "descriptions", kept);
    if (!status.ok()) return status;
    for (size_t i = 0; i < described.size(); ++i) {
      if (setting_.monitor.stopped()) return absl::CancelledError("stopped");
      DescribeOne(kept, what[i], *described[i]);
    }
    return absl::OkStatus();
  }

 private:
  const Point& PointOf(const PointDescription& d) const {
    return trace_.points()[d.point];
  }

  // Values of a position.
  static size_t WidthOf(const Point& point) {
    const Matrix<double> rows = point.tensor->rows.view();
    return IsScores(point.op) ? rows.rows : rows.cols;
  }

  KeptReplays::What WhatOf(const Point& point, size_t bytes) const {
    const TracedTensor& tensor = *point.tensor;
    KeptReplays::What what;
    what.cell = {point.layer, point.op};
    what.first_position = tensor.first_position;
    const size_t positions =
        IsScores(point.op) ? tensor.rows.view().cols : tensor.rows.rows();
    const size_t most = bytes / (runs_ * WidthOf(point) * sizeof(double) + 1);
    what.positions = std::min(positions, std::max<size_t>(1, most));
    return what;
  }

  void DescribeOne(const KeptReplays& kept, const KeptReplays::What& what,
                   PointDescription& d) const {
    const Point& point = PointOf(d);
    const ComparedValues values = ValuesOf(kept, what, point);
    const DescriptionContext context =
        ContextOf(kept, what, point, values, d.status);
    PointDescription described = DescribeValues(values, context);
    described.point = d.point;
    described.status = d.status;
    described.layers = std::move(d.layers);
    described.origin = OriginOf({point.layer, point.op}, trace_, config_);
    d = std::move(described);
  }

  void AddElement(double theirs, double exact, double ours, double single,
                  std::optional<double> perturbed, double unit_roundoff,
                  ComparedValues& v) const {
    const double own = ours - exact, rounding = unit_roundoff * ours;
    double noise = std::max(own * own, rounding * rounding / 3);
    // The error of an arithmetic in f64, which the oracle shares.
    const double other =
        std::max(std::fabs(single - exact),
                 UnitRoundoff(Format::kF32) * std::fabs(exact));
    noise = std::max(noise, 0x1p-58 * other * other);
    double compared = ours;
    if (perturbed.has_value()) {
      const double moved = *perturbed - exact;
      const double stored = UnitRoundoff(trace_.format()) * theirs;
      if (std::isfinite(moved)) noise += moved * moved;
      if (std::isfinite(stored)) noise += stored * stored / 3;
      compared = Rounded(ours, trace_.format());
    }
    v.theirs.push_back(theirs);
    v.ours.push_back(compared);
    v.exact.push_back(exact);
    v.noise.push_back(noise);
  }

  ComparedValues ValuesOf(const KeptReplays& kept,
                          const KeptReplays::What& what,
                          const Point& point) const {
    ComparedValues v;
    const TracedTensor& tensor = *point.tensor;
    const Matrix<double> theirs = tensor.rows.view();
    const bool scores = IsScores(point.op);
    const size_t heads = scores ? theirs.rows / theirs.cols : 1;
    v.cols = theirs.cols;
    v.first_position = what.first_position;
    SetHeads(point.op, v);
    if (scores) v.score_heads = heads;
    const double unit_roundoff =
        point.op == Op::kEmbed
            ? 0
            : UnitRoundoff(
                  belief_.plan.Get(point.layer, point.op).info().result);
    for (size_t h = 0; h < heads; ++h) {
      for (size_t p = 0; p < what.positions; ++p) {
        const size_t row = scores ? h * theirs.cols + p : p;
        const size_t position = what.first_position + p;
        const KeptReplays::Values* of[4] = {};
        for (size_t run = 0; run < runs_; ++run) {
          of[run] = kept.Get(run, what.cell, position);
        }
        // A cause may leave the op out.
        if (of[kExact] == nullptr || of[kOurs] == nullptr ||
            of[kSingle] == nullptr) {
          return {};
        }
        const auto at = [&](size_t run, size_t c) {
          const size_t cols = of[run]->size() / heads;
          return c < cols ? (*of[run])[h * cols + c] : 0;
        };
        for (size_t c = 0; c < v.cols; ++c) {
          AddElement(theirs.Row(row)[c], at(kExact, c), at(kOurs, c),
                     at(kSingle, c),
                     of[kPerturbed] == nullptr
                         ? std::nullopt
                         : std::optional<double>(at(kPerturbed, c)),
                     unit_roundoff, v);
          v.outstanding.push_back(std::fabs(theirs.Row(row)[c]) >=
                                  point.stands_out_from[row]);
          if (point.op == Op::kQk) v.without_meaning.push_back(c > position);
        }
        ++v.rows;
      }
    }
    return v;
  }

  void SetHeads(Op op, ComparedValues& v) const {
    const auto heads = static_cast<size_t>(config_.num_attention_heads);
    const auto kv_heads = static_cast<size_t>(config_.num_key_value_heads);
    switch (op) {
      case Op::kQProj:
      case Op::kQNorm:
      case Op::kAv:
        v.query_heads = heads;
        break;
      case Op::kKProj:
      case Op::kVProj:
      case Op::kKNorm:
      case Op::kKvK:
      case Op::kKvV:
        v.kv_heads = kv_heads;
        break;
      case Op::kRope:
        v.query_heads = heads;
        v.kv_heads = kv_heads;
        break;
      default:
        return;
    }
    v.head_dim = static_cast<size_t>(config_.head_dim);
  }

  DescriptionContext ContextOf(const KeptReplays& kept,
                               const KeptReplays::What& what,
                               const Point& point, const ComparedValues& values,
                               DescribedAs status) const {
    DescriptionContext context;
    context.beyond_rounding = status != DescribedAs::kNotReproduced;
    context.result =
        point.op == Op::kEmbed
            ? trace_.format()
            : belief_.plan.Get(point.layer, point.op).info().result;
    context.rows_are_heads = point.op == Op::kQNorm || point.op == Op::kKNorm;
    context.is_query_or_key = context.rows_are_heads ||
                              point.op == Op::kQProj || point.op == Op::kKProj;
    context.vectors = VectorsOf(point, values.cols);
    context.inverse_rms = InverseRmsOf(point, values);
    for (const KeptReplays::What& other : others_) {
      if (other.only_run != kOurs || other.cell.op != point.op) continue;
      DescriptionContext::OtherLayer layer;
      layer.layer = other.cell.layer;
      for (size_t p = 0; p < what.positions; ++p) {
        const KeptReplays::Values* ours =
            kept.Get(kOurs, other.cell, what.first_position + p);
        if (ours == nullptr) break;
        for (const double x : *ours) {
          layer.ours.push_back(
              belief_.stored_rounded ? Rounded(x, trace_.format()) : x);
        }
      }
      context.other_layers.push_back(std::move(layer));
    }
    return context;
  }

  // The op's own bias, then those of other layers.
  std::vector<NamedVector> VectorsOf(const Point& point, size_t width) const {
    std::vector<NamedVector> vectors;
    const auto add = [&](size_t layer) {
      const LayerWeights& w = weights_.layers[layer];
      const auto [values, name] =
          [&]() -> std::pair<const std::vector<double>*, const char*> {
        switch (point.op) {
          case Op::kQProj:
            return {&w.q_bias, "self_attn.q_proj"};
          case Op::kKProj:
            return {&w.k_bias, "self_attn.k_proj"};
          case Op::kVProj:
            return {&w.v_bias, "self_attn.v_proj"};
          case Op::kOProj:
          case Op::kAttnResidual:
            return {&w.o_bias, "self_attn.o_proj"};
          case Op::kGateProj:
            return {&w.gate_bias, "mlp.gate_proj"};
          case Op::kUpProj:
            return {&w.up_bias, "mlp.up_proj"};
          case Op::kDownProj:
          case Op::kMlpResidual:
            return {&w.down_bias, "mlp.down_proj"};
          default:
            return {nullptr, ""};
        }
      }();
      if (values == nullptr || values->size() != width) return;
      vectors.push_back(
          {absl::StrCat("model.layers.", layer, ".", name, ".bias"), values});
    };
    if (!IsPerLayer(point.op)) return vectors;
    add(point.layer - 1);
    for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
      if (layer + 1 != point.layer) add(layer);
    }
    return vectors;
  }

  // Of a norm whose input is in the trace: in the order of GroupsOf.
  std::vector<double> InverseRmsOf(const Point& point,
                                   const ComparedValues& values) const {
    const bool of_heads = point.op == Op::kQNorm || point.op == Op::kKNorm;
    if (!of_heads && point.op != Op::kInputNorm && point.op != Op::kPostNorm &&
        point.op != Op::kFinalNorm) {
      return {};
    }
    const Cell input = InputsOf({point.layer, point.op}, config_).front();
    const Rows given = trace_.Get(input.layer, input.op);
    if (given.rows() == 0 || given.view().cols != values.cols) return {};
    const Variant variant = belief_.variant();
    const double eps =
        variant.norm_eps >= 0 ? variant.norm_eps : config_.rms_norm_eps;
    std::vector<size_t> rows;
    for (size_t r = 0; r < values.rows; ++r) rows.push_back(r);
    std::vector<double> inverse;
    for (const FactorGroup& group : GroupsOf(values, rows, of_heads)) {
      const double* const x =
          given.view().Row(values.first_position + group.row) +
          group.first_channel;
      double squares = 0;
      for (size_t c = 0; c < group.channels; ++c) squares += x[c] * x[c];
      inverse.push_back(
          1 / std::sqrt(squares / static_cast<double>(group.channels) + eps));
    }
    return inverse;
  }

  const ReplaySetting& setting_;
  const Weights& weights_;
  const ModelConfig& config_;
  const AlignedTrace& trace_;
  const Belief& belief_;
  size_t runs_ = 0;
  std::vector<KeptReplays::What> others_;
};

}  // namespace

std::vector<PointDescription> PointsToDescribe(
    const std::vector<PointResult>& points) {
  std::vector<PointDescription> chosen;
  for (const DescribedAs status :
       {DescribedAs::kUnexplained, DescribedAs::kWithoutEffect,
        DescribedAs::kNotReproduced, DescribedAs::kExplained}) {
    std::vector<bool> had(kNumOps);
    for (size_t i = 0; i < points.size(); ++i) {
      const auto op = static_cast<size_t>(points[i].op);
      if (had[op] || StatusOf(points[i]) != status) continue;
      if (chosen.size() == kMostDescribed) break;
      had[op] = true;
      PointDescription& d = chosen.emplace_back();
      d.point = i;
      d.status = status;
      std::vector<bool> layers;
      for (const PointResult& other : points) {
        if (other.op != points[i].op) continue;
        layers.resize(std::max(layers.size(), other.layer + 1));
        layers[other.layer] = StatusOf(other) == status;
      }
      d.layers = RangesOf(layers);
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const PointDescription& a, const PointDescription& b) {
                     return a.point < b.point;
                   });
  return chosen;
}

absl::StatusOr<std::vector<PointDescription>> DescribePoints(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const Belief& belief,
    const std::vector<PointResult>& points) {
  std::vector<PointDescription> all = PointsToDescribe(points);
  const Belief bare = ArithmeticOf(belief);
  for (const Belief* of : {&belief, &bare}) {
    std::vector<PointDescription*> described;
    for (PointDescription& d : all) {
      if ((d.status == DescribedAs::kExplained) == (of == &bare)) {
        described.push_back(&d);
      }
    }
    if (described.empty()) continue;
    const auto set = weights.Get(of->weights());
    if (!set.ok()) return set.status();
    const absl::Status status =
        Describer(setting, **set, trace, *of).Describe(described);
    if (!status.ok()) return status;
  }
  return all;
}

}  // namespace ulpscope
