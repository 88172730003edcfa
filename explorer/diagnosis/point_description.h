#ifndef EXPLORER_DIAGNOSIS_POINT_DESCRIPTION_H_
#define EXPLORER_DIAGNOSIS_POINT_DESCRIPTION_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"

namespace ulpscope {

// A vector of the checkpoint, as long as a row.
struct NamedVector {
  std::string name;
  const std::vector<double>* values = nullptr;
};

// What may explain a difference, beside the values themselves.
struct DescriptionContext {
  // Whether the difference is beyond rounding; else what is looked for is a
  // reason why bits are not reproduced.
  bool beyond_rounding = true;
  Format result = Format::kF32;  // that the op's results are in
  bool rows_are_heads = false;   // a norm of heads
  bool is_query_or_key = false;  // before RoPE
  // Vectors that may be left out or added once more: the likeliest first.
  std::vector<NamedVector> vectors;
  // Replays of the same op in other layers, of the same rows.
  struct OtherLayer {
    size_t layer = 0;
    std::vector<double> ours;
  };
  std::vector<OtherLayer> other_layers;
  // Of a norm: per group of GroupsOf over all rows its input's 1 / rms; or
  // empty.
  std::vector<double> inverse_rms;
};

// What can be said of a point by its values: all of PointDescription from
// `positions` on. Every claim is of what is allowed of its elements (Agreement)
// and is not made where chance would do (IsBeyondChance).
PointDescription DescribeValues(const ComparedValues& values,
                                const DescriptionContext& context);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_POINT_DESCRIPTION_H_
