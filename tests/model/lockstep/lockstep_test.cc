#include "model/lockstep/lockstep.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/strategy/targets.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

// Weights that strategies round: the synthetic ones are bf16.
constexpr const char* kF32Checkpoint = "tests/testdata/reference/qwen3_untied";

std::vector<int32_t> RandomTokens(size_t count, const Weights& weights,
                                  Random& random) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(
        random.Below(static_cast<uint64_t>(weights.config.vocab_size))));
  }
  return tokens;
}

// (layer, op, first position) -> values.
using Key = std::tuple<size_t, Op, size_t>;
using Outputs = std::map<Key, std::vector<double>>;

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

// Keeps what each stream is shown.
class KeepStreams : public LockstepObserver {
 public:
  KeepStreams(size_t num_streams, bool scores)
      : outputs(num_streams), states(num_streams), scores_(scores) {}

  bool Wants(Op op) const override {
    return scores_ || (op != Op::kQk && op != Op::kSoftmax);
  }
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    EXPECT_TRUE(std::is_sorted(streams.begin(), streams.end()));
    ++shown;
    for (const size_t s : streams) {
      ++shown_to;
      std::vector<double>& values = outputs[s][{layer, op, first_position}];
      EXPECT_TRUE(values.empty()) << "shown twice";
      Append(rows, values);
    }
  }
  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    for (const size_t s : streams) {
      Append(stream, states[s][layer].stream);
      Append(carry, states[s][layer].carry);
    }
  }

  std::vector<Outputs> outputs;
  std::vector<std::map<size_t, StreamState>> states;
  size_t shown = 0, shown_to = 0;

 private:
  bool scores_;
};

// A plan in which some ops, or cells, have other strategies.
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
  return plan;
}

// The first layers of one plan, the rest of another.
Plan Composite(const Plan& before, const Plan& after, size_t first_layer) {
  Plan plan = after;
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    if (op == Op::kEmbed) plan.Set(0, op, before.Get(0, op));
    if (!IsPerLayer(op)) continue;
    for (size_t l = 1; l < first_layer; ++l) plan.Set(l, op, before.Get(l, op));
  }
  return plan;
}

// Everything that a Decoder computes under the plan, alone.
Outputs Alone(const Weights& weights, const Plan& plan,
              const std::vector<int32_t>& tokens) {
  Parallel parallel;
  KeepOutputs keep;
  Decoder decoder(weights, plan, tokens.size(), parallel);
  EXPECT_THAT(decoder.Forward(tokens, Logits::kAll, &keep), IsOk());
  return keep.outputs;
}

// 100 streams over three sequences, in families of plans that differ in a few
// cells; every third begins at a layer's input that another plan left.
class Family {
 public:
  explicit Family(const Weights& weights) : weights_(weights) {
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

  std::vector<Stream> Streams() const {
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

  // What stream i must be shown.
  Outputs Expected(size_t i, bool scores) const {
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

  size_t size() const { return members_.size(); }

 private:
  struct Member {
    Plan plan{1}, before{1};
    size_t prompt = 0;
    size_t first_layer = 0;  // 0: from its tokens
    StreamState start;
  };
  const Weights& weights_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<Member> members_;
};

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

class LockstepTest
    : public testing::TestWithParam<std::tuple<int64_t, const char*>> {};

TEST_P(LockstepTest, HasTheBitsOfEachStreamAlone) {
  const auto& [target, model] = GetParam();
  const Weights& weights = LoadedOnce(model);
  // The expected bits are another target's where there is one.
  const Family family(weights);
  std::vector<Outputs> expected;
  for (size_t i = 0; i < family.size(); ++i) {
    expected.push_back(family.Expected(i, true));
  }
  const ScopedTarget scoped_target(target);
  for (const size_t threads : {1, 2}) {
    Parallel parallel(threads);
    KeepStreams keep(family.size(), threads == 1);
    LockstepOptions options;
    options.logits = Logits::kAll;
    ASSERT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                IsOk());
    for (size_t i = 0; i < family.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("stream ", i, ", ", threads, " threads"));
      Outputs wanted = expected[i];
      if (threads == 2) wanted = family.Expected(i, false);
      ExpectSame(keep.outputs[i], wanted);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, LockstepTest,
    testing::Combine(testing::ValuesIn(RunnableTargets()),
                     testing::Values("synthetic:tiny", "synthetic:tiny-qwen3",
                                     kF32Checkpoint)),
    [](const auto& test) {
      std::string model = std::get<1>(test.param);
      model = model.substr(model.find_last_of(":/") + 1);
      std::replace(model.begin(), model.end(), '-', '_');
      return absl::StrCat(hwy::TargetName(std::get<0>(test.param)), "_", model);
    });

// Plans that differ in one cell of the last layer compute all but that layer
// once.
TEST(LockstepSharingTest, EqualPrefixesAreComputedOnce) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  const std::vector<int32_t> tokens = {3, 14, 15};
  std::vector<Stream> streams;
  for (const char* strategy : {"f32", "bf16", "oracle", "f32"}) {
    const std::string text = absl::StrCat("down_proj@", n, "=", strategy);
    streams.push_back({Plan::Parse(text, n).value(), tokens});
  }
  KeepStreams keep(streams.size(), false);
  Parallel parallel;
  ASSERT_THAT(RunLockstep(weights, streams, {}, keep, parallel), IsOk());
  // Three states after the last layer, and each op's output until then once:
  // down_proj and mlp_residual three times, and the final norm.
  const size_t per_layer = weights.config.qk_norm ? 16 : 14;  // without scores
  EXPECT_EQ(keep.shown, 1 + n * per_layer + 2 + 2 + 3);
  EXPECT_EQ(keep.outputs[0], keep.outputs[3]);
}

// Streams that have come to the same bits go on as one.
TEST(LockstepSharingTest, EqualBitsAreSharedAgain) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  // Softmax over one position is 1 under every strategy.
  const std::vector<int32_t> tokens = {3};
  std::vector<Stream> streams;
  for (const char* text : {"f32", "softmax@1=bf16", "softmax@1=oracle"}) {
    streams.push_back({Plan::Parse(text, n).value(), tokens});
  }
  KeepStreams keep(streams.size(), false);
  Parallel parallel;
  ASSERT_THAT(RunLockstep(weights, streams, {}, keep, parallel), IsOk());
  EXPECT_EQ(keep.shown * 3, keep.shown_to);
}

TEST(LockstepMemoryTest, AnyLimitGivesTheSameResults) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Family family(weights);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kLast;
  KeepStreams unbounded(family.size(), false);
  ASSERT_THAT(
      RunLockstep(weights, family.Streams(), options, unbounded, parallel),
      IsOk());
  for (const size_t memory : {size_t{0}, size_t{1} << 20}) {
    options.memory = memory;
    KeepStreams keep(family.size(), false);
    ASSERT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                IsOk());
    EXPECT_GT(keep.shown, unbounded.shown);
    for (size_t i = 0; i < family.size(); ++i) {
      ExpectSame(keep.outputs[i], unbounded.outputs[i]);
    }
  }
}

Panels RandomPanels(size_t n, size_t k, Random& random) {
  std::vector<float> values(n * k);
  for (float& x : values) x = static_cast<float>(random.Uniform(-1, 1));
  Parallel parallel;
  return {DType::kF32, values.data(), n, k, parallel};
}

// A model of one layer.
Weights OneLayer(size_t hidden, size_t heads, size_t vocab) {
  constexpr size_t kMlp = 64;
  Random random(5);
  Weights weights;
  ModelConfig& config = weights.config;
  config.vocab_size = static_cast<int64_t>(vocab);
  config.hidden_size = config.head_dim = static_cast<int64_t>(hidden);
  config.intermediate_size = kMlp;
  config.num_hidden_layers = 1;
  config.num_attention_heads = static_cast<int64_t>(heads);
  config.num_key_value_heads = 1;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 1e4;
  config.tie_word_embeddings = config.qkv_bias = true;
  weights.embed = RandomPanels(vocab, hidden, random);
  weights.final_norm.assign(hidden, 1);
  weights.layers.resize(1);
  LayerWeights& layer = weights.layers[0];
  layer.input_norm = layer.post_norm = weights.final_norm;
  const size_t q_size = heads * hidden;
  layer.q_proj = RandomPanels(q_size, hidden, random);
  layer.k_proj = RandomPanels(hidden, hidden, random);
  layer.v_proj = RandomPanels(hidden, hidden, random);
  layer.o_proj = RandomPanels(hidden, q_size, random);
  layer.q_bias.resize(q_size);
  for (double& x : layer.q_bias) x = random.Uniform(-1, 1);
  layer.k_bias = layer.v_bias = weights.final_norm;
  layer.gate_proj = RandomPanels(kMlp, hidden, random);
  layer.up_proj = RandomPanels(kMlp, hidden, random);
  layer.down_proj = RandomPanels(hidden, kMlp, random);
  return weights;
}

// Bytes that the program has allocated and not freed, when it was most.
class WatchMemory : public LockstepObserver {
 public:
  bool Wants(Op) const override { return true; }
  void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                Matrix<const double>) override {
    Look();
  }
  void Look() {
    const struct mallinfo2 info = mallinfo2();
    most = std::max(most, info.uordblks + info.hblkhd);
  }
  size_t most = 0;
};

void ExpectNoMoreMemory(const Weights& weights, size_t memory) {
  Random random(11);
  const std::vector<int32_t> tokens = RandomTokens(24, weights, random);
  std::vector<Stream> streams;
  for (size_t i = 0; i < 100; ++i) {
    const Plan plan = Plan::Parse("f32", weights.layers.size()).value();
    streams.push_back({Mutated(plan, false, random), tokens});
  }
  Parallel parallel;
  for (const Logits logits : {Logits::kNone, Logits::kAll}) {
    WatchMemory before, during;
    LockstepOptions options;
    options.logits = logits;
    options.memory = memory;
    options.stop = [&] {
      during.Look();
      return false;
    };
    before.Look();
    ASSERT_THAT(RunLockstep(weights, streams, options, during, parallel),
                IsOk());
    EXPECT_LE(during.most - before.most, memory);
  }
}

TEST(LockstepMemoryTest, ActivationsTakeNoMore) {
  ExpectNoMoreMemory(LoadedOnce("synthetic:tiny"), size_t{2} << 20);
}

TEST(LockstepMemoryTest, LogitsTakeNoMore) {
  // The logits of three streams, and nothing else.
  ExpectNoMoreMemory(OneLayer(64, 1, 8192), 3 * 24 * 8192 * sizeof(double));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(LockstepMemoryTest, WithoutMemoryItSaysWhatWasTooLarge) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens(size_t{1} << 21, 7);
  const std::vector<Stream> streams = {{Plan(weights.layers.size()), tokens}};
  class : public LockstepObserver {
    bool Wants(Op) const override { return false; }
    void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                  Matrix<const double>) override {}
  } nobody;
  const auto run = [&] {
    Parallel parallel;
    const struct rlimit few = {size_t{512} << 20, size_t{512} << 20};
    if (setrlimit(RLIMIT_AS, &few) != 0) _exit(2);
    const absl::Status status =
        RunLockstep(weights, streams, {}, nobody, parallel);
    absl::FPrintF(stderr, "%s\n", status.message());
    _exit(absl::IsResourceExhausted(status) ? 0 : 1);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0),
              "no memory for the activations of 1 runs at once");
}
#endif

TEST(LockstepPiecesTest, OfColumnsHaveTheSameBitsAndAskForTheStop) {
  // Of 32 rows, half a billion products are 953 of the 1024 panels of the head
  // and of q_proj.
  const Weights weights = OneLayer(512, 64, 32768);
  const Plan plan(1);
  Random random(6);
  const std::vector<int32_t> tokens = RandomTokens(33, weights, random);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kAll;
  std::vector<size_t> shown_when_asked;
  KeepStreams keep(1, false);
  options.stop = [&] {
    shown_when_asked.push_back(keep.shown);
    return false;
  };
  ASSERT_THAT(RunLockstep(weights, {{plan, tokens}}, options, keep, parallel),
              IsOk());
  Outputs expected = Alone(weights, plan, tokens);
  for (size_t position = 0; position < tokens.size(); ++position) {
    expected.erase({1, Op::kQk, position});
    expected.erase({1, Op::kSoftmax, position});
  }
  ExpectSame(keep.outputs[0], expected);
  // Before the head, before each of its pieces of rows, and once within.
  EXPECT_EQ(std::count(shown_when_asked.begin(), shown_when_asked.end(),
                       keep.shown - 1),
            4);
  // And after the logits were shown: what of them was left undone?
  EXPECT_EQ(shown_when_asked.back(), keep.shown);
  const size_t last = shown_when_asked.size() - 1;
  for (const size_t stop_at : {last - 2, last - 1, last}) {
    size_t asked = 0;
    options.stop = [&] { return asked++ == stop_at; };
    KeepStreams stopped(1, false);
    EXPECT_THAT(
        RunLockstep(weights, {{plan, tokens}}, options, stopped, parallel),
        StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(stopped.shown, keep.shown - (stop_at < last ? 1 : 0));
    EXPECT_EQ(asked, stop_at + 1);
  }
}

TEST(LockstepLogitsTest, OfTheLastPositionAlone) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t vocab = static_cast<size_t>(weights.config.vocab_size);
  const Plan plan(weights.layers.size());
  const std::vector<int32_t> tokens = {3, 14, 15, 9};
  const std::vector<int32_t> shorter = {3, 14};
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kLast;
  ASSERT_THAT(RunLockstep(weights, {{plan, tokens}, {plan, shorter}}, options,
                          keep, parallel),
              IsOk());
  const std::vector<double> all =
      Alone(weights, plan, tokens).at({0, Op::kLmHead, 0});
  for (const size_t s : {0, 1}) {
    const size_t last = s == 0 ? 3 : 1;
    const Outputs& outputs = keep.outputs[s];
    ASSERT_EQ(outputs.count({0, Op::kLmHead, last}), 1u);
    EXPECT_TRUE(
        HasBits<double>(outputs.at({0, Op::kLmHead, last}),
                        absl::MakeConstSpan(all).subspan(last * vocab, vocab)));
  }
}

TEST(LockstepRangeTest, StopsAfterTheLastLayer) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = {3, 4};
  Stream stream{Plan(weights.layers.size()), tokens};
  stream.last_layer = 2;
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kAll;
  Stream all{Plan(weights.layers.size()), tokens};
  ASSERT_THAT(RunLockstep(weights, {stream, all}, options, keep, parallel),
              IsOk());
  EXPECT_EQ(keep.states[0].size(), 3u);  // 0, 1, 2
  EXPECT_EQ(keep.states[1].size(), weights.layers.size() + 1);
  for (const auto& [key, values] : keep.outputs[0]) {
    EXPECT_LE(std::get<0>(key), 2u);
    EXPECT_NE(std::get<1>(key), Op::kFinalNorm);
    EXPECT_NE(std::get<1>(key), Op::kLmHead);
    EXPECT_TRUE(HasBits<double>(values, keep.outputs[1].at(key)));
  }
}

TEST(LockstepStopTest, EndsWhereItIsStoppedAndShowsWhatCameBefore) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Family family(weights);
  Parallel parallel;
  KeepStreams all(family.size(), false);
  ASSERT_THAT(RunLockstep(weights, family.Streams(), {}, all, parallel),
              IsOk());
  size_t asked = 0, last = 0;
  for (const size_t stop_at : {0, 1, 10, 100, 150}) {
    asked = 0;
    LockstepOptions options;
    options.stop = [&] { return asked++ >= stop_at; };
    KeepStreams keep(family.size(), false);
    EXPECT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(asked, stop_at + 1) << "asked again after the stop";
    EXPECT_GE(keep.shown, last);
    EXPECT_LT(keep.shown, all.shown);
    last = keep.shown;
    for (size_t i = 0; i < family.size(); ++i) {
      for (const auto& [key, values] : keep.outputs[i]) {
        EXPECT_TRUE(HasBits<double>(values, all.outputs[i].at(key)));
      }
    }
  }
  EXPECT_GT(last, 0u);
}

TEST(LockstepProgressTest, EndsWithAllWorkDone) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens = {3};
  const Plan plan(weights.layers.size());
  Stream part{plan, tokens};
  part.last_layer = 1;
  KeepStreams keep(2, false);
  Parallel parallel;
  LockstepOptions options;
  std::vector<size_t> done;
  size_t all = 0;
  options.progress = [&](size_t d, size_t total) {
    done.push_back(d);
    all = total;
  };
  ASSERT_THAT(RunLockstep(weights, {Stream{plan, tokens}, part}, options, keep,
                          parallel),
              IsOk());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), all);
  EXPECT_EQ(all, weights.layers.size() + 1 + 1);
}

TEST(LockstepErrorTest, BadStreamsAreRefused) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t n = weights.layers.size();
  const std::vector<int32_t> tokens = {3, 4};
  const std::vector<int32_t> bad_token = {
      3, static_cast<int32_t>(weights.config.vocab_size)};
  const auto status_of = [&](const Stream& stream) {
    KeepStreams keep(2, false);
    Parallel parallel;
    const absl::Status status = RunLockstep(
        weights, {Stream{Plan(n), tokens}, stream}, {}, keep, parallel);
    EXPECT_EQ(keep.shown, 0u);
    return status;
  };
  const auto refused = [](const char* what) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(status_of({Plan(n), {}}), refused("stream 1: no tokens"));
  EXPECT_THAT(status_of({Plan(n), bad_token}), refused("vocabulary"));
  EXPECT_THAT(status_of({Plan(n + 1), tokens}), refused("layers"));
  EXPECT_THAT(status_of({Plan(n), tokens, 2}), refused("no input of layer 2"));
  EXPECT_THAT(status_of({Plan(n), tokens, 0}), refused("layers 0 to"));
  EXPECT_THAT(status_of({Plan(n), tokens, n + 1}), refused("layers"));
  StreamState start;
  start.stream.resize(
      tokens.size() * static_cast<size_t>(weights.config.hidden_size) - 1);
  EXPECT_THAT(status_of({Plan(n), tokens, 2, &start}), refused("values"));
  start.stream.push_back(0);
  start.carry.resize(1);
  EXPECT_THAT(status_of({Plan(n), tokens, 2, &start}), refused("values"));
  start.carry.clear();
  Stream backwards{Plan(n), tokens, 2, &start, 1};
  EXPECT_THAT(status_of(backwards), refused("layers 2 to 1"));
}

}  // namespace
}  // namespace ulpscope
