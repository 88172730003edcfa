#include "model/decoder/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/softmax.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/decoder/fused_attention.h"
#include "model/decoder/variant_ops.h"

namespace ulpscope {
namespace {

size_t GroupSize(const AttentionArgs& args) {
  return args.q.cols / args.head_dim / args.kv_heads;
}

size_t Length(const AttentionArgs& args, size_t row) {
  if (args.all_positions > 0) return args.all_positions;
  const size_t position = args.first_position + row;
  return args.mask.empty() ? position + 1
                           : args.mask.Length(position, args.positions);
}

// The rows of the group's query heads, of values that are `width` per head.
template <typename T>
Matrix<T> GroupRows(const AttentionArgs& args, size_t kv_head, T* heads,
                    size_t width) {
  const size_t group = GroupSize(args);
  if (args.order == KvHeads::kTiled) {
    return {heads + kv_head * width, group, width, args.kv_heads * width};
  }
  return {heads + kv_head * group * width, group, width};
}

bool IsFused(const AttentionArgs& args) {
  return args.form.fused() && args.softmax_form == SoftmaxForm::kStandard &&
         args.mask.empty();
}

double ScaleOf(const AttentionArgs& args) {
  return args.scale != 0 ? args.scale
                         : 1 / std::sqrt(static_cast<double>(args.head_dim));
}

// The three steps. Scores of some rows from `row` on: each row's group of heads
// after the other, and of each as many columns as the last row attends to. What
// a row does not attend to has scores that nobody reads. Those of a fused form
// are not rounded.
void Score(const AttentionArgs& args, size_t row, size_t kv_head, double scale,
           Matrix<double> scores) {
  const size_t group = GroupSize(args);
  const size_t rows = scores.rows / group;
  thread_local std::vector<double> queries;
  queries.resize(scores.rows * args.head_dim);
  double* to = queries.data();
  for (size_t r = 0; r < rows; ++r) {
    const Matrix<const double> heads =
        GroupRows(args, kv_head, args.q.Row(row + r), args.head_dim);
    for (size_t h = 0; h < group; ++h, to += args.head_dim) {
      std::copy_n(heads.Row(h), args.head_dim, to);
    }
  }
  MatMulArgs qk;
  qk.a = {queries.data(), scores.rows, args.head_dim};
  qk.b = args.cache->Keys(args.layer, kv_head, scores.cols);
  qk.scale = scale;
  qk.c = scores;
  qk.unrounded = IsFused(args);
  Parallel serial;
  MatMul(args.qk, qk, serial);
}

// Hides what the mask hides from the row, and normalizes the rest.
void Normalize(const AttentionArgs& args, size_t row, Matrix<double> scores) {
  if (!args.mask.empty() && args.all_positions == 0) {
    Hide(args.mask, args.first_position + row, scores);
  }
  if (args.softmax_form == SoftmaxForm::kF16WithoutMax) {
    SoftmaxInF16(args.softmax, scores);
  } else {
    Softmax(args.softmax, scores, scores);
  }
}

void Weigh(const AttentionArgs& args, size_t row, size_t kv_head,
           Matrix<double> scores) {
  MatMulArgs av;
  av.a = scores;
  av.b = args.cache->Values(args.layer, kv_head, scores.cols);
  av.c = GroupRows(args, kv_head, args.y.Row(row), args.head_dim);
  Parallel serial;
  MatMul(args.av, av, serial);
}

// Normalize and Weigh in a fused form.
FusedArgs FusedArgsOf(const AttentionArgs& args, size_t row, size_t kv_head,
                      Matrix<double> scores) {
  FusedArgs fused;
  fused.form = args.form;
  fused.softmax = args.softmax;
  fused.av = args.av;
  fused.scale = ScaleOf(args);
  fused.scores = scores;
  fused.values = args.cache->Values(args.layer, kv_head, scores.cols);
  fused.y = GroupRows(args, kv_head, args.y.Row(row), args.head_dim);
  return fused;
}

void ShowFused(const AttentionArgs& args, Parallel& parallel,
               absl::FunctionRef<void(Op, size_t, Matrix<const double>)> show) {
  const size_t heads = args.q.cols / args.head_dim;
  std::vector<double> shown, sums;
  for (size_t row = 0; row < args.q.rows; ++row) {
    const size_t length = Length(args, row);
    shown.resize(heads * length);
    sums.resize(heads * length);
    const Matrix<const double> all(shown.data(), heads, length);
    const auto group = [&](size_t h, std::vector<double>& data) {
      return GroupRows(args, h, data.data(), length);
    };
    parallel.For(args.kv_heads, [&](size_t h) {
      Score(args, row, h, ScaleOf(args), group(h, shown));
      Score(args, row, h, 1, group(h, sums));
    });
    show(Op::kQk, args.first_position + row, all);
    parallel.For(args.kv_heads, [&](size_t h) {
      AttendFusedShowing(FusedArgsOf(args, row, h, group(h, sums)),
                         group(h, shown));
    });
    show(Op::kSoftmax, args.first_position + row, all);
  }
}

}  // namespace

size_t AttentionRows(const AttentionArgs& args) {
  constexpr size_t kHeads = 28;  // two tiles of the largest
  return std::max<size_t>(1, kHeads / GroupSize(args));
}

void AttendGroup(const AttentionArgs& args, size_t row, size_t rows,
                 size_t kv_head) {
  const size_t group = GroupSize(args);
  size_t most = 0;
  for (size_t r = 0; r < rows; ++r) {
    most = std::max(most, Length(args, row + r));
  }
  thread_local std::vector<double> data;
  data.resize(rows * group * most);
  const bool fused = IsFused(args);
  Score(args, row, kv_head, fused ? 1 : ScaleOf(args),
        {data.data(), rows * group, most});
  for (size_t r = 0; r < rows; ++r) {
    const Matrix<double> scores(data.data() + r * group * most, group,
                                Length(args, row + r), most);
    if (fused) {
      AttendFused(FusedArgsOf(args, row + r, kv_head, scores));
      continue;
    }
    Normalize(args, row + r, scores);
    Weigh(args, row + r, kv_head, scores);
  }
}

void AttendShowing(
    const AttentionArgs& args, Parallel& parallel,
    absl::FunctionRef<void(Op, size_t, Matrix<const double>)> show) {
  if (IsFused(args)) {
    ShowFused(args, parallel, show);
    return;
  }
  const size_t heads = args.q.cols / args.head_dim;
  std::vector<double> data;
  for (size_t row = 0; row < args.q.rows; ++row) {
    const size_t length = Length(args, row);
    data.resize(heads * length);
    const Matrix<const double> all(data.data(), heads, length);
    const auto scores = [&](size_t h) {
      return GroupRows(args, h, data.data(), length);
    };
    parallel.For(args.kv_heads, [&](size_t h) {
      Score(args, row, h, ScaleOf(args), scores(h));
    });
    show(Op::kQk, args.first_position + row, all);
    parallel.For(args.kv_heads,
                 [&](size_t h) { Normalize(args, row, scores(h)); });
    show(Op::kSoftmax, args.first_position + row, all);
    parallel.For(args.kv_heads,
                 [&](size_t h) { Weigh(args, row, h, scores(h)); });
  }
}

}  // namespace ulpscope
