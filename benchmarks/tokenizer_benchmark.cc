// Loading a tokenizer, and encoding text of several kinds:
//
//   ULPSCOPE_TOKENIZER=MODEL bazel-bin/benchmarks/tokenizer
//
// MODEL is what --model takes, a Hugging Face folder or a .gguf file.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {
namespace {

constexpr size_t kTextSize = 1 << 20;

const char* Model() {
  const char* const model = std::getenv("ULPSCOPE_TOKENIZER");
  return model == nullptr ? "" : model;
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state) {
    const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(Model());
    if (!tokenizer.ok()) {
      state.SkipWithError(tokenizer.status().ToString().c_str());
      return;
    }
  }
}

// Words of random letters and length between sentences of several languages and
// lines of code, so that few words come twice.
std::string MixedText() {
  constexpr const char* kParts[] = {
      "The quick brown fox jumps over the lazy dog. ",
      "int main() { return x[i] + 0x1f; }\n\t",
      "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440! ",
      "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002",
      "\u00dcber 12,345.67 \u20ac; caf\u00e9 \U0001f680\n\n",
  };
  std::string text;
  uint64_t seed = 1;
  const auto next = [&](uint64_t most) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (seed >> 33) % most;
  };
  while (text.size() < kTextSize) {
    text += kParts[next(5)];
    for (uint64_t words = next(8); words > 0; --words) {
      for (uint64_t letters = 1 + next(9); letters > 0; --letters) {
        text.push_back("etaoinshrdlucmfwypvbgkjqxz"[next(26)]);
      }
      text.push_back(' ');
    }
  }
  return text;
}

void Encode(benchmark::State& state, const std::string& text) {
  const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(Model());
  if (!tokenizer.ok()) {
    state.SkipWithError(tokenizer.status().ToString().c_str());
    return;
  }
  // A tokenizer that is wrong is not timed: no character here has another form.
  const absl::StatusOr<Encoding> encoding =
      tokenizer->Encode(text, {/*added_tokens=*/true, /*add_bos=*/false});
  if (!encoding.ok() || tokenizer->Decode(encoding->ids).value_or("") != text) {
    state.SkipWithError("decoding the ids gives another text");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(tokenizer->Encode(text));
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(text.size()));
  state.SetLabel(absl::StrCat(encoding->ids.size(), " tokens"));
}

void BM_EncodeMixed(benchmark::State& state) { Encode(state, MixedText()); }

// Nothing to split, and no word that comes twice.
void BM_EncodeOneLetter(benchmark::State& state) {
  Encode(state, std::string(kTextSize, 'a'));
}

void BM_EncodeOneLongWord(benchmark::State& state) {
  std::string text;
  for (const char c : MixedText()) {
    if (c >= 'a' && c <= 'z') text.push_back(c);
  }
  Encode(state, text);
}

BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeMixed)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeOneLetter)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeOneLongWord)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ulpscope

BENCHMARK_MAIN();
