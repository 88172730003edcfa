#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

// The rows of a table that start with this strategy.
size_t CountRows(const std::string& text, absl::string_view strategy) {
  size_t rows = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, absl::StrCat("| ", strategy, " |"))) ++rows;
  }
  return rows;
}

// Of the tiny model: 5 shapes of matrices, 4 of them with one row and with 3.
TEST(ExplorerTuneTest, WhatIsTunedIsKeptAndUsed) {
  const std::string file = absl::StrCat(TestFolder(), "/new/wisdom.json");
  const std::string flags = absl::StrCat(kQuick, "--wisdom='", file, "' ");
  const std::string axes = "--axes='matmul=f32,kahan;softmax=f32,bf16' ";
  const Outcome first = Explorer(absl::StrCat("--tune ", axes, flags));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("# ulpscope: tuned kernels\n"));
  EXPECT_EQ(CountRows(first.out, "f32"), 9);
  EXPECT_EQ(CountRows(first.out, "kahan"), 9);
  EXPECT_THAT(first.out, HasSubstr("| 1x300x64 | 1x512x64 | lm_head |"));
  EXPECT_THAT(first.out, HasSubstr("| 3x64x64 | 4x64x64 | q_proj, o_proj |"));
  EXPECT_THAT(first.err, HasSubstr("tuning 18 kinds of MatMul"));
  const std::string learned = Read(file);
  EXPECT_THAT(learned, StartsWith("{\n \"checksum\""));

  // Once more: there is nothing to do.
  const Outcome second = Explorer(absl::StrCat("--tune ", axes, flags));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.out, "");
  EXPECT_THAT(second.err, HasSubstr("18 of 18 kinds of MatMul are already"));
  EXPECT_EQ(Read(file), learned);

  // With another strategy, only that.
  const Outcome more = Explorer(absl::StrCat("--tune --plan=bf16 ", flags));
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(CountRows(more.out, "bf16"), 9);
  EXPECT_EQ(CountRows(more.out, "f32"), 0);
  const Outcome again =
      Explorer(absl::StrCat("--tune --retune --plan=f32 ", flags));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(CountRows(again.out, "f32"), 9);

  // A sweep says that it used it, and for how much of what it times.
  const std::string out = absl::StrCat(TestFolder(), "/out_folder");
  const Outcome sweep =
      Explorer(absl::StrCat("--sweep --out='", out, "' ", flags));
  ASSERT_EQ(sweep.exit_code, 0) << sweep.err;
  EXPECT_THAT(sweep.out, HasSubstr(absl::StrCat(
                             "Of 27 kinds of MatMul against weights, 27 are "
                             "tuned, by ",
                             file, ".")));
  EXPECT_THAT(Read(out + "/results.json"), HasSubstr("\"wisdom_used\":true"));
  const Outcome partly =
      Explorer(absl::StrCat("--sweep --axes='matmul=f32,dot2' ", flags));
  ASSERT_EQ(partly.exit_code, 0) << partly.err;
  EXPECT_THAT(partly.out, HasSubstr("Of 18 kinds of MatMul against weights, 9 "
                                    "are tuned"));
  EXPECT_THAT(Explorer(absl::StrCat("--plan=matmul=dot2 ", flags)).out,
              HasSubstr("Kernels are not tuned: "));
}

// A qwen3 of one layer, hidden size and feed forward 256, whose matrices are
// Q4_K, and Q6_K where llama.cpp's Q4_K_M has them; of bytes that count up.
std::string WriteQuantizedModel() {
  constexpr uint32_t kF32 = 0, kQ4K = 12, kQ6K = 14;
  const auto bytes_of = [](uint32_t type, uint64_t elements) {
    return type == kF32 ? 4 * elements
                        : elements / 256 * (type == kQ4K ? 144 : 210);
  };
  GgufParts parts;
  parts.values = {
      GgufEntry("general.architecture", 8, GgufText("qwen3")),
      GgufUint32("qwen3.embedding_length", 256),
      GgufUint32("qwen3.feed_forward_length", 256),
      GgufUint32("qwen3.block_count", 1),
      GgufUint32("qwen3.attention.head_count", 4),
      GgufUint32("qwen3.attention.head_count_kv", 2),
      GgufUint32("qwen3.attention.key_length", 64),
      GgufUint32("qwen3.attention.value_length", 64),
      GgufUint32("qwen3.context_length", 64),
      GgufFloat("qwen3.attention.layer_norm_rms_epsilon", 1e-6f),
      GgufFloat("qwen3.rope.freq_base", 1e6f),
  };
  const struct {
    const char* name;
    std::vector<uint64_t> dimensions;
    uint32_t type;
  } tensors[] = {
      {"token_embd.weight", {256, 64}, kQ6K},
      {"output_norm.weight", {256}, kF32},
      {"blk.0.attn_norm.weight", {256}, kF32},
      {"blk.0.ffn_norm.weight", {256}, kF32},
      {"blk.0.attn_q_norm.weight", {64}, kF32},
      {"blk.0.attn_k_norm.weight", {64}, kF32},
      {"blk.0.attn_q.weight", {256, 256}, kQ4K},
      {"blk.0.attn_k.weight", {256, 128}, kQ4K},
      {"blk.0.attn_v.weight", {256, 128}, kQ6K},
      {"blk.0.attn_output.weight", {256, 256}, kQ4K},
      {"blk.0.ffn_gate.weight", {256, 256}, kQ4K},
      {"blk.0.ffn_up.weight", {256, 256}, kQ4K},
      {"blk.0.ffn_down.weight", {256, 256}, kQ6K},
  };
  for (const auto& [name, dimensions, type] : tensors) {
    const size_t offset = (parts.data_size + 31) / 32 * 32;
    uint64_t elements = 1;
    for (const uint64_t n : dimensions) elements *= n;
    parts.tensors.push_back(GgufTensorEntry(name, dimensions, type, offset));
    parts.data_size = offset + bytes_of(type, elements);
  }
  return WriteTestFile("quantized.gguf", parts.Bytes());
}

// Weights in blocks are tuned under the names of their types, proven on the
// model, and used.
TEST(ExplorerTuneTest, QuantizedModelsAreTuned) {
  const std::string file = absl::StrCat(TestFolder(), "/quantized.json");
  const std::string flags = absl::StrCat(
      " --model='", WriteQuantizedModel(),
      "' --tokens=3 --timing_seconds=0 --threads=2 --wisdom='", file, "' ");
  const Outcome run =
      Explorer(absl::StrCat("--tune --plan=f32 -o json", flags));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json results = Json::parse(run.out);
  std::set<std::string> kinds;
  for (const Json& tuning : results["tunings"]) {
    kinds.insert(absl::StrCat(tuning["weights"].get<std::string>(), " ",
                              tuning["shape"].get<std::string>()));
    EXPECT_EQ(tuning["wrong"], 0);
    EXPECT_TRUE(tuning["kept"].is_boolean());
  }
  EXPECT_THAT(kinds, testing::UnorderedElementsAre(
                         "Q4_K 1x256x256", "Q4_K 3x256x256", "Q4_K 1x128x256",
                         "Q4_K 3x128x256", "Q6_K 1x128x256", "Q6_K 3x128x256",
                         "Q6_K 1x256x256", "Q6_K 3x256x256", "Q6_K 1x64x256"));
  ASSERT_EQ(results["proofs"].size(), 2u);
  for (const Json& proof : results["proofs"]) {
    EXPECT_GT(proof["tuned_tokens_per_second"], 0);
    EXPECT_GT(proof["default_tokens_per_second"], 0);
    EXPECT_GT(proof["speedup"], 0);
    EXPECT_TRUE(proof["gains"].is_boolean());
  }
  // Five rounds of a prefill and three decode steps, with and without.
  EXPECT_EQ(results["proof_timings"].size(), 5u * 4 * 2);
  // What serves nothing that gains is not in the file.
  const Json wisdom = Json::parse(Read(file));
  const Json& kernels = wisdom["machines"][0]["matmul"];
  EXPECT_EQ(kernels.size(), kinds.size());
  for (const Json& tuning : results["tunings"]) {
    const Json& kept =
        kernels[absl::StrCat("f32/F64/", tuning["weights"].get<std::string>(),
                             "/", tuning["shape_class"].get<std::string>())];
    const bool is_default = std::all_of(
        kept.begin(), kept.end(), [](const Json& value) { return value == 0; });
    EXPECT_EQ(is_default,
              !tuning["kept"].get<bool>() || tuning["chosen"] == "default");
  }
  const Outcome sweep = Explorer(absl::StrCat("--plan=f32", flags));
  ASSERT_EQ(sweep.exit_code, 0) << sweep.err;
  EXPECT_THAT(sweep.out,
              HasSubstr("Of 9 kinds of MatMul against weights, 9 are"));
}

// Two programs at once, on one file that neither has seen.
TEST(ExplorerTuneTest, TwoAtOnceLoseNothing) {
  const std::string file = absl::StrCat(TestFolder(), "/two.json");
  std::vector<std::thread> tuners;
  for (const char* plan : {"f32", "kahan", "bf16"}) {
    tuners.emplace_back([&file, plan] {
      const Outcome run = Explorer(absl::StrCat("--tune --plan=", plan, kQuick,
                                                "--wisdom='", file, "'"));
      EXPECT_EQ(run.exit_code, 0) << run.err;
    });
  }
  for (std::thread& tuner : tuners) tuner.join();
  EXPECT_THAT(Explorer(absl::StrCat("--sweep --axes=matmul=f32,kahan,bf16",
                                    kQuick, "--wisdom='", file, "'"))
                  .out,
              HasSubstr("Of 27 kinds of MatMul against weights, 27 are"));
}

// Tuning changes the speed, and never a bit.
TEST(ExplorerTuneTest, WisdomDoesNotChangeResults) {
  const std::string file = absl::StrCat(TestFolder(), "/wisdom.json");
  const std::string model = " --model=synthetic:tiny --tokens=20 --threads=2 ";
  ASSERT_EQ(Explorer(absl::StrCat("--tune --plan=f32 --timing_seconds=1", model,
                                  "--wisdom='", file, "'"))
                .exit_code,
            0);
  const std::string generate = absl::StrCat("--generate=20", model);
  const Outcome tuned =
      Explorer(absl::StrCat(generate, "--wisdom='", file, "'"));
  ASSERT_EQ(tuned.exit_code, 0) << tuned.err;
  EXPECT_EQ(tuned.out, Explorer(absl::StrCat(generate, "--wisdom=none")).out);
}

TEST(ExplorerTuneTest, WisdomThatIsNotUsedIsReported) {
  const std::string folder = absl::StrCat(TestFolder(), "/results");
  const auto sweep = [&folder](const std::string& wisdom) {
    return Explorer(absl::StrCat("--sweep --axes=matmul=f32 --out='", folder,
                                 "' --wisdom='", wisdom, "'", kQuick));
  };
  Outcome run = sweep("none");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Kernels are not tuned: --wisdom=none."));
  EXPECT_THAT(run.err, Not(HasSubstr("warning")));
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"wisdom_used\":false"));

  const std::string missing = absl::StrCat(TestFolder(), "/missing.json");
  run = sweep(missing);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(absl::StrCat(missing, " does not exist")));
  EXPECT_THAT(run.err, Not(HasSubstr("warning")));

  const std::string corrupt = WriteTestFile("corrupt.json", "{}");
  run = sweep(corrupt);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(absl::StrCat("Kernels are not tuned: ",
                                              corrupt, ": not wisdom")));
  EXPECT_THAT(run.err, HasSubstr("explorer: warning: wisdom is ignored: "));
  EXPECT_EQ(Read(corrupt), "{}");
  // Tuning replaces it.
  run = Explorer(
      absl::StrCat("--tune --plan=f32 --wisdom='", corrupt, "'", kQuick));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr(".bad"));
  EXPECT_EQ(Read(corrupt + ".bad"), "{}");
  EXPECT_THAT(sweep(corrupt).out, HasSubstr("9 are tuned"));

  // Of another number of threads.
  const std::string foreign = absl::StrCat(TestFolder(), "/foreign.json");
  ASSERT_EQ(Explorer(absl::StrCat("--tune --plan=f32 --model=synthetic:tiny "
                                  "--timing_seconds=0 --threads=1 --wisdom='",
                                  foreign, "'"))
                .exit_code,
            0);
  run = sweep(foreign);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("knows other machines, thread counts"));
  EXPECT_THAT(run.err, HasSubstr("explorer: warning: wisdom is ignored: "));
}

TEST(ExplorerTuneTest, TuneWithoutAFileKeepsNothing) {
  for (const char* wisdom : {" --wisdom=none", ""}) {
    const Outcome run =
        Explorer(absl::StrCat("--tune --plan=f32", kQuick, wisdom));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(CountRows(run.out, "f32"), 9);
    EXPECT_THAT(run.err, HasSubstr("the result is not kept"));
  }
}

// Before anything is tuned, or even loaded.
TEST(ExplorerTuneTest, TuneThatCannotBeKeptIsExitCode1) {
  const std::string file = WriteTestFile("plain", "text");
  for (const std::string& path : {file + "/w.json", TestFolder()}) {
    const Outcome run = Explorer(
        absl::StrCat("--tune --plan=f32", kQuick, "--wisdom='", path, "'"));
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("TuneThatCannotBeKeptIsExitCode1"));
    EXPECT_THAT(run.err, Not(HasSubstr("kept in")));
    EXPECT_THAT(run.err, Not(HasSubstr("loading")));
  }
}

TEST(ExplorerTuneTest, StoppedTuningKeepsWhatItHas) {
  const std::string file = absl::StrCat(TestFolder(), "/stopped.json");
  const Outcome run =
      StopExplorer({"--tune", "--plan=f32", "--model=synthetic:tiny",
                    "--timing_seconds=30", "--wisdom=" + file},
                   "tuning 9 kinds of MatMul", SIGTERM);
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err,
              HasSubstr("explorer: stopped by SIGTERM in the search: "));
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat(
                           " of 9 kinds of MatMul were tuned and are kept in ",
                           file, "\n")));
}

TEST(ExplorerTuneTest, EmulatedPlansAreNotTuned) {
  const std::string file = absl::StrCat(TestFolder(), "/emulated.json");
  const std::string flags = absl::StrCat(kQuick, "--wisdom='", file, "' ");
  const Outcome none =
      Explorer(absl::StrCat("--tune --plan=matmul=tc_h100", flags));
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_EQ(none.out, "");
  EXPECT_THAT(none.err, HasSubstr("1 of 1 plans are emulated, such as "
                                  "matmul=tc_h100"));
  const Outcome some =
      Explorer(absl::StrCat("--tune --axes='matmul=f32,tc_h100' ", flags));
  ASSERT_EQ(some.exit_code, 0) << some.err;
  EXPECT_THAT(some.err, HasSubstr("1 of 2 plans are emulated"));
  EXPECT_EQ(CountRows(some.out, "f32"), 9);
  EXPECT_EQ(CountRows(some.out, "tc_h100"), 0);
}

}  // namespace
}  // namespace ulpscope
