#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr int kPositions = 512;

// A Llama of one layer whose vocabulary is Qwen's: to seek an embedding is most
// of what there is to do. Returns its folder.
std::string WriteModelOfManyTokens() {
  constexpr size_t kVocab = 151936, kHidden = 256, kKv = 64, kMlp = 64;
  const std::string layer = "model.layers.0.";
  const std::vector<std::pair<std::string, std::vector<size_t>>> tensors = {
      {"model.embed_tokens", {kVocab, kHidden}},
      {"model.norm", {kHidden}},
      {layer + "input_layernorm", {kHidden}},
      {layer + "post_attention_layernorm", {kHidden}},
      {layer + "self_attn.q_proj", {kHidden, kHidden}},
      {layer + "self_attn.k_proj", {kKv, kHidden}},
      {layer + "self_attn.v_proj", {kKv, kHidden}},
      {layer + "self_attn.o_proj", {kHidden, kHidden}},
      {layer + "mlp.gate_proj", {kMlp, kHidden}},
      {layer + "mlp.up_proj", {kMlp, kHidden}},
      {layer + "mlp.down_proj", {kHidden, kMlp}}};
  Json header = Json::object();
  size_t size = 0;
  for (const auto& [name, shape] : tensors) {
    size_t bytes = sizeof(uint16_t);
    for (const size_t n : shape) bytes *= n;
    header[name + ".weight"] = {{"dtype", "BF16"},
                                {"shape", shape},
                                {"data_offsets", {size, size + bytes}}};
    size += bytes;
  }
  const std::string text = header.dump();
  std::string file = Encode64(text.size()) + text;
  std::mt19937 random(1);
  for (size_t i = 0; i < size / 2; ++i) {
    // A bf16 of either sign in [0.25, 0.5).
    const auto bits = static_cast<uint16_t>(0x3e80 | (random() & 0x807f));
    file.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  }
  WriteTestFile("model.safetensors", file);
  WriteTestFile("config.json",
                Json({{"architectures", {"LlamaForCausalLM"}},
                      {"vocab_size", kVocab},
                      {"hidden_size", kHidden},
                      {"intermediate_size", kMlp},
                      {"num_hidden_layers", 1},
                      {"num_attention_heads", 4},
                      {"num_key_value_heads", 1},
                      {"max_position_embeddings", 2 * kPositions},
                      {"tie_word_embeddings", true}})
                    .dump());
  return TestFolder();
}

// As a program does that scales its embeddings.
void ScaleStates(const std::string& path) {
  std::string bytes = Read(path);
  ASSERT_GT(bytes.size(), 0u) << path;
  for (size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
    float x;
    std::memcpy(&x, &bytes[i], sizeof(x));
    x *= 1.5f;
    std::memcpy(&bytes[i], &x, sizeof(x));
  }
  std::ofstream(path, std::ios::binary) << bytes;
}

// No position's embedding is any token's: each is sought in the whole
// vocabulary. The search, or whatever else runs at that moment, ends at once.
TEST(ExplorerStopTest, ASearchForTokensStopsWithinTwoSeconds) {
  const std::string model = WriteModelOfManyTokens();
  std::vector<int> tokens;
  for (int t = 0; t < kPositions; ++t) tokens.push_back(t);
  const std::string flags =
      absl::StrCat("--tokens=", absl::StrJoin(tokens, ","));
  const std::string trace = absl::StrCat(TestFolder(), "_trace");
  const Outcome dump =
      Explorer(absl::StrCat("--dump-trace='", trace, "' --model='", model,
                            "' --plan=f32 --wisdom=none ", flags));
  ASSERT_EQ(dump.exit_code, 0) << dump.err;
  ScaleStates(trace + "/after_embeddings.bin");
  for (const double delay : {0.5, 2.0, 4.0}) {
    SCOPED_TRACE(delay);
    const Outcome run =
        StopExplorer({"--diagnose", "--reference=" + trace, "--model=" + model,
                      flags, "--plan=f32", "--threads=2", "--wisdom=none"},
                     ": done", SIGINT, absl::Seconds(delay));
    EXPECT_EQ(run.exit_code, 130);
    EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in "));
    // Of both threads together.
    EXPECT_LT(run.cpu_after_signal, 2 * absl::Seconds(2));
  }
}

}  // namespace
}  // namespace ulpscope
