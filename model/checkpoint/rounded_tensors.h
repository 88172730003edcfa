#ifndef MODEL_CHECKPOINT_ROUNDED_TENSORS_H_
#define MODEL_CHECKPOINT_ROUNDED_TENSORS_H_

#include <memory>

#include "model/files/tensor.h"

namespace ulpscope {

// What stored weights may have been rounded to before somebody used them.
enum class WeightRounding {
  kBF16,  // all tensors
  kF16,   // all tensors
  kQ8_0,  // matrices, in ggml's blocks of 32: q = round(x / d), d = max |x| /
          // 127
};

// The source's tensors, each rounded to nearest when it is loaded: of dtype
// BF16 or F16 (too large numbers become infinite), or F32 where it is a matrix
// rounded to Q8_0. Vectors, and matrices whose rows are no whole blocks, are
// not rounded to Q8_0. `source` must outlive it.
std::unique_ptr<TensorSource> RoundedTensors(TensorSource& source,
                                             WeightRounding rounding);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_ROUNDED_TENSORS_H_
