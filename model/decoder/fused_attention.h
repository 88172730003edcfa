#ifndef MODEL_DECODER_FUSED_ATTENTION_H_
#define MODEL_DECODER_FUSED_ATTENTION_H_

#include "kernels/base/matrix.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"

namespace ulpscope {

// What some heads make of the scores of one position, in a fused form.
struct FusedArgs {
  AttentionForm form;
  Strategy softmax, av;
  double scale = 1;  // of the scores
  // [heads, keys]: sums of qk as its accumulators have them, neither scaled nor
  // rounded. Overwritten.
  Matrix<double> scores;
  PanelsView values;  // of the keys, as KvCache::Values
  Matrix<double> y;   // [heads, head_dim]
};

// docs/numerics.md says what each form computes. Runs in the caller.
void AttendFused(const FusedArgs& args);

// The same, and in `weights` (another [heads, keys]) how much of each value is
// in y: what eager attention's softmax shows.
void AttendFusedShowing(const FusedArgs& args, Matrix<double> weights);

}  // namespace ulpscope

#endif  // MODEL_DECODER_FUSED_ATTENTION_H_
