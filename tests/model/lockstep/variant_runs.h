#ifndef TESTS_MODEL_LOCKSTEP_VARIANT_RUNS_H_
#define TESTS_MODEL_LOCKSTEP_VARIANT_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"
#include "tests/model/decoder/kept_outputs.h"

namespace ulpscope {

// What all runs of variants are of.
const std::vector<int32_t>& Tokens();

double Norm(const std::vector<double>& x);
// Infinite of vectors of two sizes.
double Difference(const std::vector<double>& a, const std::vector<double>& b);

// Outputs of all positions, one after the other.
using ByOp = std::map<std::pair<size_t, Op>, std::vector<double>>;

ByOp Textbook(const Weights& weights, const Variant& variant,
              const char* kv = "oracle");
ByOp Kept(const KeptOutputs& kept, size_t stream);

// Of all positions, logits too. What goes wrong is a failed expectation.
KeptOutputs RunAll(const Weights& weights, const std::vector<Stream>& streams);
Stream StreamOf(const Weights& weights, const char* plan,
                const Variant& variant);

// What two computations of a model in f64 may differ by, relative to an
// output's 2-norm.
double Tolerance(const Weights& weights, const ByOp& textbook);
void ExpectTextbook(const ByOp& got, const ByOp& textbook, double tolerance);

}  // namespace ulpscope

#endif  // TESTS_MODEL_LOCKSTEP_VARIANT_RUNS_H_
