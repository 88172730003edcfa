#include "model/lockstep/variant_parts.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/lockstep/stream.h"

namespace ulpscope {

VariantParts::VariantParts(absl::Span<const Stream> streams) {
  std::vector<Variant> variants;
  for (const Stream& stream : streams) {
    const auto found =
        std::find(variants.begin(), variants.end(), stream.variant);
    variants_.push_back(static_cast<size_t>(found - variants.begin()));
    if (found != variants.end()) continue;
    variants.push_back(stream.variant);
    parts_.emplace_back(stream.variant.layers.size() + 1);
    for (size_t layer = 0; layer < parts_.back().size(); ++layer) {
      const Variant variant = stream.variant.In(layer);
      for (size_t op = 0; op < kNumOps; ++op) {
        parts_.back()[layer][op] = Shared(variant.PartOf(OpAt(op)));
      }
    }
  }
}

const Variant* VariantParts::Shared(const Variant& part) {
  const auto found = std::find(distinct_.begin(), distinct_.end(), part);
  return found != distinct_.end() ? &*found : &distinct_.emplace_back(part);
}

}  // namespace ulpscope
