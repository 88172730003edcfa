#include "tests/model/decoder/attended_positions.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/decoder/attention.h"
#include "model/decoder/kv_cache.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/model/decoder/textbook_attention.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

Strategy Named(const std::string& name, Kernel kernel) {
  const auto strategy = FindStrategy(name, kernel);
  EXPECT_THAT(strategy, IsOk());
  return strategy.value_or(Strategy());
}

}  // namespace

AttentionForm FormOf(const std::string& text) {
  const auto form = AttentionForm::Parse(text);
  EXPECT_THAT(form, IsOk());
  return form.value_or(AttentionForm());
}

Positions::Positions(size_t count, size_t head_dim, double spread,
                     uint64_t seed)
    : count_(count),
      head_dim_(head_dim),
      q_(count * kHeads * head_dim),
      k_(count * kKvHeads * head_dim),
      v_(k_.size()) {
  Random random(seed);
  for (double& x : q_) x = spread * random.Gaussian();
  for (size_t i = 0; i < k_.size(); ++i) {
    k_[i] = random.Gaussian() *
            (1 + static_cast<double>(i) / static_cast<double>(k_.size()));
    v_[i] = random.Gaussian() + 0.5;
  }
}

double Positions::scale() const {
  return 1 / std::sqrt(static_cast<double>(head_dim_));
}

void Positions::RoundTo(Format format) {
  for (std::vector<double>* values : {&q_, &k_, &v_}) {
    *values = Rounded(format, *values);
  }
}

KvCache Positions::Cache() const {
  ModelConfig config;
  config.num_hidden_layers = 1;
  config.num_attention_heads = kHeads;
  config.num_key_value_heads = kKvHeads;
  config.head_dim = static_cast<int64_t>(head_dim_);
  KvCache cache(config, Plan::Oracle(1), count_);
  const size_t width = kKvHeads * head_dim_;
  for (size_t p = 0; p < count_; ++p) {
    cache.Store(1, p, k_.data() + p * width, v_.data() + p * width);
  }
  return cache;
}

TextbookQuery Positions::QueryOf(size_t position, size_t head) const {
  TextbookQuery query;
  query.scale = scale();
  const auto some = [&](const std::vector<double>& values, size_t at) {
    const auto begin = values.begin() + static_cast<ptrdiff_t>(at);
    return std::vector<double>(begin,
                               begin + static_cast<ptrdiff_t>(head_dim_));
  };
  query.q = some(q_, (position * kHeads + head) * head_dim_);
  const size_t kv_head = head / (kHeads / kKvHeads);
  for (size_t p = 0; p <= position; ++p) {
    const size_t at = (p * kKvHeads + kv_head) * head_dim_;
    query.k.push_back(some(k_, at));
    query.v.push_back(some(v_, at));
  }
  return query;
}

AttentionArgs ArgsOf(const Positions& positions, const KvCache& cache,
                     const AttentionForm& form, const Strategies3& strategies,
                     std::vector<double>& y) {
  y.assign(positions.count() * kHeads * positions.head_dim(), -1);
  AttentionArgs args;
  args.q = positions.q();
  args.cache = &cache;
  args.layer = 1;
  args.kv_heads = kKvHeads;
  args.head_dim = positions.head_dim();
  args.qk = Named(strategies.qk, Kernel::kMatMul);
  args.softmax = Named(strategies.softmax, Kernel::kSoftmax);
  args.av = Named(strategies.av, Kernel::kMatMul);
  args.form = form;
  args.y = {y.data(), positions.count(), kHeads * positions.head_dim()};
  return args;
}

void AttendAll(const AttentionArgs& args, size_t rows_at_once) {
  for (size_t row = 0; row < args.q.rows; row += rows_at_once) {
    const size_t rows = std::min(rows_at_once, args.q.rows - row);
    for (size_t h = 0; h < kKvHeads; ++h) AttendGroup(args, row, rows, h);
  }
}

std::vector<double> All(const Positions& positions, const std::string& form,
                        const Strategies3& strategies) {
  const KvCache cache = positions.Cache();
  std::vector<double> y;
  AttendAll(ArgsOf(positions, cache, FormOf(form), strategies, y), 3);
  return y;
}

Shown ShownAt(const Positions& positions, const KvCache& cache, size_t position,
              const AttentionForm& form, const Strategies3& strategies) {
  Shown shown;
  AttentionArgs args = ArgsOf(positions, cache, form, strategies, shown.y);
  args.q = {positions.q().Row(position), 1, args.q.cols};
  args.y = {shown.y.data(), 1, args.y.cols};
  args.first_position = position;
  shown.y.resize(args.y.cols);
  Parallel parallel;
  AttendShowing(
      args, parallel, [&](Op op, size_t at, Matrix<const double> rows) {
        EXPECT_EQ(at, position);
        std::vector<double>& to = op == Op::kQk ? shown.scores : shown.weights;
        to.assign(rows.data, rows.data + rows.rows * rows.cols);
      });
  return shown;
}

}  // namespace ulpscope
