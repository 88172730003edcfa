#ifndef BENCHMARKS_INPUTS_H_
#define BENCHMARKS_INPUTS_H_

#include <cstddef>
#include <vector>

#include "benchmarks/machine.h"
#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "kernels/measure/random.h"

namespace ulpscope {

// Operands of benchmarks. All are representable in bf16 and in f16, so that
// every strategy's operand format and every stored type holds them exactly.

// x rounded to f16 and then to bf16, where it stays an f16: the multiples of
// 2^-24 that bf16 has. Only for numbers far from f16's overflow.
inline hwy::bfloat16_t OfAllFormats(float x) {
  return hwy::BF16FromF32(hwy::F32FromF16(hwy::F16FromF32(x)));
}

// Normally distributed, of the standard deviation that weights have. Repeats
// after somewhat more than 2^20 values: no two rows of a matrix are the same,
// and hundreds of millions take no longer than a copy.
std::vector<hwy::bfloat16_t> RandomWeights(size_t count);

// Standard normally distributed. Aligned as frameworks allocate tensors, for
// all contenders: a vector of 64 bytes that begins elsewhere is in two cache
// lines.
template <typename T>
hwy::AlignedVector<T> RandomActivations(size_t count) {
  Random random(2);
  hwy::AlignedVector<T> values(count);
  for (T& v : values) {
    v = static_cast<T>(
        hwy::F32FromBF16(OfAllFormats(static_cast<float>(random.Gaussian()))));
  }
  return values;
}

// How many copies of `bytes` to use in turn so that each is out of the cache
// when its turn comes, as weights are in decoding: together no less than what
// the read bandwidth is measured on.
constexpr size_t ColdCopies(size_t bytes) {
  return (ReadBuffer::kBytes + bytes - 1) / bytes;
}

}  // namespace ulpscope

#endif  // BENCHMARKS_INPUTS_H_
