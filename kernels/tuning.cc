#include "kernels/tuning.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ulpscope {
namespace {

constexpr uint32_t kMostRows = 512;
constexpr uint32_t kMostColumns = uint32_t{1} << 30;

uint32_t RoundUpToPowerOf2(size_t x, uint32_t most) {
  uint32_t power = 1;
  while (power < x && power < most) power *= 2;
  return power;
}

}  // namespace

ShapeClass ShapeClass::Of(size_t m, size_t n, size_t k) {
  return {RoundUpToPowerOf2(m, kMostRows), RoundUpToPowerOf2(n, kMostColumns),
          RoundUpToPowerOf2(k, kMostColumns)};
}

MatMulTuning Tunings::Find(const Key& key) const {
  const auto found = known_.find(key);
  return found == known_.end() ? MatMulTuning() : found->second;
}

}  // namespace ulpscope
