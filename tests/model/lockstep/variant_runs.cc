#include "tests/model/lockstep/variant_runs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "tests/kernels/ops/bits.h"
#include "tests/model/decoder/kept_outputs.h"
#include "tests/model/decoder/textbook_decoder.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

template <typename Outputs, typename ValuesOf>
ByOp Joined(const Outputs& outputs, const ValuesOf& values_of) {
  ByOp joined;
  for (const auto& [key, output] : outputs) {
    std::vector<double>& all = joined[{std::get<0>(key), std::get<1>(key)}];
    const std::vector<double>& values = values_of(output);
    all.insert(all.end(), values.begin(), values.end());
  }
  return joined;
}

}  // namespace

const std::vector<int32_t>& Tokens() {
  static const auto* const tokens =
      new std::vector<int32_t>{3, 14, 15, 62, 65, 35, 59};
  return *tokens;
}

double Norm(const std::vector<double>& x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

double Difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  std::vector<double> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return Norm(difference);
}

ByOp Textbook(const Weights& weights, const Variant& variant, const char* kv) {
  return Joined(
      TextbookDecode(weights, Tokens(), variant, kv),
      [](const std::vector<double>& row) -> const auto& { return row; });
}

ByOp Kept(const KeptOutputs& kept, size_t stream) {
  return Joined(
      kept.outputs[stream],
      [](const KeptOutputs::Output& output) -> const auto& {
        return output.values;
      });
}

KeptOutputs RunAll(const Weights& weights, const std::vector<Stream>& streams) {
  KeptOutputs kept(streams.size());
  Parallel parallel(2);
  LockstepOptions options;
  options.logits = Logits::kAll;
  EXPECT_THAT(RunLockstep(weights, streams, options, kept, parallel), IsOk());
  return kept;
}

Stream StreamOf(const Weights& weights, const char* plan,
                const Variant& variant) {
  Stream stream{Plan::Parse(plan, weights.layers.size()).value(), Tokens()};
  stream.variant = variant;
  return stream;
}

// A path through a layer has these roundings, at most, in each
// of the two. A stream that shrinks again, as when a massive activation is
// removed, leaves the error of the large one in a small one; and a softmax
// turns errors relative to the scores into ones of the exponents.
double Tolerance(const Weights& weights, const ByOp& textbook) {
  const ModelConfig& c = weights.config;
  const size_t layers = weights.layers.size();
  constexpr int64_t kElementwise = 32;
  const int64_t per_layer = 3 * c.hidden_size + 2 * c.head_dim +
                            2 * static_cast<int64_t>(Tokens().size()) +
                            c.q_size() + c.hidden_size + c.intermediate_size +
                            kElementwise;
  const double roundings =
      static_cast<double>(per_layer) * static_cast<double>(layers + 1);
  double largest = 0, shrinks = 1, score = 0;
  for (size_t layer = 1; layer <= layers; ++layer) {
    const double norm = Norm(textbook.at({layer, Op::kMlpResidual}));
    largest = std::max(largest, norm);
    shrinks = std::max(shrinks, largest / norm);
    for (const double value : textbook.at({layer, Op::kQk})) {
      score = std::max(score, std::abs(value));
    }
  }
  return 2 * Gamma(roundings, UnitRoundoff(Format::kF64)) * shrinks *
         (1 + score);
}

void ExpectTextbook(const ByOp& got, const ByOp& textbook, double tolerance) {
  ASSERT_EQ(got.size(), textbook.size());
  for (const auto& [key, expected] : textbook) {
    ASSERT_EQ(got.count(key), 1u) << key.first << " " << OpName(key.second);
    EXPECT_LE(Difference(got.at(key), expected), tolerance * Norm(expected))
        << "layer " << key.first << " " << OpName(key.second);
  }
}

}  // namespace ulpscope
