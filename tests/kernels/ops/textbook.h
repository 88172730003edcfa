#ifndef TESTS_KERNELS_OPS_TEXTBOOK_H_
#define TESTS_KERNELS_OPS_TEXTBOOK_H_

#include <cstddef>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/format.h"

namespace ulpscope {

// What each strategy says it computes, as scalar textbook loops: written from
// DESIGN.md and the kernels' headers, sharing no code with the kernels. Every
// number is passed as a double that holds a value of the format named.

// x rounded to the nearest number of `format`, ties to even. bf16 and f16 are
// reached by way of f32, as the kernels document.
double Rounded(Format format, double x);
std::vector<double> Rounded(Format format, absl::Span<const double> x);

// A sum in progress; the compensated ones carry what its rounding left out.
struct PartialSum {
  double sum = 0;
  double compensation = 0;
};

// One way to sum. `products` sums a[i] b[i] over ascending i from nothing.
struct TextbookSum {
  PartialSum (*products)(absl::Span<const double> a,
                         absl::Span<const double> b);
  void (*add)(double x, PartialSum& partial);
  void (*merge)(const PartialSum& from, PartialSum& into);
  double (*value)(const PartialSum& partial);
};

// What the residual stream of a strategy carries along: nothing, nothing but
// takes what it is given, ...
// ..., or what its rounding leaves, which is not taken.
enum class Carry { kNone, kTaken, kF32Compensation, kF64, kLeft };

struct Textbook {
  absl::string_view name;
  Format operand;
  Format lane;  // what accumulators and single operations are rounded to
  Format result;
  TextbookSum sum;       // of fewer than 2^14 terms
  TextbookSum long_sum;  // of 2^14 terms or more
  Carry carry;
  bool rounds_once = false;  // at the end of an op
  bool reads_carry = false;  // a norm's x and carry, added and unrounded
  size_t partial_sums = 16;  // of a norm's squares

  const TextbookSum& SumOf(size_t terms) const {
    return terms < 16384 ? sum : long_sum;
  }
};

// Null if the textbook has no such strategy.
const Textbook* FindTextbook(absl::string_view name);

// The functions below round their operands themselves; results are values of
// the strategy's result format.

// One output of a MatMul. `bias` may be null.
double TextbookDot(const Textbook& t, absl::Span<const double> a,
                   absl::Span<const double> b, const double* bias,
                   double scale);

// The sum of a[i] b[i] in that many lanes, a and b as they are.
double TextbookRowSum(const Textbook& t, absl::Span<const double> a,
                      absl::Span<const double> b, size_t num_lanes = 16);

// `carry` is what the residual's addition left, or empty.
std::vector<double> TextbookRmsNorm(const Textbook& t,
                                    absl::Span<const double> x,
                                    absl::Span<const double> weight, double eps,
                                    absl::Span<const double> carry = {});

// What the exponentials of a softmax are taken of: x - max, in lane format.
std::vector<double> TextbookLogits(const Textbook& t,
                                   absl::Span<const double> x);
// The softmax whose exponentials are these.
std::vector<double> TextbookSoftmax(const Textbook& t,
                                    absl::Span<const double> exps);

// x is 2h values, cos and sin are h.
void TextbookRope(const Textbook& t, absl::Span<const double> cos,
                  absl::Span<const double> sin, absl::Span<double> x);

// One output, given exp(-gate).
double TextbookSwiGlu(const Textbook& t, double gate, double up, double exp);

// One element of the stream.
void TextbookAddResidual(const Textbook& t, double update, double& stream,
                         double& carry);

}  // namespace ulpscope

#endif  // TESTS_KERNELS_OPS_TEXTBOOK_H_
