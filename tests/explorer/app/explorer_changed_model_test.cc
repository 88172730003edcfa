// Another process shortens a model, or writes to it, while it is loaded.

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

constexpr int64_t kHidden = 512, kMlp = 1 << 14, kVocabulary = 32;

// A model whose MLP takes long enough to load, of zeros that the disk has not.
class LargeModel {
 public:
  LargeModel() {
    nlohmann::ordered_json header;
    const auto add = [&](const std::string& name,
                         const std::vector<int64_t>& shape) {
      int64_t size = 2;
      for (const int64_t n : shape) size *= n;
      header[name] = {{"dtype", "BF16"},
                      {"shape", shape},
                      {"data_offsets", {size_, size_ + size}}};
      size_ += size;
    };
    add("model.embed_tokens.weight", {kVocabulary, kHidden});
    const std::string layer = "model.layers.0.";
    add(layer + "input_layernorm.weight", {kHidden});
    add(layer + "post_attention_layernorm.weight", {kHidden});
    for (const char* const name : {"q", "k", "v"}) {
      add(absl::StrCat(layer, "self_attn.", name, "_proj.weight"),
          {kHidden, kHidden});
      add(absl::StrCat(layer, "self_attn.", name, "_proj.bias"), {kHidden});
    }
    add(layer + "self_attn.o_proj.weight", {kHidden, kHidden});
    add(layer + "mlp.gate_proj.weight", {kMlp, kHidden});
    add(layer + "mlp.up_proj.weight", {kMlp, kHidden});
    add(layer + "mlp.down_proj.weight", {kHidden, kMlp});
    add("model.norm.weight", {kHidden});
    header_ = header.dump();
    const nlohmann::json config = {{"architectures", {"Qwen2ForCausalLM"}},
                                   {"hidden_size", kHidden},
                                   {"intermediate_size", kMlp},
                                   {"num_hidden_layers", 1},
                                   {"num_attention_heads", 8},
                                   {"num_key_value_heads", 8},
                                   {"vocab_size", kVocabulary},
                                   {"max_position_embeddings", 64},
                                   {"rms_norm_eps", 1e-6},
                                   {"rope_theta", 10000.0},
                                   {"tie_word_embeddings", true}};
    WriteTestFile("config.json", config.dump());
  }

  void Write() {
    path_ = WriteTestFile("model.safetensors",
                          absl::StrCat(Encode64(header_.size()), header_));
    ASSERT_EQ(
        truncate(path_.c_str(), static_cast<off_t>(8 + header_.size()) + size_),
        0);
  }
  // Without the end of the last matrix and what is behind it.
  void Shorten() const { ASSERT_EQ(truncate(path_.c_str(), size_ / 2), 0); }
  // A byte of the last matrix, in place.
  void Change() const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(size_ - 8192);
    file.put('\x01');
  }

 private:
  std::string header_, path_;
  int64_t size_ = 0;
};

// Runs the program, and calls `change` once, after `delay`.
Outcome RunWhile(absl::Duration delay, absl::FunctionRef<void()> change) {
  const absl::Time start = absl::Now();
  bool done = false;
  return StopExplorerWhen(
      {"--generate=1", "--tokens=1,", "--threads=1", "--wisdom=none",
       absl::StrCat("--model=", TestFolder())},
      [&] {
        if (!done && absl::Now() - start > delay) {
          change();
          done = true;
        }
        return false;
      },
      0);
}

// Runs until one ends with the message: what is done to the model may come too
// early or too late. It is tried all over the time that a run takes here,
// which is measured anew with each that was left alone.
testing::AssertionResult IsSaid(
    const std::string& message,
    absl::FunctionRef<void(const LargeModel& model)> change) {
  constexpr int kTries = 40;
  LargeModel model;
  absl::Duration takes;
  for (int i = 0; i < kTries; ++i) {
    model.Write();
    if (i % 8 == 0) {
      const absl::Time start = absl::Now();
      const Outcome alone = RunWhile(absl::InfiniteDuration(), [] {});
      EXPECT_EQ(alone.exit_code, 0) << alone.err;
      takes = absl::Now() - start;
    }
    // Of the golden ratio: however few the tries, they lie all over it.
    const double part = std::fmod(0.5 + 0.6180339887 * i, 1.0);
    const Outcome run = RunWhile(part * takes, [&] { change(model); });
    EXPECT_GE(run.exit_code, 0) << "a signal";
    EXPECT_LE(run.exit_code, 1) << run.err;
    if (!absl::StrContains(run.err, message)) continue;
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, testing::HasSubstr(absl::StrCat(
                             TestFolder(), "/model.safetensors: ", message)));
    return testing::AssertionSuccess() << "at try " << i;
  }
  return testing::AssertionFailure()
         << "none of " << kTries << " runs of " << takes << " said " << message;
}

TEST(ExplorerChangedModelTest, ShortenedIsSaid) {
  EXPECT_TRUE(IsSaid("was truncated while it was read",
                     [](const LargeModel& model) { model.Shorten(); }));
}

TEST(ExplorerChangedModelTest, WrittenToIsSaid) {
  EXPECT_TRUE(IsSaid("another process wrote to it",
                     [](const LargeModel& model) { model.Change(); }));
}

}  // namespace
}  // namespace ulpscope
