#include "tests/model/lockstep/random_streams.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/decoder/decoder.h"
#include "tests/kernels/ops/bits.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

void Append(Matrix<const double> rows, std::vector<double>& to) {
  for (size_t r = 0; r < rows.rows; ++r) {
    to.insert(to.end(), rows.Row(r), rows.Row(r) + rows.cols);
  }
}

class KeepOutputs : public Observer {
 public:
  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    Append(rows, outputs[{layer, op, first_position}]);
  }
  Outputs outputs;
};

// The first layers of one plan, the rest of another.
Plan Composite(const Plan& before, const Plan& after, size_t first_layer) {
  Plan plan = after;
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    if (op == Op::kEmbed) plan.Set(0, op, before.Get(0, op));
    if (!IsPerLayer(op)) continue;
    for (size_t l = 1; l < first_layer; ++l) plan.Set(l, op, before.Get(l, op));
  }
  for (size_t l = 1; l < first_layer; ++l) {
    plan.SetAttention(l, before.attention(l));
  }
  return plan;
}

}  // namespace

std::vector<int32_t> RandomTokens(size_t count, const Weights& weights,
                                  Random& random) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(
        random.Below(static_cast<uint64_t>(weights.config.vocab_size))));
  }
  return tokens;
}

void KeepStreams::OnOutput(absl::Span<const size_t> streams, size_t layer,
                           Op op, size_t first_position,
                           Matrix<const double> rows) {
  EXPECT_TRUE(std::is_sorted(streams.begin(), streams.end()));
  ++shown;
  for (const size_t s : streams) {
    ++shown_to;
    std::vector<double>& values = outputs[s][{layer, op, first_position}];
    EXPECT_TRUE(values.empty()) << "shown twice";
    Append(rows, values);
  }
}

void KeepStreams::OnState(absl::Span<const size_t> streams, size_t layer,
                          Matrix<const double> stream,
                          Matrix<const double> carry) {
  for (const size_t s : streams) {
    Append(stream, states[s][layer].stream);
    Append(carry, states[s][layer].carry);
  }
}

Plan Mutated(Plan plan, bool qk_norm, Random& random) {
  const size_t changes = 1 + random.Below(4);
  for (size_t i = 0; i < changes; ++i) {
    const Op op = OpAt(random.Below(kNumOps));
    if (!qk_norm && (op == Op::kQNorm || op == Op::kKNorm)) continue;
    Strategy strategy;
    do {
      strategy = Strategy(random.Below(Strategies().size()));
    } while (!strategy.Takes(OpKernel(op)) || !strategy.info().fixed_bits);
    const bool all = random.Below(3) == 0;
    const size_t layer = 1 + random.Below(plan.num_layers());
    for (size_t l = 1; l <= plan.num_layers(); ++l) {
      if (all || l == layer || !IsPerLayer(op)) plan.Set(l, op, strategy);
    }
  }
  if (random.Below(3) == 0) {
    constexpr const char* kForms[] = {"eager", "sdpa",       "fa2(8)",
                                      "fa4",   "splitkv(2)", "ggml"};
    plan.SetAttention(1 + random.Below(plan.num_layers()),
                      *AttentionForm::Parse(kForms[random.Below(6)]));
  }
  return plan;
}

Outputs Alone(const Weights& weights, const Plan& plan,
              const std::vector<int32_t>& tokens) {
  Parallel parallel;
  KeepOutputs keep;
  Decoder decoder(weights, plan, tokens.size(), parallel);
  EXPECT_THAT(decoder.Forward(tokens, Logits::kAll, &keep), IsOk());
  return keep.outputs;
}

Family::Family(const Weights& weights) : weights_(weights) {
  Random random(7);
  const bool qk_norm = weights.config.qk_norm;
  for (const size_t length : {1, 5, 34}) {
    prompts_.push_back(RandomTokens(length, weights, random));
  }
  const size_t n = weights.layers.size();
  std::vector<Plan> bases;
  for (const char* text : {"f32", "torch-bf16", "oracle", "residual=kahan"}) {
    bases.push_back(Plan::Parse(text, n).value());
  }
  for (size_t i = 0; i < 100; ++i) {
    Member member;
    member.plan = Mutated(bases[i / 4 % bases.size()], qk_norm, random);
    member.before = member.plan;
    // Mostly short ones: the long one takes as long as all others.
    member.prompt = i % 10 == 0 ? 2 : i % 2;
    if (i % 3 == 2) {
      member.before = Mutated(bases[i % bases.size()], qk_norm, random);
      member.first_layer = 1 + random.Below(n);
    }
    members_.push_back(std::move(member));
  }
  Parallel parallel;
  for (Member& member : members_) {
    if (member.first_layer == 0) continue;
    // The state before its first layer.
    KeepStreams keep(1, false);
    Stream stream{member.before, prompts_[member.prompt]};
    EXPECT_THAT(RunLockstep(weights, {stream}, {}, keep, parallel), IsOk());
    member.start = keep.states[0].at(member.first_layer - 1);
  }
}

std::vector<Stream> Family::Streams() const {
  std::vector<Stream> streams;
  for (const Member& member : members_) {
    Stream stream{member.plan, prompts_[member.prompt]};
    if (member.first_layer > 0) {
      stream.first_layer = member.first_layer;
      stream.start = &member.start;
    }
    streams.push_back(stream);
  }
  return streams;
}

Outputs Family::Expected(size_t i, bool scores) const {
  const Member& member = members_[i];
  const Plan plan =
      member.first_layer == 0
          ? member.plan
          : Composite(member.before, member.plan, member.first_layer);
  Outputs expected;
  for (auto& [key, values] : Alone(weights_, plan, prompts_[member.prompt])) {
    const auto [layer, op, position] = key;
    const bool before = IsPerLayer(op)
                            ? layer < member.first_layer
                            : op == Op::kEmbed && member.first_layer > 0;
    if (before || (!scores && (op == Op::kQk || op == Op::kSoftmax))) {
      continue;
    }
    expected[key] = values;
  }
  return expected;
}

void ExpectSame(const Outputs& got, const Outputs& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [key, values] : expected) {
    const auto [layer, op, position] = key;
    const auto found = got.find(key);
    ASSERT_NE(found, got.end()) << layer << " " << OpName(op);
    ASSERT_TRUE(HasBits<double>(found->second, values))
        << "layer " << layer << " " << OpName(op) << " position " << position;
  }
}

}  // namespace ulpscope
