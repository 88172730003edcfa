#ifndef KERNELS_OPS_ONLINE_SOFTMAX_H_
#define KERNELS_OPS_ONLINE_SOFTMAX_H_

#include <cstddef>

#include "kernels/base/matrix.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// The softmax of a fused attention, whose keys come in blocks, and the sums of
// values that go with it (docs/numerics.md, attention). Values in memory are
// f64, and hold what the lanes of the strategy's accumulators have: float, or
// double under f64 and oracle. All of these run in the caller.

// How weights are made of the sums s of a block of scores; m is the maximum.
enum class BlockExp {
  kExp2,  // 2^FMA(s, c, -(m c)), c = scale log2(e)
  // e^(s scale - m scale), each rounded: in whole vectors of 16 by PyTorch's
  // fast exponentials (kernels/ops/torch_exp-inl.h), that of 16-bit types where
  // the strategy's operands are of one; the rest of a block by a good one, as
  // all are in double lanes.
  kTorch,
  kExp,  // the same by the good one alone
};

// A row is one query: what it has of the blocks so far.
struct OnlineSoftmaxArgs {
  BlockExp exp = BlockExp::kExp2;
  double scale = 1;  // of the scores
  // A larger maximum m' is taken if (m' - m) c exceeds this; 0 takes every one.
  double threshold = 0;
  Matrix<double> scores;    // [rows, keys of the block]; become weights
  double* max = nullptr;    // [rows], -inf before the first block
  double* sum = nullptr;    // [rows], 0 before it
  double* alpha = nullptr;  // [rows]: the factor of what came before
};

// Per row: m' = max(m, largest s), or m where that is too little larger;
// weights P as `exp` says; alpha = 2^((m - m') c), or e^(m scale - m' scale);
// the sum becomes FMA(sum, alpha, sum of P), P's by the strategy in a row's 16
// lanes. If m' is -inf, P and alpha are taken as if it was 0. The strategy's
// operand and result formats are not used.
void OnlineSoftmax(Strategy softmax, const OnlineSoftmaxArgs& args);

// Scores as weights of the whole softmax, given the last maxima and sums: P
// over the sum, times share[r] of each row unless it is null.
void FinalWeights(Strategy softmax, const OnlineSoftmaxArgs& args,
                  const double* share);

// Rows that saw different keys: row r of part i has maxima[i][r] and
// sums[i][r], [parts, rows] each. `shares` is how much of a row's weights each
// part has: e^(L_i - L), where L_i = FMA(m, scale, log(sum)), and L = log(sum
// of e^(L_i - M), ascending) + M with the largest L_i as M. Parts with a sum of
// 0 have no share.
void PartShares(Strategy softmax, double scale, Matrix<const double> maxima,
                Matrix<const double> sums, Matrix<double> shares);

// Key by key, ascending, as ggml does: x = s scale; if x > m, the factor of
// what came before is e^(m - x), m = x and the weight 1; else the factor is 1,
// and the weight e^(x - m). The sum becomes FMA(sum, factor, weight). Scores
// become weights; args.exp, threshold and alpha are not used.
void WeighKeyByKey(Strategy softmax, const OnlineSoftmaxArgs& args,
                   Matrix<double> factors);

// y = sums of values, from 0: per key y times its factor, and then FMA(value,
// weight, y), of which the strategy rounds values to its operands' format;
// where that is f16, or values are stored in it, y is rounded to f16 after
// either. `values` as KvCache::Values.
void AddKeyByKey(Strategy av, Matrix<const double> weights,
                 Matrix<const double> factors, const PanelsView& values,
                 Matrix<double> y);

// y = x times the factor of the row plus z, in the lanes of a strategy of
// MatMul; `fused` rounds once. y may be x or z.
void ScaleAndAdd(Strategy av, Matrix<const double> x, const double* factors,
                 bool fused, Matrix<const double> z, Matrix<double> y);

// y = x times the rounded reciprocal of its row's sum (of 1 if that is 0), and
// rounded to the strategy's result unless `unrounded`. y may be x.
void DivideBySums(Strategy av, Matrix<const double> x, const double* sums,
                  bool unrounded, Matrix<double> y);

}  // namespace ulpscope

#endif  // KERNELS_OPS_ONLINE_SOFTMAX_H_
