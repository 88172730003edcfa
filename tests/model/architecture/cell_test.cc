#include "model/architecture/cell.h"

#include <cstddef>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using ::testing::SizeIs;

ModelConfig Eight(bool qk_norm) {
  ModelConfig config;
  config.num_hidden_layers = 8;
  config.qk_norm = qk_norm;
  return config;
}

TEST(CellsOfTest, AreTheOpsOfTheModelInOrder) {
  const std::vector<Cell> tiny = CellsOf(Eight(/*qk_norm=*/false));
  ASSERT_THAT(tiny, SizeIs(1 + 8 * 18 + 2));
  const std::vector<Cell> qwen3 = CellsOf(Eight(/*qk_norm=*/true));
  ASSERT_THAT(qwen3, SizeIs(1 + 8 * 20 + 2));
  for (const std::vector<Cell>& cells : {tiny, qwen3}) {
    EXPECT_EQ(cells.front().op, Op::kEmbed);
    EXPECT_EQ(cells[cells.size() - 2].op, Op::kFinalNorm);
    EXPECT_EQ(cells.back().op, Op::kLmHead);
    for (size_t i = 1; i + 2 < cells.size(); ++i) {
      EXPECT_TRUE(IsPerLayer(cells[i].op));
      const bool same_layer = cells[i].layer == cells[i - 1].layer;
      EXPECT_TRUE(same_layer ? cells[i].op > cells[i - 1].op
                             : cells[i].layer == cells[i - 1].layer + 1)
          << i;
    }
  }
}

}  // namespace
}  // namespace ulpscope
