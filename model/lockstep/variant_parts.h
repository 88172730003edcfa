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

  // Equal parts have the same address.
  const Variant* Of(size_t stream, Op op) const {
    return parts_[variants_[stream]][static_cast<size_t>(op)];
  }

 private:
  const Variant* Shared(const Variant& part);

  std::vector<size_t> variants_;  // of each stream: its row of parts_
  std::vector<std::array<const Variant*, kNumOps>> parts_;
  std::list<Variant> distinct_;
};

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_VARIANT_PARTS_H_
