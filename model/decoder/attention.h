#ifndef MODEL_DECODER_ATTENTION_H_
#define MODEL_DECODER_ATTENTION_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/decoder/kv_cache.h"

namespace ulpscope {

// Grouped-query causal attention of some positions of one layer: row r of q is
// position first_position + r, attends to all up to itself, and becomes row r
// of y. The keys and values of all of them are in the cache. The last fields
// are a variant's.
struct AttentionArgs {
  Matrix<const double> q;  // [rows, heads * head_dim]
  const KvCache* cache = nullptr;
  size_t layer = 0;  // of the cache
  size_t first_position = 0;
  size_t kv_heads = 0;
  size_t head_dim = 0;
  Strategy qk, softmax, av;
  AttentionForm form;
  Matrix<double> y;  // [rows, heads * head_dim]
  KvHeads order = KvHeads::kGrouped;
  double scale = 0;  // 0: 1 / sqrt(head_dim)
  // Positions that all attend to; 0: each to those up to itself, but for the
  // mask.
  size_t all_positions = 0;
  KeyMask mask;
  size_t positions = 0;  // of the sequence, of which `mask` is
  // Others than the standard one are eager, whatever the form is, and so is
  // what has a mask.
  SoftmaxForm softmax_form = SoftmaxForm::kStandard;
};

// Rows whose scores are best computed at once: with the heads of a group they
// fill tiles of MatMul.
size_t AttentionRows(const AttentionArgs& args);

// The query heads that share a KV head, of `rows` rows from `row` on. All rows
// and KV heads are all of attention, in any order and any parts, on any
// threads: a row has the same bits in each.
void AttendGroup(const AttentionArgs& args, size_t row, size_t rows,
                 size_t kv_head);

// Calls show(op, position, scores) with the scores of each position: a row per
// head, a column per position attended to; first for qk, then for softmax. In
// fused forms, which do not have them, these are the scaled sums of qk in its
// accumulators' type, and how much of each value is in y.
void AttendShowing(
    const AttentionArgs& args, Parallel& parallel,
    absl::FunctionRef<void(Op, size_t, Matrix<const double>)> show);

}  // namespace ulpscope

#endif  // MODEL_DECODER_ATTENTION_H_
