// What is said of points that differ and of values that are not finite: fields.

#include "explorer/report/description_text.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/description_tables.h"
#include "explorer/results/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "tests/explorer/diagnosis/made_diagnosis.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Origin StateOf(size_t layer) {
  Origin origin;
  origin.layer = origin.first_layer = origin.last_layer = layer;
  origin.op = Op::kMlpResidual;
  origin.unseen = {Op::kInputNorm, Op::kRope, Op::kDownProj};
  origin.whole_layers = true;
  return origin;
}

TEST(DescriptionTextTest, Ranges) {
  EXPECT_EQ(RangesText({}), "");
  EXPECT_EQ(RangesText({{0, 5}, {9, 9}}), "0-5, 9");
  IndexRanges many;
  for (size_t i = 0; i < 20; ++i) many.push_back({2 * i, 2 * i});
  EXPECT_EQ(RangesText(many), "0, 2, 4, 6, 8, 10, 12, 14, and 12 more");
}

TEST(DescriptionTextTest, Places) {
  Origin rope;
  rope.layer = rope.first_layer = rope.last_layer = 3;
  rope.op = Op::kRope;
  EXPECT_EQ(ShortPlace(rope), "rope@3");
  EXPECT_EQ(PlaceText(rope), "op rope of layer 3");
  Origin state = StateOf(1);
  EXPECT_EQ(ShortPlace(state), "layer 1");
  EXPECT_EQ(PlaceText(state),
            "one of the ops of layer 1, none of which is traced");
  state.first_layer = 0;
  state.last_layer = 4;
  EXPECT_EQ(ShortPlace(state), "layers 0-4");
  state.whole_layers = false;
  EXPECT_EQ(PlaceText(state),
            "input_norm, rope, down_proj or mlp_residual of layers 0-4, of "
            "which only the last is traced");
  state.op = Op::kLmHead;
  state.whole_layers = state.whole_model = true;
  EXPECT_EQ(ShortPlace(state), "model");
}

std::string Text(const Table& table, size_t row, absl::string_view column) {
  return std::get<std::string>(table.rows[row][table.Find(column)]);
}

TEST(DescriptionTablesTest, RowsHaveWhatIsSaid) {
  Random random(5);
  Diagnosis d = CleanDiagnosis(4, random);
  MakeUnexplained(d, 3, Op::kRope);
  PointDescription p;
  p.point = *d.first_unexplained;
  p.origin = StateOf(3);
  p.positions_that_agree = {{0, 5}};
  p.positions_that_differ = {{6, 11}};
  p.constant_factor = 224;
  p.cosine = 1;
  p.constant_vector =
      ConstantVector{0.5, "model.layers.2.self_attn.k_proj.bias", -1};
  p.order = ValueOrder{OrderKind::kNeighbours, 2, true, false, 60};
  p.row_factors = RowFactors{true, 3, 0.5, 2, 0.9, 0.5, Format::kBF16};
  d.descriptions.push_back(p);
  p.constant_vector->tensor.clear();
  p.order.reset();
  p.row_factors.reset();
  d.descriptions.push_back(p);
  const Table table = DescriptionTables(d)[0];
  EXPECT_EQ(table.name, "descriptions");
  EXPECT_EQ(Text(table, 0, "op"), "rope");
  EXPECT_EQ(Text(table, 0, "status"), "unexplained");
  EXPECT_EQ(Text(table, 0, "positions_that_agree"), "0-5");
  EXPECT_EQ(Text(table, 0, "constant_vector_in_all_rows"),
            "model.layers.2.self_attn.k_proj.bias");
  EXPECT_EQ(Text(table, 1, "constant_vector_in_all_rows"), "no bias");
  EXPECT_EQ(Text(table, 0, "same_values_in_another_order"), "neighbours");
  EXPECT_EQ(Text(table, 0, "factor_inverse_rms"), "bf16");
  EXPECT_EQ(
      std::get<bool>(table.rows[0][table.Find("consistent_with_neighbours")]),
      false);
  EXPECT_EQ(table.rows[1][table.Find("order_heads")], Value());
  EXPECT_EQ(std::get<bool>(table.rows[1][table.Find("one_factor_per_row")]),
            false);
  const std::string said = DescriptionSentence(d, d.descriptions[0]);
  EXPECT_THAT(said, HasSubstr("positions 6-11 differ, positions 0-5 agree"));
  EXPECT_THAT(said, HasSubstr("dump input_norm, rope, down_proj there."));
}

TEST(DescriptionTablesTest, NotFiniteHasItsReason) {
  Random random(5);
  Diagnosis d = CleanDiagnosis(4, random);
  EXPECT_TRUE(DescriptionTables(d)[1].rows.empty());
  FirstNonFinite& first = d.trace_first_nonfinite.emplace();
  first.origin = StateOf(2);
  first.positions = {{0, 1}};
  first.elements = 64;
  first.of = 640;
  first.format = Format::kF16;
  first.largest = 65504;
  first.magnitude = 7.1e4;
  first.reason = NonFiniteReason::kOverflow;
  first.emulated = true;
  first.emulated_layer = 2;
  first.emulated_op = Op::kQk;
  d.ours_first_nonfinite = first;
  d.ours_first_nonfinite->reason = NonFiniteReason::kUnknown;
  const Table table = DescriptionTables(d)[1];
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(Text(table, 0, "whose"), "trace");
  EXPECT_EQ(Text(table, 0, "first_nonfinite"), "layer 2");
  EXPECT_EQ(Text(table, 0, "because"), "f16 ends at 65504");
  EXPECT_EQ(Text(table, 0, "reason"), "overflow");
  EXPECT_EQ(Text(table, 0, "emulation_first"), "qk@2");
  EXPECT_EQ(Text(table, 1, "because"), "");
  EXPECT_THAT(NonFiniteSentence("the trace", first),
              HasSubstr("not finite in qk of layer 2 first"));
  EXPECT_THAT(NonFiniteSentence("ours", *d.ours_first_nonfinite),
              Not(HasSubstr("Reason")));
}

}  // namespace
}  // namespace ulpscope
