#ifndef MODEL_SYNTHETIC_COUNTER_RNG_H_
#define MODEL_SYNTHETIC_COUNTER_RNG_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Random numbers by index: number i of a stream is a pure function of the
// stream's name and i, so any element of any tensor can be had in any order and
// on any number of threads. Integer arithmetic only: the same everywhere.
class CounterRng {
 public:
  // FNV-1a of the name (Fowler, Noll, Vo), then mixed.
  explicit CounterRng(absl::string_view name) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) {
      hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    }
    key_ = Mix(hash);
  }

  // 64 uniform bits: SplitMix64 (Steele, Lea, Flood 2014) started at the key.
  uint64_t Bits(int64_t i) const {
    return Mix(key_ + static_cast<uint64_t>(i + 1) * 0x9e3779b97f4a7c15);
  }

  // The sum of the four 16-bit pieces of Bits(i), less its mean: an integer in
  // [-131070, 131070] with an Irwin-Hall distribution, which is Gaussian but
  // for its tails (they end at 3.46 standard deviations).
  int32_t IrwinHall(int64_t i) const {
    const uint64_t bits = Bits(i);
    constexpr uint64_t kEvenPieces = 0x0000ffff0000ffff;
    const uint64_t pairs = (bits & kEvenPieces) + ((bits >> 16) & kEvenPieces);
    const uint64_t sum = (pairs & 0xffffffff) + (pairs >> 32);
    return static_cast<int32_t>(sum) - 131070;
  }

  // sqrt(4 (2^32 - 1) / 12), the standard deviation of IrwinHall.
  static constexpr double kIrwinHallStd = 37837.22723720648;

 private:
  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t key_;
};

}  // namespace ulpscope

#endif  // MODEL_SYNTHETIC_COUNTER_RNG_H_
