#include "model/attention.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/matmul.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "kernels/softmax.h"
#include "model/op.h"

namespace ulpscope {
namespace {

size_t GroupSize(const AttentionArgs& args) {
  return args.q.cols / args.head_dim / args.kv_heads;
}

// The three steps on the scores of the group: [heads in it, positions so far].
void Score(const AttentionArgs& args, size_t row, size_t kv_head,
           Matrix<double> scores) {
  MatMulArgs<double> qk;
  qk.a = {args.q.Row(row) + kv_head * scores.rows * args.head_dim, scores.rows,
          args.head_dim};
  qk.b = args.cache->Keys(args.layer, kv_head, scores.cols);
  qk.scale = 1 / std::sqrt(static_cast<double>(args.head_dim));
  qk.c = scores;
  Parallel serial;
  MatMul(args.qk, qk, serial);
}

void Normalize(const AttentionArgs& args, Matrix<double> scores) {
  Softmax<double>(args.softmax, scores, scores);
}

void Weigh(const AttentionArgs& args, size_t row, size_t kv_head,
           Matrix<double> scores) {
  MatMulArgs<double> av;
  av.a = scores;
  av.b = args.cache->Values(args.layer, kv_head, scores.cols);
  av.c = {args.y.Row(row) + kv_head * scores.rows * args.head_dim, scores.rows,
          args.head_dim};
  Parallel serial;
  MatMul(args.av, av, serial);
}

}  // namespace

void AttendGroup(const AttentionArgs& args, size_t row, size_t kv_head) {
  const size_t group = GroupSize(args);
  const size_t length = args.first_position + row + 1;
  thread_local std::vector<double> data;
  data.resize(group * length);
  const Matrix<double> scores(data.data(), group, length);
  Score(args, row, kv_head, scores);
  Normalize(args, scores);
  Weigh(args, row, kv_head, scores);
}

void AttendShowing(
    const AttentionArgs& args, Parallel& parallel,
    absl::FunctionRef<void(Op, size_t, Matrix<const double>)> show) {
  const size_t group = GroupSize(args);
  std::vector<double> data;
  for (size_t row = 0; row < args.q.rows; ++row) {
    const size_t length = args.first_position + row + 1;
    data.resize(args.kv_heads * group * length);
    const Matrix<const double> all(data.data(), args.kv_heads * group, length);
    const auto scores = [&](size_t h) {
      return Matrix<double>(data.data() + h * group * length, group, length);
    };
    parallel.For(args.kv_heads,
                 [&](size_t h) { Score(args, row, h, scores(h)); });
    show(Op::kQk, args.first_position + row, all);
    parallel.For(args.kv_heads, [&](size_t h) { Normalize(args, scores(h)); });
    show(Op::kSoftmax, args.first_position + row, all);
    parallel.For(args.kv_heads,
                 [&](size_t h) { Weigh(args, row, h, scores(h)); });
  }
}

}  // namespace ulpscope
