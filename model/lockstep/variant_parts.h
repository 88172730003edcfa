#ifndef MODEL_LOCKSTEP_VARIANT_PARTS_H_
#define MODEL_LOCKSTEP_VARIANT_PARTS_H_

#include <array>
#include <cstddef>
#include <list>
#include <vector>

#include "absl/types/span.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/lockstep/stream.h"

namespace ulpscope {

// What of their variants matters to each op, of some streams.
class VariantParts {
 public:
  explicit VariantParts(absl::Span<const Stream> streams);

  // In a layer; 0 for ops in none. Equal parts have the same address.
  const Variant* Of(size_t stream, size_t layer, Op op) const {
    const std::vector<Parts>& layers = parts_[variants_[stream]];
    return layers[layer < layers.size() ? layer : 0][static_cast<size_t>(op)];
  }

 private:
  using Parts = std::array<const Variant*, kNumOps>;

  const Variant* Shared(const Variant& part);

  std::vector<size_t> variants_;  // of each stream: its row of parts_
  // What of it is in no layer, and if layers differ what is in each.
  std::vector<std::vector<Parts>> parts_;
  std::list<Variant> distinct_;
};

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_VARIANT_PARTS_H_
