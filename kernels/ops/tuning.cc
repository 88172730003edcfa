#include "kernels/ops/tuning.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"

namespace ulpscope {
namespace {

constexpr uint32_t kMostRows = 512;
constexpr uint32_t kMostColumns = uint32_t{1} << 30;

constexpr TuningParameter kParameters[] = {
    {"tile_rows", &MatMulTuning::tile_rows},
    {"block_steps", &MatMulTuning::block_steps},
    {"block_rows", &MatMulTuning::block_rows},
    {"group_panels", &MatMulTuning::group_panels},
    {"prefetch_steps", &MatMulTuning::prefetch_steps},
    {"panels_in_flight", &MatMulTuning::panels_in_flight},
    {"threads", &MatMulTuning::threads},
};
static_assert(sizeof(MatMulTuning) == sizeof(uint32_t) * std::size(kParameters),
              "a field is missing above");

uint32_t RoundUpToPowerOf2(size_t x, uint32_t most) {
  uint32_t power = 1;
  while (power < x && power < most) power *= 2;
  return power;
}

}  // namespace

absl::Span<const TuningParameter> TuningParameters() { return kParameters; }

std::string TuningText(const MatMulTuning& tuning) {
  std::vector<std::string> chosen;
  for (const TuningParameter& parameter : kParameters) {
    const uint32_t value = tuning.*parameter.field;
    if (value != 0) chosen.push_back(absl::StrCat(parameter.name, "=", value));
  }
  return chosen.empty() ? "default" : absl::StrJoin(chosen, " ");
}

ShapeClass ShapeClass::Of(size_t m, size_t n, size_t k) {
  return {RoundUpToPowerOf2(m, kMostRows), RoundUpToPowerOf2(n, kMostColumns),
          RoundUpToPowerOf2(k, kMostColumns)};
}

MatMulTuning Tunings::Find(const Key& key) const {
  const auto found = known_.find(key);
  return found == known_.end() ? MatMulTuning() : found->second;
}

}  // namespace ulpscope
