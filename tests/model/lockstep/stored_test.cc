// Keys and values as the KV cache stores them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/stored_textbook.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/decoder/kept_outputs.h"
#include "tests/model/lockstep/random_streams.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

const std::vector<int32_t>& Tokens() {
  static const auto* const tokens = new std::vector<int32_t>{3, 14, 15, 92, 6};
  return *tokens;
}

KeptOutputs RunAll(const Weights& weights, const std::vector<Stream>& streams) {
  KeptOutputs kept(streams.size());
  Parallel parallel(2);
  LockstepOptions options;
  options.logits = Logits::kAll;
  EXPECT_THAT(RunLockstep(weights, streams, options, kept, parallel), IsOk());
  return kept;
}

Stream StreamOf(const Weights& weights, const std::string& plan,
                const GivenOutputs* given = nullptr) {
  Stream stream{Plan::Parse(plan, weights.layers.size()).value(), Tokens()};
  stream.given = given;
  return stream;
}

// The textbook's, of rows whose last columns are heads of keys or values.
std::vector<double> Stored(const char* format, const KeptOutputs::Output& of,
                           size_t kv_size, size_t head_dim) {
  std::vector<double> stored;
  for (size_t r = 0; r < of.rows; ++r) {
    for (size_t h = 0; h < kv_size; h += head_dim) {
      const std::vector<double> head = TextbookStored(
          format, absl::MakeConstSpan(of.values).subspan(
                      (r + 1) * of.cols - kv_size + h, head_dim));
      stored.insert(stored.end(), head.begin(), head.end());
    }
  }
  return stored;
}

constexpr const char* kFormats[] = {"f32", "f64",  "oracle", "bf16", "f16",
                                    "fp8", "int8", "q8_0",   "q4_0"};

// In every layer, of whatever that layer computed, all streams at once.
TEST(StoredTest, OutputsAreTheTextbooksBitForBit) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    const size_t kv_size = static_cast<size_t>(weights.config.kv_size());
    const size_t head_dim = static_cast<size_t>(weights.config.head_dim);
    for (const char* base : {"f32", "oracle", "torch-bf16"}) {
      std::vector<Stream> streams;
      for (const char* format : kFormats) {
        streams.push_back(
            StreamOf(weights, std::string(base) + ",kv=" + format));
      }
      const KeptOutputs kept = RunAll(weights, streams);
      for (size_t s = 0; s < streams.size(); ++s) {
        SCOPED_TRACE(std::string(base) + " " + kFormats[s]);
        for (size_t layer = 1; layer <= weights.layers.size(); ++layer) {
          const auto& k = kept.Get(s, layer, Op::kKvK);
          const auto& v = kept.Get(s, layer, Op::kKvV);
          EXPECT_EQ(k.cols, kv_size);
          EXPECT_EQ(v.cols, kv_size);
          EXPECT_TRUE(HasBits<double>(
              k.values, Stored(kFormats[s], kept.Get(s, layer, Op::kRope),
                               kv_size, head_dim)));
          EXPECT_TRUE(HasBits<double>(
              v.values, Stored(kFormats[s], kept.Get(s, layer, Op::kVProj),
                               kv_size, head_dim)));
        }
      }
    }
  }
}

TEST(StoredTest, HasTheBitsOfADecoder) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen3"}) {
    const Weights& weights = LoadedOnce(model);
    std::vector<Stream> streams;
    for (const char* format : kFormats) {
      for (const char* entries : {"kv=", "kv_k=", "torch-bf16,kv_v@2-3="}) {
        streams.push_back(StreamOf(weights, std::string(entries) + format));
      }
    }
    const KeptOutputs kept = RunAll(weights, streams);
    for (size_t s = 0; s < streams.size(); ++s) {
      const Outputs alone = Alone(weights, streams[s].plan, Tokens());
      ASSERT_EQ(kept.outputs[s].size(), alone.size());
      for (const auto& [key, values] : alone) {
        EXPECT_TRUE(HasBits<double>(kept.outputs[s].at(key).values, values))
            << streams[s].plan.Text() << " layer " << std::get<0>(key) << " "
            << OpName(std::get<1>(key));
      }
    }
  }
}

// What no format rounds is one stream to the end; and so is what one leaves as
// it is, but for attention, which reads another type.
TEST(StoredTest, StreamsShareWhatIsNotRounded) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const KeptOutputs kept =
      RunAll(weights, {StreamOf(weights, "torch-bf16"),
                       StreamOf(weights, "torch-bf16,kv=oracle"),
                       StreamOf(weights, "torch-bf16,kv_k=f64"),
                       StreamOf(weights, "torch-bf16,kv=bf16")});
  for (const auto& [key, output] : kept.outputs[0]) {
    const size_t sharing = IsScore(std::get<1>(key)) ? 3 : 4;
    EXPECT_EQ(output.shown_with.size(), sharing)
        << "layer " << std::get<0>(key) << " " << OpName(std::get<1>(key));
  }
}

// A format differs from its layer on.
TEST(StoredTest, StreamsPartWhereOneRounds) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const KeptOutputs kept = RunAll(
      weights, {StreamOf(weights, "f32"), StreamOf(weights, "kv_v@2=q4_0")});
  for (const auto& [key, output] : kept.outputs[0]) {
    const auto [layer, op, position] = key;
    const bool before = IsPerLayer(op)
                            ? layer < 2 || (layer == 2 && op < Op::kKvV)
                            : op == Op::kEmbed;
    if (before) {
      EXPECT_EQ(output.shown_with.size(), 2u) << layer << " " << OpName(op);
    } else if (layer == 2 && (op == Op::kKvV || op == Op::kAv)) {
      EXPECT_EQ(output.shown_with.size(), 1u) << layer << " " << OpName(op);
    }
  }
}

// Given keys and values are read as they are, those that a plan stores in 16
// bits too.
TEST(StoredTest, GivenOnesAreReadAsTheyAre) {
  const Weights& weights = LoadedOnce("synthetic:tiny-qwen3");
  const KeptOutputs alone = RunAll(
      weights, {StreamOf(weights, "oracle"), StreamOf(weights, "kv=f16")});
  for (const size_t of : {size_t{0}, size_t{1}}) {
    const Given given = GivenOf(alone, of);
    const KeptOutputs kept = RunAll(
        weights,
        {StreamOf(weights, "kv=f16,qk=oracle,softmax=oracle,av=oracle", &given),
         StreamOf(weights, "oracle", &given)});
    for (const auto& [key, output] : kept.outputs[1]) {
      const Op op = std::get<1>(key);
      if (!IsScore(op) && op != Op::kAv) continue;
      EXPECT_TRUE(
          HasBits<double>(kept.outputs[0].at(key).values, output.values))
          << OpName(op);
    }
    // Its own are shown, of given keys.
    EXPECT_TRUE(
        HasBits<double>(kept.Get(0, 1, Op::kKvV).values,
                        Stored("f16", alone.Get(of, 1, Op::kVProj),
                               static_cast<size_t>(weights.config.kv_size()),
                               static_cast<size_t>(weights.config.head_dim))));
  }
}

}  // namespace
}  // namespace ulpscope
