#ifndef MODEL_DECODER_LAYER_OPS_H_
#define MODEL_DECODER_LAYER_OPS_H_

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/variant.h"

namespace ulpscope {

// What a norm reads: rows, and what the residual's rounding left of them, which
// is without data where there is none (kernels/ops/rmsnorm.h).
struct NormInput {
  Matrix<const double> x;
  Matrix<const double> carry = {};
};

// RMSNorm of each run of weight.size() values of a row: the whole row, or its
// heads, which have no carry. y may be x.
void NormRows(Strategy strategy, const NormInput& in,
              const std::vector<double>& weight, double eps, Matrix<double> y,
              Parallel& parallel);

// How angles differ from a config's.
struct RopeOptions {
  double theta = 0;  // 0: the config's
  RopeRounding rounding = RopeRounding::kNone;
  int64_t position_offset = 0;
  bool angles_f32 = false;  // Variant::rope_angles_f32
  PositionsFrom positions;
  bool without_scaling = false;
  bool without_attention_factor = false;

  friend bool operator<(const RopeOptions& a, const RopeOptions& b) {
    const auto fields = [](const RopeOptions& o) {
      return std::make_tuple(o.theta, o.rounding, o.position_offset,
                             o.angles_f32, o.positions.row, o.positions.start,
                             o.positions.step, o.without_scaling,
                             o.without_attention_factor);
    };
    return fields(a) < fields(b);
  }
};

// The angles of rotary position embeddings (Su et al. 2021), of some positions.
class RopeAngles {
 public:
  explicit RopeAngles(const ModelConfig& config,
                      const RopeOptions& options = {});

  // Positions first ... first + count - 1.
  void Set(size_t first, size_t count);

  // Rotates the heads of position first + i, in place.
  void Rotate(Strategy strategy, size_t i, Matrix<double> heads) const;

 private:
  RopeOptions options_;
  std::vector<double> frequencies_;
  double attention_factor_ = 1;
  std::vector<double> cos_, sin_;  // [count, head_dim / 2]
};

}  // namespace ulpscope

#endif  // MODEL_DECODER_LAYER_OPS_H_
