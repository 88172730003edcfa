#ifndef TESTS_KERNELS_MEASURE_INPUTS_H_
#define TESTS_KERNELS_MEASURE_INPUTS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// What the generated numbers are rounded to: with kBF16 a strategy that rounds
// its operands to bf16 sees them exactly, so only its sum is judged; the same
// of kF16 and f16, whose range all numbers are in.
enum class Operands { kF32, kBF16, kF16 };

// Operands of a dot product of a given difficulty. Every |a[i] b[i]| is 0 or in
// [2^-100, 2^100]: neither the product nor, in f32, its rounding error
// underflows. Any number of pairs will do, although one pair cannot be hard:
// its condition number is 2. u = 2^-24.
struct InputFamily {
  absl::string_view name;     // as in tests, tables and reports
  absl::string_view summary;  // one line
  // The condition number asked for; 0 where a family does not set it.
  double condition;
  void (*fill)(double condition, Operands operands, uint64_t seed,
               absl::Span<float> a, absl::Span<float> b);
};

// - gaussian, positive: the errors of these hide most faults of a sum.
// - swamped: a[0] b[0] in [1, 1.25), then positive products in (u/2, u), each
//   below half a spacing of the running sum: an f32 sum in order loses all of
//   them (n <= 2^22) and errs by ((n - 1) / 4 - 1) u sum|ab| or more, where
//   the last 1 is what rounding a[0] b[0] may give back. A sum in 16 lanes errs
//   by (n / 16 - 1) / 4 but for its roundings.
// - swamped_blocks: the same in every 64 products, for a sum that starts anew
//   there. With the block sums added exactly, full blocks err by 63 / 4 u
//   sum|ab| or more: 0.46 u per term, less the rounding of the first.
// - cancelling: pairs that cancel but for up to 3 units in a's last place,
//   shuffled; the condition number is above 2^21 (f32), 2^6 (bf16) or 2^9 (f16)
//   from n = 2 on: at most 3 spacings of each a are left, and 2^-20 of the
//   first pair for an odd n.
// - outlier_channel: like weights and activations with one massive channel.
// - condition_1eX: ill-conditioned by Algorithm 6.1 (GenDot) of Ogita, Rump and
//   Oishi (2005). From n = 16 on the condition number is within a factor of 2
//   of 10^X, or 2 where X is 0, the least there is; shorter ones reach less.
absl::Span<const InputFamily> InputFamilies();

// Fills a and b, of the same size. Same arguments, same bits, anywhere.
void FillDot(const InputFamily& family, Operands operands, uint64_t seed,
             absl::Span<float> a, absl::Span<float> b);

// A row for a kernel that sums over a single row.
struct RowFamily {
  absl::string_view name;
  absl::string_view summary;
  void (*fill)(Operands operands, uint64_t seed, absl::Span<float> x);
};

// Activations for RMSNorm: gaussian, outlier_channel (one is 1000 times the
// rest), swamped and swamped_blocks (their squares are as the products above).
absl::Span<const RowFamily> NormRowFamilies();

// Logits for softmax: gaussian (standard deviation 3), equal, wide (down to
// -120, where exp underflows in f32), and swamped: x[0] = 0 and the rest in
// [-17.25, -16.75], whose exponentials are in (u/2, u), so that an f32 sum in
// order loses all of them, and one in 16 lanes a 16th.
absl::Span<const RowFamily> SoftmaxRowFamilies();

void FillRow(const RowFamily& family, Operands operands, uint64_t seed,
             absl::Span<float> x);

}  // namespace ulpscope

#endif  // TESTS_KERNELS_MEASURE_INPUTS_H_
