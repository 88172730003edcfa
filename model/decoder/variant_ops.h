#ifndef MODEL_DECODER_VARIANT_OPS_H_
#define MODEL_DECODER_VARIANT_OPS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/variant.h"
#include "model/decoder/layer_ops.h"

namespace ulpscope {

// Ops of a layer as a variant has them; of a default one they are those of
// layer_ops.h and kernels/ops/elementwise.h, bit for bit.

// NormRows. `eps` is the config's. Where the weight comes before the cast, a
// result in bf16 or f16 is rounded once, from f32, and the squares are summed
// by f32 whatever the strategy; 1 is then added to a weight in f32, as Gemma
// does, and otherwise before it is rounded. The carry is not read then.
void VariantNorm(Strategy strategy, const Variant& variant, const NormInput& in,
                 const std::vector<double>& weight, double eps,
                 Matrix<double> y, Parallel& parallel);

// RopeAngles::Rotate.
void VariantRotate(Strategy strategy, const Variant& variant,
                   const RopeAngles& angles, size_t i, Matrix<double> heads);

// SwiGlu. Operands, activations other than SiLU, and products are each rounded
// to the strategy's result format; these activations are f64's.
void VariantSwiGlu(Strategy strategy, const Variant& variant,
                   Matrix<const double> gate, Matrix<const double> up,
                   Matrix<double> y, Parallel& parallel);

// Has row i of each head's scores, of keys that the mask hides from that
// position, at -infinity; of a row to which all keys are alike, at 0.
void Hide(const KeyMask& mask, size_t position, Matrix<double> scores);

// Puts what a projection has computed in the order of `rows`: value i of a row
// is its value rows[i].
void OrderColumns(const std::vector<int32_t>& rows, Matrix<double> y);

// The part of `rows` that is each head's, of heads of so many channels: row i
// of head h is row order[i] of head h. Empty where the heads' differ.
std::vector<int32_t> OrderOfHeads(const std::vector<int32_t>& rows,
                                  size_t head_dim);

// Of unrounded sums without a bias: the product times `factor`, plus the bias
// (of y.cols values, or null), rounded to the strategy's result format.
void ScaleProduct(Strategy strategy, double factor, const double* bias,
                  Matrix<double> y);

// Logits as a variant has them, each step rounded to the strategy's result
// format. The logarithm of the softmax is computed in f64.
void VariantLogits(Strategy strategy, const Variant& variant,
                   Matrix<double> logits, Parallel& parallel);

// Softmax of each row in f16 without subtracting its maximum: the scores, their
// exponentials, the sum after each of them, ascending, and the quotients are
// rounded to f16; at last to the strategy's result format. Exponentials of more
// than 11.09 are infinite: their quotients are NaN, and the others 0.
void SoftmaxInF16(Strategy strategy, Matrix<double> scores);

}  // namespace ulpscope

#endif  // MODEL_DECODER_VARIANT_OPS_H_
