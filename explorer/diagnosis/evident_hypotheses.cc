#include "explorer/diagnosis/evident_hypotheses.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/evidence.h"
#include "explorer/diagnosis/evident_logits.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/rope.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

// A row's angles are those of a position if so much of their projection on it
// is left: of others at most the cosine of an angle is.
constexpr double kSamePosition = 0.99;
// Positions that are looked at for a row.
constexpr int64_t kMostPositions = 32768;
// Keys that are taken for hidden, at most, where nothing tells how many are.
constexpr size_t kMostPadding = 4;
// Positions up to which bf16 holds every one.
constexpr size_t kBF16Positions = 256;

// Of the rows from `first` on, and of those before it, which differ.
struct Split {
  std::optional<size_t> from;   // the rows before it agree
  std::optional<size_t> until;  // it and those after it agree
};

Split SplitOf(const std::vector<bool>& differs) {
  Split split;
  const auto first = absl::c_find(differs, true);
  if (first == differs.end()) return split;
  const auto last = std::find(differs.rbegin(), differs.rend(), true).base();
  const auto most_of = [](auto begin, auto end) {
    return 2 * std::count(begin, end, true) >= end - begin;
  };
  if (first != differs.begin() && most_of(first, differs.end())) {
    split.from = static_cast<size_t>(first - differs.begin());
  }
  if (last != differs.end() && differs.front() &&
      most_of(differs.begin(), last)) {
    split.until = static_cast<size_t>(last - differs.begin());
  }
  return split;
}

class Finder {
 public:
  Finder(const ModelConfig& config, const AlignedTrace& trace,
         const Belief& belief, const Evidence& evidence)
      : config_(config),
        trace_(trace),
        variant_(belief.variant()),
        num_layers_(belief.plan.num_layers()),
        evidence_(evidence) {}

  std::vector<Hypothesis> Find() {
    Positions();
    BF16Positions();
    Masks();
    Scales();
    for (const PointEvidence& of : evidence_) {
      if (PointOf(of).op != Op::kLmHead) continue;
      for (Hypothesis& h : LogitsHypotheses(PointOf(of).tensor->rows.view(),
                                            {of.ours.data(), of.rows, of.cols},
                                            UnitRoundoff(trace_.format()))) {
        all_.push_back(std::move(h));
      }
    }
    return std::move(all_);
  }

 private:
  const Point& PointOf(const PointEvidence& of) const {
    return trace_.points()[of.point];
  }

  void Add(std::string id, std::string what, std::string advice,
           std::function<void(Variant&)> edit) {
    if (absl::c_any_of(all_, [&](const Hypothesis& h) { return h.id == id; })) {
      return;
    }
    Hypothesis h;
    h.id = std::move(id);
    h.what = std::move(what);
    h.advice = std::move(advice);
    h.variant = std::move(edit);
    all_.push_back(std::move(h));
  }

  const PointEvidence* FirstOf(Op op) const {
    for (const PointEvidence& of : evidence_) {
      if (PointOf(of).op == op) return &of;
    }
    return nullptr;
  }

  // The first evidence, if it is of an op that reads what `op` makes in its
  // layer, of which the trace has nothing in between.
  const PointEvidence* FirstBehind(Op op) const {
    if (evidence_.empty()) return nullptr;
    const Point& point = PointOf(evidence_.front());
    if (!IsPerLayer(point.op) || point.op < op || point.op == Op::kPostNorm ||
        point.op == Op::kGateProj || point.op == Op::kUpProj ||
        point.op == Op::kSwiGlu || point.op == Op::kDownProj ||
        point.op == Op::kKvV) {
      return nullptr;
    }
    return trace_.Find(point.layer, op) < 0 ? &evidence_.front() : nullptr;
  }

  // Of which heads.
  enum class Of { kBoth, kQueries, kKeys };

  void AddPositions(size_t row, int64_t start, int64_t step,
                    Of heads = Of::kBoth) {
    const int64_t at = static_cast<int64_t>(row);
    const int64_t by = start - at;
    if (row == 0 || (by == 0 && step == 1)) return;
    std::string id = heads == Of::kBoth      ? "positions_"
                     : heads == Of::kQueries ? "query_positions_"
                                             : "key_positions_";
    std::string what = absl::StrCat("positions of RoPE", heads == Of::kBoth ? ""
                                                         : heads == Of::kQueries
                                                             ? " of queries"
                                                             : " of keys");
    if (step == 0) {
      absl::StrAppend(&id, "stuck_at_", start, "_from_", row);
      absl::StrAppend(&what, " stand still at ", start, " from position ", row,
                      " on");
    } else if (step == 1 && start == 0) {
      absl::StrAppend(&id, "restart_at_", row);
      absl::StrAppend(&what, " begin at 0 again at position ", row);
    } else if (step == 1) {
      absl::StrAppend(&id, by > 0 ? "plus_" : "minus_", std::abs(by), "_from_",
                      row);
      absl::StrAppend(&what, " are ", std::abs(by),
                      by > 0 ? " too large" : " too small", " from position ",
                      row, " on");
    } else {
      absl::StrAppend(&id, "by_", step, "_from_", start, "_at_", row);
      absl::StrAppend(&what, " advance by ", step, " a token from position ",
                      row, " on, where they are ", start);
    }
    Add(std::move(id), std::move(what),
        "pass each token's own position to RoPE: the number of tokens before "
        "it, those in the cache included",
        [row, start, step, heads](Variant& v) {
          if (heads != Of::kKeys) v.q_positions = {row, start, step};
          if (heads != Of::kQueries) v.k_positions = {row, start, step};
        });
  }

  void Positions() {
    if (const PointEvidence* rope = FirstOf(Op::kRope)) {
      PositionsByAngle(*rope);
      return;
    }
    const PointEvidence* of = FirstBehind(Op::kRope);
    if (of == nullptr) return;
    const Split split = SplitOf(of->differs);
    if (!split.from.has_value()) return;
    const size_t row = *split.from;
    const int64_t at = static_cast<int64_t>(row);
    AddPositions(row, 0, 0);
    AddPositions(row, at - 1, 0);
    AddPositions(row, 0, 1);
    AddPositions(row, at + 1, 2);
    AddPositions(row, at - 1, 0, Of::kKeys);
    AddPositions(row, 0, 0, Of::kKeys);
    // The tokens before it counted twice, from there on or from the one before.
    for (const int64_t by : {int64_t{1}, int64_t{-1}, at - 2, at - 1, at}) {
      if (at + by >= 0) AddPositions(row, at + by, 1);
    }
  }

  // Whatever differs, where there are positions that bf16 does not hold: from
  // states the first rows that they move may not be told from rounding.
  void BF16Positions() {
    const bool any = absl::c_any_of(trace_.points(), [](const Point& point) {
      return point.tensor->first_position + point.tensor->rows.rows() >
             kBF16Positions + 1;
    });
    if (evidence_.empty() || !any) return;
    Add("rope_positions_bf16",
        absl::StrCat("positions are rounded to bf16, which holds all of them "
                     "up to ",
                     kBF16Positions),
        "keep position ids in integers, or in f32",
        [](Variant& v) { v.rope_rounding = RopeRounding::kPositionsBF16; });
  }

  void PositionsByAngle(const PointEvidence& rope) {
    const Point& point = PointOf(rope);
    if (rope.rows != rope.differs.size() ||
        rope.rows != point.tensor->rows.rows()) {
      return;
    }
    const auto first = absl::c_find(rope.differs, true);
    if (first == rope.differs.end()) return;
    const size_t row = static_cast<size_t>(first - rope.differs.begin());
    const auto q = StartByAngle(rope, row, Of::kQueries);
    const auto k = StartByAngle(rope, row, Of::kKeys);
    if (q == k && q.has_value()) {
      AddStart(row, *q, Of::kBoth);
      return;
    }
    if (q.has_value()) AddStart(row, *q, Of::kQueries);
    if (k.has_value()) AddStart(row, *k, Of::kKeys);
  }

  // A position, and how far it is to the next row's.
  using Start = std::pair<int64_t, int64_t>;

  void AddStart(size_t row, const Start& start, Of heads) {
    const int64_t by = start.first - static_cast<int64_t>(row);
    if (row > 0) {
      AddPositions(row, start.first, start.second, heads);
      if (start.second != 1) AddPositions(row, start.first, 1, heads);
    } else if (start.second == 1 && std::abs(by) > 1 && heads == Of::kBoth) {
      Add(absl::StrCat("positions_", by > 0 ? "plus_" : "minus_", std::abs(by)),
          absl::StrCat("positions of RoPE are ", std::abs(by),
                       by > 0 ? " too large" : " too small"),
          "count positions from 0; scores do not change, but a cache that "
          "mixes both does",
          [by](Variant& v) { v.q_position_offset = v.k_position_offset = by; });
    }
  }

  std::optional<Start> StartByAngle(const PointEvidence& rope, size_t row,
                                    Of heads) const {
    const auto start = PositionByAngle(rope, row, heads);
    if (!start.has_value()) return std::nullopt;
    const auto next = row + 1 < rope.rows
                          ? PositionByAngle(rope, row + 1, heads)
                          : std::nullopt;
    return Start(*start, next.has_value() ? *next - *start : 1);
  }

  // The position by which theirs is rotated, if there is one.
  std::optional<int64_t> PositionByAngle(const PointEvidence& rope, size_t row,
                                         Of heads) const {
    const Point& point = PointOf(rope);
    const Variant variant = variant_.In(point.layer);
    ModelConfig config = config_;
    if (variant.rope_theta != 0) config.rope_theta = variant.rope_theta;
    const std::vector<double> frequencies = RopeFrequencies(config);
    const size_t half = frequencies.size();
    const bool halves = variant.rope_pairs == RopePairs::kHalves;
    const bool queries = heads == Of::kQueries;
    const size_t q_size = static_cast<size_t>(config_.q_size());
    const double* const theirs = point.tensor->rows.view().Row(row);
    const double* const ours = rope.ours.data() + row * rope.cols;
    // Of each pair, how theirs is turned against ours, of all heads.
    std::vector<std::complex<double>> turned(half);
    double all = 0;
    for (size_t head = queries ? 0 : q_size;
         head < (queries ? q_size : rope.cols); head += 2 * half) {
      for (size_t i = 0; i < half; ++i) {
        const size_t a = head + (halves ? i : 2 * i);
        const size_t b = head + (halves ? i + half : 2 * i + 1);
        const std::complex<double> z =
            std::complex<double>(theirs[a], theirs[b]) *
            std::conj(std::complex<double>(ours[a], ours[b]));
        turned[i] += z;
        all += std::abs(z);
      }
    }
    const int64_t here =
        queries ? variant.q_positions.At(row) + variant.q_position_offset
                : variant.k_positions.At(row) + variant.k_position_offset;
    const int64_t most =
        std::min<int64_t>(kMostPositions, config_.max_position_embeddings);
    double best = 0;
    int64_t found = -1;
    for (int64_t position = 0; position < most; ++position) {
      const double by = static_cast<double>(position - here);
      double along = 0;
      for (size_t i = 0; i < half; ++i) {
        along += (turned[i] * std::polar(1.0, -by * frequencies[i])).real();
      }
      if (along > best) {
        best = along;
        found = position;
      }
    }
    if (!(best >= kSamePosition * all)) return std::nullopt;
    return found;
  }

  void AddUnmasked(size_t rows) {
    Add(absl::StrCat("prefill_unmasked_", rows),
        absl::StrCat("the first ", rows,
                     " positions all see each other: they have no causal "
                     "mask, later ones do"),
        "mask later positions in the prefill, too",
        [rows](Variant& v) { v.mask.unmasked_rows = rows; });
  }

  void AddHidden(size_t first_key, size_t from_row, Unseeing unseeing) {
    const bool chunk = first_key == from_row;
    std::string id = chunk ? absl::StrCat("cache_ignored_from_", from_row)
                           : absl::StrCat("keys_hidden_before_", first_key);
    if (!chunk && from_row > 0) absl::StrAppend(&id, "_from_", from_row);
    if (!chunk && from_row < first_key && unseeing == Unseeing::kUniform) {
      absl::StrAppend(&id, "_uniform");
    }
    std::string what = absl::StrCat("positions from ", from_row,
                                    " on see no keys before ", first_key);
    if (from_row < first_key) {
      absl::StrAppend(
          &what, ", and those that this leaves nothing ",
          unseeing == Unseeing::kNaN ? "are NaN" : "see all keys alike");
    }
    Add(std::move(id), std::move(what),
        chunk ? "let a second chunk, and decoding, attend to the keys in the "
                "cache"
              : "hide padding only, and number the mask's columns as the cache "
                "does",
        [first_key, from_row, unseeing](Variant& v) {
          v.mask.first_key = first_key;
          v.mask.from_row = from_row;
          v.mask.unseeing = unseeing;
        });
  }

  void Masks() {
    if (const PointEvidence* softmax = FirstOf(Op::kSoftmax)) {
      MasksByWeights(PointOf(*softmax).tensor->rows.view());
      return;
    }
    const PointEvidence* of = FirstBehind(Op::kSoftmax);
    if (of == nullptr) return;
    const Matrix<const double> theirs = PointOf(*of).tensor->rows.view();
    size_t nan = 0;  // first rows
    while (nan < theirs.rows && std::isnan(theirs.Row(nan)[0])) ++nan;
    if (nan > 0 && nan < theirs.rows) AddHidden(nan, 0, Unseeing::kNaN);
    const Split split = SplitOf(of->differs);
    if (nan == 0 && of->differs.front() && !split.until.has_value()) {
      // Row 0 sees itself alone, unless padding is hidden.
      for (size_t key = 1; key < std::min(theirs.rows, kMostPadding); ++key) {
        AddHidden(key, 0, Unseeing::kUniform);
      }
    }
    if (split.until.has_value()) AddUnmasked(*split.until + 1);
    if (split.from.has_value()) {
      AddHidden(*split.from, *split.from, Unseeing::kNaN);
      AddHidden(1, *split.from, Unseeing::kNaN);
    }
  }

  // [heads * positions, positions]
  void MasksByWeights(Matrix<const double> weights) {
    const size_t n = weights.cols;
    std::vector<size_t> first(n, n), end(n);  // of the keys that a row sees
    for (size_t r = 0; r < weights.rows; ++r) {
      for (size_t j = 0; j < n; ++j) {
        const double w = weights.Row(r)[j];
        if (w == 0 || std::isnan(w)) continue;
        first[r % n] = std::min(first[r % n], j);
        end[r % n] = std::max(end[r % n], j + 1);
      }
    }
    // A row that sees nothing does not count.
    size_t unmasked = 0, hidden = 0, from_row = n, all_alike = 0;
    for (size_t p = 0; p < n; ++p) {
      if (end[p] > p + 1) unmasked = std::max(unmasked, end[p]);
      if (end[p] == n && first[p] == 0 && p + 1 < n) ++all_alike;
      if (first[p] > 0 && first[p] < n) {
        hidden = std::max(hidden, first[p]);
        from_row = std::min(from_row, p);
      }
      if (first[p] == n) from_row = std::min(from_row, p);
    }
    if (hidden > 0) {
      if (unmasked == n && all_alike > 0) from_row = 0;
      AddHidden(hidden, from_row, Unseeing::kNaN);
      if (from_row < hidden) AddHidden(hidden, from_row, Unseeing::kUniform);
    } else if (unmasked > 0) {
      AddUnmasked(unmasked);
    }
  }

  // Of an op of weights, where a factor is all that differs: in each layer its
  // own, as of a scale per tensor.
  void Scales() {
    std::map<Op, std::map<size_t, OpScale>> scales;  // by layer
    for (const PointEvidence& of : evidence_) {
      const Point& point = PointOf(of);
      if (!IsPerLayer(point.op) || OpKernel(point.op) != Kernel::kMatMul ||
          IsScores(point.op) || point.op == Op::kAv) {
        continue;
      }
      const bool biased = of.without_bias.ours_squares > 0;
      const bool on_product =
          biased && of.without_bias.Apart() < of.whole.Apart();
      const PointEvidence::Line& line = on_product ? of.without_bias : of.whole;
      const double elements =
          static_cast<double>(of.differs.size()) * static_cast<double>(of.cols);
      if (!(line.Apart() < kOneFactor) || line.Factor() == 0) continue;
      const double factor = NearestNumber(
          line.Factor(), std::sqrt(std::max(line.Apart(), 0x1p-48) / elements));
      if (factor == 1) continue;
      scales[point.op][point.layer] = {point.op, factor, biased && !on_product};
    }
    for (const auto& [op, by_layer] : scales) AddScale(op, by_layer);
  }

  void AddScale(Op op, const std::map<size_t, OpScale>& by_layer) {
    std::string id(OpName(op));
    std::string place(OpName(op));
    if (by_layer.size() < num_layers_) {
      const auto layer = [](std::string* out, const auto& item) {
        absl::StrAppend(out, item.first);
      };
      absl::StrAppend(&id, "@", absl::StrJoin(by_layer, ",", layer));
      absl::StrAppend(&place, " in layer", by_layer.size() > 1 ? "s " : " ",
                      absl::StrJoin(by_layer, ", ", layer));
    }
    const double factor = by_layer.begin()->second.factor;
    const bool same = absl::c_all_of(by_layer, [&](const auto& item) {
      return item.second.factor == factor;
    });
    Hypothesis h;
    h.id = same ? absl::StrFormat("%s_scaled_%.4g", id, factor)
                : absl::StrCat(id, "_scaled");
    h.what =
        same ? absl::StrFormat("%s computes %.4g times what its weights say",
                               place, factor)
             : absl::StrFormat(
                   "%s computes what its weights say by a factor "
                   "of each layer's own, %.4g in layer %d",
                   place, factor, by_layer.begin()->first);
    h.advice =
        "apply the scale that the weights are stored with, and only once";
    h.by_layer = [by_layer](size_t layer, Variant& v) {
      const auto found = by_layer.find(layer);
      if (found != by_layer.end()) v.scales.push_back(found->second);
    };
    all_.push_back(std::move(h));
  }

  const ModelConfig& config_;
  const AlignedTrace& trace_;
  const Variant variant_;
  const size_t num_layers_;
  const Evidence& evidence_;
  std::vector<Hypothesis> all_;
};

}  // namespace

std::vector<Hypothesis> EvidentHypotheses(const ModelConfig& config,
                                          const AlignedTrace& trace,
                                          const Belief& belief,
                                          const Evidence& evidence) {
  return Finder(config, trace, belief, evidence).Find();
}

}  // namespace ulpscope
