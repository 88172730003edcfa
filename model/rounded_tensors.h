#ifndef MODEL_ROUNDED_TENSORS_H_
#define MODEL_ROUNDED_TENSORS_H_

#include <memory>

#include "model/tensor.h"

namespace ulpscope {

// What stored weights may have been rounded to before somebody used them.
enum class WeightRounding {
  kBF16,  // all tensors
  kF16,   // all tensors
  kQ8_0,  // matrices, in ggml's blocks of 32: q = round(x / d), d = max |x| /
          // 127
};

// The source's tensors, each rounded when it is loaded. F32 where the rounding
// is Q8_0. `source` must outlive it.
std::unique_ptr<TensorSource> RoundedTensors(TensorSource& source,
                                             WeightRounding rounding);

}  // namespace ulpscope

#endif  // MODEL_ROUNDED_TENSORS_H_
