#ifndef MODEL_DECODER_KV_CACHE_H_
#define MODEL_DECODER_KV_CACHE_H_

#include <cstddef>
#include <vector>

#include "kernels/base/aligned_bytes.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Keys (after RoPE) and values of the positions so far, per layer and KV head,
// laid out as MatMul's panels: scores run across positions, and the weighted
// sum of values across the head's channels. An element is what the plan's kv_k
// and kv_v say: bf16 or f16; what is quantised in f32, widened; and what is
// stored as computed in f32, or f64 if the plan computes it in that.
class KvCache {
 public:
  // Of CapacityFor(positions). Throws bad_alloc if there is no memory.
  KvCache(const ModelConfig& config, const Plan& plan, size_t positions);

  // The least capacity that a cache can have for so many positions.
  static size_t CapacityFor(size_t positions);

  size_t capacity() const { return capacity_; }

  // Stores the key and value of one position, kv_size values each, as the ops
  // kv_k and kv_v have them: nothing is lost here. Layers are counted from 1,
  // as in plans.
  void Store(size_t layer, size_t position, const double* key,
             const double* value);

  // B = K[positions, head_dim] of one head: A B^T are scores.
  PanelsView Keys(size_t layer, size_t kv_head, size_t positions) const;
  // B = V^T [head_dim, positions] of one head: A B^T are weighted values.
  PanelsView Values(size_t layer, size_t kv_head, size_t positions) const;

 private:
  struct Layer {
    DType key_type, value_type;
    AlignedBytes keys, values;
  };

  size_t capacity_;  // a multiple of kPanelWidth
  size_t num_heads_;
  size_t head_dim_;
  size_t key_head_size_;    // elements
  size_t value_head_size_;  // elements
  std::vector<Layer> layers_;
};

}  // namespace ulpscope

#endif  // MODEL_DECODER_KV_CACHE_H_
