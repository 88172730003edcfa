#ifndef KERNELS_STRATEGY_PHILOX_H_
#define KERNELS_STRATEGY_PHILOX_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ulpscope {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): 128 random bits for a key
// and a counter, the key's low word first.
constexpr std::array<uint32_t, 4> Philox(uint64_t key,
                                         std::array<uint32_t, 4> counter) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ k0,
               static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ k1,
               static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

// An f32 rounded to bf16 at random, up with the probability of what is cut off:
// (bits + r) & 0xFFFF0000, r of 16 random bits. They depend on the seed and the
// number itself alone, and so on nothing that moves with rows, parts of a
// matrix, tiles or threads. Infinities and NaNs stay.
inline float RoundedAtRandom(float x, uint64_t seed) {
  if (!std::isfinite(x)) return x;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits += Philox(seed, {bits, 0, 0, 0})[0] & 0xFFFF;
  bits &= 0xFFFF0000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof(rounded));
  return rounded;
}

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_PHILOX_H_
