// Variants of which the textbook is not the whole test.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/decoder/kept_outputs.h"
#include "tests/model/lockstep/variant_runs.h"

namespace ulpscope {
namespace {

// Order of rows in which neighbours of each head are what halves were, of heads
// of so many channels.
std::vector<int32_t> Neighbours(int64_t rows, int64_t head_dim) {
  std::vector<int32_t> order;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t head = i / head_dim * head_dim;
    const int64_t in_head = i - head;
    order.push_back(static_cast<int32_t>(head + in_head % 2 * (head_dim / 2) +
                                         in_head / 2));
  }
  return order;
}

// Neighbours that are rotated are halves in another order, as are their norms'
// weights: all that comes after RoPE is the model's. In the textbook the orders
// are those of wrong heads, too.
TEST(VariantRowsTest, OrderOfRowsMakesUpForThePairsOfRope) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const ModelConfig& c = weights.config;
    Variant variant;
    variant.rope_pairs = RopePairs::kNeighbours;
    variant.q_rows = Neighbours(c.q_size(), c.head_dim);
    variant.k_rows = Neighbours(c.kv_size(), c.head_dim);
    ByOp expected = Textbook(weights, {});
    const double tolerance = Tolerance(weights, expected);
    const ByOp ordered = Textbook(weights, variant);
    for (const Op op : {Op::kQProj, Op::kKProj, Op::kQNorm, Op::kKNorm,
                        Op::kRope, Op::kKvK}) {
      for (size_t layer = 1; layer <= weights.layers.size(); ++layer) {
        if (ordered.count({layer, op}) == 0) continue;
        expected[{layer, op}] = ordered.at({layer, op});
      }
    }
    const KeptOutputs kept =
        RunAll(weights, {StreamOf(weights, "oracle", variant)});
    ExpectTextbook(Kept(kept, 0), expected, tolerance);

    if (c.qk_norm) continue;  // of whose weights wrong heads have no order
    variant.k_rows =
        Neighbours(c.kv_size(), c.kv_size() / c.num_attention_heads);
    const ByOp wrong = Textbook(weights, variant);
    const KeptOutputs kept_wrong =
        RunAll(weights, {StreamOf(weights, "oracle", variant)});
    ExpectTextbook(Kept(kept_wrong, 0), wrong, Tolerance(weights, wrong));
  }
}

// A mask of -infinity leaves the first rows nothing, and they are NaN.
TEST(VariantMaskTest, RowsThatSeeNothingAreNaN) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  Variant variant;
  variant.mask.first_key = 2;
  variant.mask.unseeing = Unseeing::kNaN;
  const KeptOutputs kept = RunAll(weights, {StreamOf(weights, "f32", variant)});
  const std::vector<double>& av = kept.Get(0, 1, Op::kAv).values;
  for (size_t p = 0; p < Tokens().size(); ++p) {
    EXPECT_EQ(std::isnan(av[p * av.size() / Tokens().size()]), p < 2) << p;
  }
}

}  // namespace
}  // namespace ulpscope
