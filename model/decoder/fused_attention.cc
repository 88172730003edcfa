#include "model/decoder/fused_attention.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/online_softmax.h"
#include "kernels/ops/panels.h"
#include "model/architecture/attention_form.h"

namespace ulpscope {
namespace {

constexpr size_t kSdpaKeys = 512;
constexpr size_t kFlash4Keys = 128;
constexpr size_t kSplitKvKeys = 64;

size_t BlockKeys(const AttentionForm& form) {
  switch (form.kind) {
    case AttentionKind::kSdpa:
      return kSdpaKeys;
    case AttentionKind::kFlash2:
      return form.block;
    case AttentionKind::kFlash4:
      return kFlash4Keys;
    default:
      return kSplitKvKeys;
  }
}

// Keys of a part: whole blocks, as many as evenly as they go, the last parts
// fewer or none.
size_t PartKeys(const AttentionForm& form, size_t keys) {
  if (form.kind != AttentionKind::kSplitKv) return keys;
  const size_t blocks = hwy::DivCeil(keys, kSplitKvKeys);
  return hwy::DivCeil(blocks, form.parts) * kSplitKvKeys;
}

Matrix<double> Columns(Matrix<double> m, size_t first, size_t count) {
  return {m.data + first, m.rows, count, m.stride};
}

// The values of some keys.
PanelsView Keys(PanelsView values, size_t first, size_t count) {
  values.data = static_cast<const unsigned char*>(values.data) +
                first * kPanelWidth * DTypeSize(values.dtype);
  values.k = count;
  return values;
}

// What the heads have of some blocks.
class Running {
 public:
  Running(size_t heads, size_t head_dim)
      : heads_(heads), head_dim_(head_dim), data_(heads * (2 * head_dim + 3)) {}

  void Start() {
    std::fill(data_.begin(), data_.end(), 0);
    std::fill_n(max(), heads_, -std::numeric_limits<double>::infinity());
  }

  double* max() { return data_.data(); }
  double* sum() { return max() + heads_; }
  double* alpha() { return sum() + heads_; }
  // Of values, and of those of one block.
  Matrix<double> sums() { return {alpha() + heads_, heads_, head_dim_}; }
  Matrix<double> block() {
    return {alpha() + heads_ * (1 + head_dim_), heads_, head_dim_};
  }

  OnlineSoftmaxArgs ArgsOf(const FusedArgs& args, Matrix<double> scores) {
    OnlineSoftmaxArgs online;
    online.exp = args.form.kind == AttentionKind::kSdpa   ? BlockExp::kTorch
                 : args.form.kind == AttentionKind::kGgml ? BlockExp::kExp
                                                          : BlockExp::kExp2;
    online.scale = args.scale;
    online.threshold = args.form.threshold;
    online.scores = scores;
    online.max = max();
    online.sum = sum();
    online.alpha = alpha();
    return online;
  }

 private:
  size_t heads_, head_dim_;
  std::vector<double> data_;
};

// The keys from `first` to `end`, whose scores become weights of their block.
void AddBlocks(const FusedArgs& args, size_t first, size_t end,
               Running& running) {
  Parallel serial;
  running.Start();
  const size_t block = BlockKeys(args.form);
  for (size_t keys = 0; first < end; first += keys) {
    keys = std::min(block, end - first);
    const Matrix<double> scores = Columns(args.scores, first, keys);
    OnlineSoftmax(args.softmax, running.ArgsOf(args, scores));
    MatMulArgs av;
    av.a = scores;
    av.b = Keys(args.values, first, keys);
    av.c = running.block();
    av.unrounded = true;
    MatMul(args.av, av, serial);
    ScaleAndAdd(args.av, running.sums(), running.alpha(),
                args.form.kind != AttentionKind::kSdpa, running.block(),
                running.sums());
  }
}

// Parts of the keys, each divided by its sum; the sum of their shares is
// rounded.
void AttendParts(const FusedArgs& args, const Matrix<double>* weights) {
  const size_t heads = args.scores.rows;
  const size_t keys = args.scores.cols;
  const size_t part = PartKeys(args.form, keys);
  const size_t parts = hwy::DivCeil(keys, part);
  const size_t width = args.y.cols;
  std::vector<Running> running(parts, Running(heads, width));
  std::vector<double> data(3 * parts * heads + heads * width);
  const Matrix<double> maxima(data.data(), parts, heads);
  const Matrix<double> sums(maxima.data + parts * heads, parts, heads);
  const Matrix<double> shares(sums.data + parts * heads, parts, heads);
  const Matrix<double> all(shares.data + parts * heads, heads, width);
  for (size_t i = 0; i < parts; ++i) {
    AddBlocks(args, i * part, std::min(keys, (i + 1) * part), running[i]);
    std::copy_n(running[i].max(), heads, maxima.Row(i));
    std::copy_n(running[i].sum(), heads, sums.Row(i));
    DivideBySums(args.av, running[i].sums(), running[i].sum(), true,
                 running[i].sums());
  }
  PartShares(args.softmax, args.scale, maxima, sums, shares);
  for (size_t i = 0; i < parts; ++i) {
    ScaleAndAdd(args.av, running[i].sums(), shares.Row(i), true, all, all);
    if (weights == nullptr) continue;
    const size_t count = std::min(keys, (i + 1) * part) - i * part;
    FinalWeights(args.softmax,
                 running[i].ArgsOf(args, Columns(*weights, i * part, count)),
                 shares.Row(i));
  }
  const std::vector<double> ones(heads, 1);
  DivideBySums(args.av, all, ones.data(), false, args.y);
}

void AddKeys(const FusedArgs& args, Running& running) {
  const size_t heads = args.scores.rows;
  const size_t keys = args.scores.cols;
  thread_local std::vector<double> data;
  data.resize(heads * keys);
  const Matrix<double> factors(data.data(), heads, keys);
  running.Start();
  WeighKeyByKey(args.softmax, running.ArgsOf(args, args.scores), factors);
  AddKeyByKey(args.av, args.scores, factors, args.values, running.sums());
}

// `weights`, if there are any, hold the scores too.
void Attend(const FusedArgs& args, const Matrix<double>* weights) {
  if (args.form.kind == AttentionKind::kSplitKv) {
    AttendParts(args, weights);
    return;
  }
  Running running(args.scores.rows, args.y.cols);
  if (args.form.kind == AttentionKind::kGgml) {
    AddKeys(args, running);
  } else {
    AddBlocks(args, 0, args.scores.cols, running);
  }
  DivideBySums(args.av, running.sums(), running.sum(), false, args.y);
  if (weights != nullptr) {
    FinalWeights(args.softmax, running.ArgsOf(args, *weights), nullptr);
  }
}

}  // namespace

void AttendFused(const FusedArgs& args) { Attend(args, nullptr); }

void AttendFusedShowing(const FusedArgs& args, Matrix<double> weights) {
  for (size_t h = 0; h < weights.rows; ++h) {
    std::copy_n(args.scores.Row(h), weights.cols, weights.Row(h));
  }
  Attend(args, &weights);
}

}  // namespace ulpscope
