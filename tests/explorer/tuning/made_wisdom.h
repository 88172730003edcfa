#ifndef TESTS_EXPLORER_TUNING_MADE_WISDOM_H_
#define TESTS_EXPLORER_TUNING_MADE_WISDOM_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "explorer/tuning/wisdom.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/stored_type.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

inline const Machine kHere = {"A \"CPU\", \\ with quotes", "AVX3", 2,
                              Tunings::kKernelVersion};
inline const Tunings::Key kKey = {Strategy(), DType::kF64, DType::kBF16,
                                  ShapeClass::Of(1, 896, 896)};

// A different tuning for each number.
inline MatMulTuning TuningOf(uint32_t i) {
  MatMulTuning tuning;
  for (const TuningParameter& parameter : TuningParameters()) {
    tuning.*parameter.field = i++ % 7 == 0 ? 0 : i;
  }
  return tuning;
}

inline std::vector<StoredType> StoredTypes() {
  std::vector<StoredType> types = {DType::kF64, DType::kF32, DType::kF16,
                                   DType::kBF16};
  for (const BlockType& type : BlockTypes()) types.emplace_back(type);
  return types;
}

// The strategies of MatMul, on any CPU.
inline std::vector<Strategy> MatMulStrategies() {
  std::vector<Strategy> strategies;
  for (size_t s = 0; s < Strategies().size(); ++s) {
    if (Strategies()[s].kernels & KernelBit(Kernel::kMatMul)) {
      strategies.emplace_back(s);
    }
  }
  return strategies;
}

// Each of them, every type and kind of shape.
inline Wisdom FullWisdom() {
  Wisdom wisdom;
  uint32_t i = 0;
  for (const Strategy strategy : MatMulStrategies()) {
    for (const StoredType& weights : StoredTypes()) {
      for (const size_t m : {1, 20, 4000}) {
        wisdom.Set(
            kHere,
            {strategy, DType::kF64, weights, ShapeClass::Of(m, 151936, 896)},
            TuningOf(++i));
      }
    }
  }
  wisdom.Set(kHere,
             {Strategy(), DType::kF32, DType::kF32, ShapeClass::Of(1, 1, 1)},
             TuningOf(1 << 19));
  return wisdom;
}

// As small as a file with all there is can be, for tests of each of its bytes.
inline std::string SmallText() {
  Wisdom wisdom;
  wisdom.Set(kHere, kKey, TuningOf(1));
  wisdom.Set({"other", "NEON", 1, Tunings::kKernelVersion}, kKey, {});
  return wisdom.Text();
}

// The text, and the checksum that it should have.
inline std::string WithChecksum(const std::string& text) {
  const size_t start = std::string("{\n \"checksum\": \"").size();
  uint64_t hash = 0xCBF29CE484222325;
  for (size_t i = start + 19; i < text.size(); ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001B3;
  }
  std::string with = text;
  return with.replace(start, 16, absl::StrFormat("%016x", hash));
}

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_TUNING_MADE_WISDOM_H_
