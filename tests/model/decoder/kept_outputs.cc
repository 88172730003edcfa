#include "tests/model/decoder/kept_outputs.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"

namespace ulpscope {
namespace {

std::vector<double> ValuesOf(Matrix<const double> rows) {
  std::vector<double> values;
  for (size_t r = 0; r < rows.rows; ++r) {
    values.insert(values.end(), rows.Row(r), rows.Row(r) + rows.cols);
  }
  return values;
}

}  // namespace

void KeptOutputs::OnOutput(absl::Span<const size_t> streams, size_t layer,
                           Op op, size_t first_position,
                           Matrix<const double> rows) {
  for (const size_t s : streams) {
    const bool first = outputs[s]
                           .emplace(Key{layer, op, first_position},
                                    Output{rows.rows,
                                           rows.cols,
                                           ValuesOf(rows),
                                           {streams.begin(), streams.end()}})
                           .second;
    EXPECT_TRUE(first) << "shown twice: layer " << layer << " " << OpName(op);
  }
}

void KeptOutputs::OnState(absl::Span<const size_t> streams, size_t layer,
                          Matrix<const double> stream,
                          Matrix<const double> carry) {
  for (const size_t s : streams) {
    states[s][layer] = {ValuesOf(stream), ValuesOf(carry)};
  }
}

void Given::Set(size_t layer, Op op, const KeptOutputs::Output& output) {
  Rows rows = Rows::Allocate(output.rows, output.cols);
  std::copy(output.values.begin(), output.values.end(), rows.data());
  rows_[{layer, op}] = rows;
}

Rows Given::Get(size_t layer, Op op) const {
  asked.emplace_back(layer, op);
  const auto found = rows_.find({layer, op});
  return found == rows_.end() ? Rows() : found->second;
}

Given GivenOf(const KeptOutputs& kept, size_t stream) {
  Given given;
  for (const auto& [key, output] : kept.outputs[stream]) {
    const auto& [layer, op, position] = key;
    if (!IsScore(op)) given.Set(layer, op, output);
  }
  return given;
}

}  // namespace ulpscope
