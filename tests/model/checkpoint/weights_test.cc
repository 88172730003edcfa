#include "model/checkpoint/weights.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "model/checkpoint/checkpoint.h"
#include "model/files/gguf_file.h"
#include "model/files/tensor.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Passes on another source, but for one tensor; writes down what is asked for.
class Watched : public TensorSource {
 public:
  Watched(std::unique_ptr<TensorSource> source, std::vector<std::string>& asked,
          std::string missing)
      : source_(std::move(source)),
        asked_(asked),
        missing_(std::move(missing)) {}

  bool Has(absl::string_view name) const override {
    return name != missing_ && source_->Has(name);
  }
  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> shape) const override {
    return source_->StoredBytes(name, shape);
  }
  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    asked_.emplace_back(name);
    if (name == missing_) {
      return absl::NotFoundError(absl::StrCat("no tensor ", name));
    }
    return source_->Load(name, shape);
  }

 private:
  std::unique_ptr<TensorSource> source_;
  std::vector<std::string>& asked_;
  std::string missing_;
};

// An untied model needs an lm_head: the embedding's tensor is given for it.
class WithHead : public TensorSource {
 public:
  explicit WithHead(std::unique_ptr<TensorSource> source)
      : source_(std::move(source)) {}
  bool Has(absl::string_view name) const override {
    return name == "lm_head.weight" || source_->Has(name);
  }
  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> shape) const override {
    return source_->StoredBytes(Stored(name), shape);
  }
  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    return source_->Load(Stored(name), shape);
  }

 private:
  static absl::string_view Stored(absl::string_view name) {
    return name == "lm_head.weight" ? "model.embed_tokens.weight" : name;
  }

  std::unique_ptr<TensorSource> source_;
};

Checkpoint Open(const std::string& name) {
  auto checkpoint = OpenCheckpoint(name);
  EXPECT_THAT(checkpoint, IsOk());
  return *std::move(checkpoint);
}

absl::StatusOr<Weights> Load(const Checkpoint& checkpoint) {
  Parallel parallel(2);
  return LoadWeights(checkpoint, parallel, [](size_t, size_t) {});
}

// What LoadWeights says is done, on the way to `total`. It never goes back, and
// comes to the total once.
std::vector<size_t> ProgressOf(const Checkpoint& checkpoint, size_t total) {
  std::vector<size_t> calls;
  Parallel parallel(2);
  EXPECT_THAT(LoadWeights(checkpoint, parallel,
                          [&](size_t done, size_t of) {
                            EXPECT_EQ(of, total);
                            calls.push_back(done);
                          }),
              IsOk());
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  EXPECT_EQ(std::count(calls.begin(), calls.end(), total), 1);
  return calls;
}

class WeightsTest : public testing::TestWithParam<const char*> {};

TEST_P(WeightsTest, ProgressCountsTheBytesOfEveryTensorOnce) {
  const Checkpoint checkpoint = Open(GetParam());
  // Of bf16.
  const ModelConfig& c = checkpoint.config;
  const size_t heads = static_cast<size_t>(2 * c.hidden_size * c.q_size() +
                                           2 * c.hidden_size * c.kv_size());
  const size_t biases =
      c.qkv_bias ? static_cast<size_t>(c.q_size() + 2 * c.kv_size()) : 0;
  const size_t norms =
      static_cast<size_t>(2 * c.hidden_size + (c.qk_norm ? 2 * c.head_dim : 0));
  const size_t mlp =
      static_cast<size_t>(3 * c.hidden_size * c.intermediate_size);
  const size_t bytes =
      2 * (static_cast<size_t>(c.num_hidden_layers) *
               (heads + biases + norms + mlp) +
           static_cast<size_t>((c.vocab_size + 1) * c.hidden_size));
  const std::vector<size_t> calls = ProgressOf(checkpoint, bytes);
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.front(),
            static_cast<size_t>(2 * c.vocab_size * c.hidden_size));
  EXPECT_GE(calls.size(), static_cast<size_t>(9 * c.num_hidden_layers));
}

// Whichever tensor is missing, nothing is asked for after it.
TEST_P(WeightsTest, FirstErrorIsReturned) {
  std::vector<std::string> all;
  {
    Checkpoint checkpoint = Open(GetParam());
    checkpoint.tensors =
        std::make_unique<Watched>(std::move(checkpoint.tensors), all, "");
    ASSERT_THAT(Load(checkpoint), IsOk());
  }
  for (size_t i = 0; i < all.size(); i += 7) {
    Checkpoint checkpoint = Open(GetParam());
    std::vector<std::string> asked;
    checkpoint.tensors =
        std::make_unique<Watched>(std::move(checkpoint.tensors), asked, all[i]);
    EXPECT_THAT(Load(checkpoint),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr(all[i])));
    EXPECT_EQ(asked.size(), i + 1);
  }
}

TEST_P(WeightsTest, HoldTheTensorsValues) {
  const Checkpoint checkpoint = Open(GetParam());
  const auto weights = Load(checkpoint);
  ASSERT_THAT(weights, IsOk());
  const ModelConfig& c = checkpoint.config;
  const auto expect_rows = [&](const std::string& name, int64_t rows,
                               int64_t cols, const Panels& panels) {
    const int64_t shape[] = {rows, cols};
    const auto tensor = checkpoint.tensors->Load(name, shape);
    ASSERT_THAT(tensor, IsOk());
    ASSERT_EQ(tensor->dtype, DType::kBF16);
    const auto* data = static_cast<const hwy::bfloat16_t*>(tensor->data);
    std::vector<double> row(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; ++r) {
      panels.CopyRow(static_cast<size_t>(r), row.data());
      for (int64_t i = 0; i < cols; ++i) {
        ASSERT_EQ(row[static_cast<size_t>(i)],
                  hwy::F32FromBF16(data[r * cols + i]))
            << name << " " << r << " " << i;
      }
    }
  };
  const LayerWeights& w = weights->layers.back();
  const std::string layer =
      absl::StrCat("model.layers.", c.num_hidden_layers - 1, ".");
  expect_rows("model.embed_tokens.weight", c.vocab_size, c.hidden_size,
              weights->embed);
  expect_rows(layer + "self_attn.k_proj.weight", c.kv_size(), c.hidden_size,
              w.k_proj);
  expect_rows(layer + "self_attn.o_proj.weight", c.hidden_size, c.q_size(),
              w.o_proj);
  expect_rows(layer + "mlp.up_proj.weight", c.intermediate_size, c.hidden_size,
              w.up_proj);
  expect_rows(layer + "mlp.down_proj.weight", c.hidden_size,
              c.intermediate_size, w.down_proj);
  EXPECT_EQ(w.q_bias.empty(), !c.qkv_bias);
  EXPECT_EQ(w.k_bias.size(), c.qkv_bias ? static_cast<size_t>(c.kv_size()) : 0);
  EXPECT_EQ(w.q_norm.size(), c.qk_norm ? static_cast<size_t>(c.head_dim) : 0);
  EXPECT_EQ(weights->final_norm.size(), static_cast<size_t>(c.hidden_size));
}

INSTANTIATE_TEST_SUITE_P(Synthetic, WeightsTest,
                         testing::Values("synthetic:tiny",
                                         "synthetic:tiny-qwen3"));

// Panels are 32 wide: rows are padded, columns are not.
size_t PaddedBytes(int64_t rows, int64_t cols) {
  return static_cast<size_t>((rows + 31) / 32 * 32 * cols) * 2;
}

size_t DecodeBytesOf(const ModelConfig& c) {
  return PaddedBytes(c.vocab_size, c.hidden_size) +
         static_cast<size_t>(c.num_hidden_layers) *
             (PaddedBytes(c.q_size(), c.hidden_size) +
              2 * PaddedBytes(c.kv_size(), c.hidden_size) +
              PaddedBytes(c.hidden_size, c.q_size()) +
              2 * PaddedBytes(c.intermediate_size, c.hidden_size) +
              PaddedBytes(c.hidden_size, c.intermediate_size));
}

TEST(DecodeBytesTest, CountsEachMatrixThatAStepReads) {
  Checkpoint tied = Open("synthetic:tiny");
  ASSERT_TRUE(tied.config.tie_word_embeddings);
  const auto weights = Load(tied);
  ASSERT_THAT(weights, IsOk());
  EXPECT_EQ(weights->DecodeBytes(), DecodeBytesOf(tied.config));
  EXPECT_EQ(&weights->LmHead(), &weights->embed);
  EXPECT_EQ(weights->lm_head.bytes(), 0u);

  // Untied, the head is read and not the embedding: as many bytes.
  Checkpoint untied = Open("synthetic:tiny");
  untied.config.tie_word_embeddings = false;
  EXPECT_THAT(Load(untied), StatusIs(testing::_, HasSubstr("lm_head.weight")));
  untied.tensors = std::make_unique<WithHead>(std::move(untied.tensors));
  const auto with_head = Load(untied);
  ASSERT_THAT(with_head, IsOk());
  EXPECT_EQ(&with_head->LmHead(), &with_head->lm_head);
  EXPECT_EQ(with_head->DecodeBytes(), DecodeBytesOf(untied.config));
}

// The data behind the header, which is all used: codes and scales of FP8, and
// matrices that are rows of one.
TEST(WeightsOfFileTest, ProgressCountsAllBytesOfTheFile) {
  for (const char* name : {"qwen3_fp8", "llama_fused"}) {
    SCOPED_TRACE(name);
    const std::string folder = absl::StrCat("tests/testdata/reference/", name);
    std::ifstream file(folder + "/model.safetensors", std::ios::binary);
    uint64_t header = 0;  // little-endian, as this machine
    file.read(reinterpret_cast<char*>(&header), sizeof(header));
    file.seekg(0, std::ios::end);
    const auto size = static_cast<size_t>(file.tellg());
    ProgressOf(Open(folder), size - sizeof(header) - header);
  }
  const std::string path = WriteTestFile("counted.gguf", TinyGguf().Bytes());
  size_t bytes = 0;
  const auto gguf = GgufFile::Open(path);
  ASSERT_THAT(gguf, IsOk());
  for (const auto& [tensor, stored] : gguf->tensors()) {
    bytes += stored.bytes.size();
  }
  ProgressOf(Open(path), bytes);
}

TEST(WeightsOfFileTest, StopEndsLoading) {
  const Checkpoint checkpoint = Open("synthetic:tiny");
  Parallel serial;
  size_t asked = 0;
  LoadOptions options;
  options.stop = [&asked] { return ++asked == 3; };
  EXPECT_THAT(LoadWeights(
                  checkpoint, serial, [](size_t, size_t) {}, options),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(asked, 3u);
}

TEST(WeightsOfFileTest, MissingTensorIsNamed) {
  GgufParts parts = TinyGguf();
  parts.tensors.pop_back();
  const std::string path = WriteTestFile("missing.gguf", parts.Bytes());
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_THAT(checkpoint, IsOk());
  const auto weights = Load(*checkpoint);
  ASSERT_FALSE(weights.ok());
  EXPECT_THAT(std::string(weights.status().message()),
              AllOf(HasSubstr("missing.gguf"), HasSubstr("ffn_down")));
}

TEST(WeightsOfFileTest, GgufLoads) {
  const std::string path = WriteTestFile("tiny.gguf", TinyGguf().Bytes());
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_THAT(checkpoint, IsOk());
  const auto weights = Load(*checkpoint);
  ASSERT_THAT(weights, IsOk());
  EXPECT_EQ(weights->layers.size(), 1u);
}

// Says that it has every tensor, of any size, and shows one value.
class Boundless : public TensorSource {
 public:
  bool Has(absl::string_view) const override { return true; }
  size_t StoredBytes(absl::string_view,
                     absl::Span<const int64_t>) const override {
    return 1;
  }
  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    static constexpr float kValue = 1;
    Tensor tensor;
    tensor.name = std::string(name);
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.data = &kValue;
    return tensor;
  }
};

TEST(LoadWeightsTest, WithoutMemoryTheErrorNamesTensorAndSize) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers end the process where there is no memory";
#endif
  Checkpoint checkpoint;
  checkpoint.config.vocab_size = int64_t{1} << 40;
  checkpoint.config.hidden_size = 1 << 10;
  checkpoint.tensors = std::make_unique<Boundless>();
  Parallel serial;
  EXPECT_THAT(LoadWeights(checkpoint, serial, [](size_t, size_t) {}),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("model.embed_tokens.weight"),
                             HasSubstr("4503599627370496 bytes"))));
}

}  // namespace
}  // namespace ulpscope
