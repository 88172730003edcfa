#ifndef MODEL_CHECKPOINT_FINGERPRINT_H_
#define MODEL_CHECKPOINT_FINGERPRINT_H_

#include <cstddef>
#include <string>

#include "model/architecture/config.h"
#include "model/files/tensor.h"

namespace ulpscope {

// Names what a decoder computes with: its hyperparameters, and the names,
// types, shapes and all bytes of its tensors. Not where they came from: the
// same tensors in a safetensors and a GGUF file are one model.
//
// All bytes are hashed, not a sample of them: they are read for repacking
// anyway, which takes longer than the hash (docs/results.md), and a fine-tuned
// model differs from another in places that no sample is sure to hit.
class Fingerprint {
 public:
  explicit Fingerprint(const ModelConfig& config);

  // In the order in which they are loaded, which is the architecture's.
  void Add(const Tensor& tensor);

  std::string Text() const;  // 32 hexadecimal digits

 private:
  std::string contents_;
};

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_FINGERPRINT_H_
