// Prompts that are text, on a model with random weights and a real tokenizer.

#include <cmath>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/text_model.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Json = nlohmann::json;

const std::string& Model() {
  static const auto* path = new std::string(WriteTextModel("qwen2"));
  return *path;
}

// A text of the tokenizer's fixture of some length, and Hugging Face's ids.
Json FixtureText(size_t least_ids) {
  std::ifstream file(TestDataPath("tokenizer/texts.jsonl"));
  for (std::string line; std::getline(file, line);) {
    const Json text = Json::parse(line);
    if (text["kind"] != "qwen2" || text["ids"].size() < least_ids) continue;
    // As an argument of a shell.
    const std::string of = text["text"];
    if (of.find_first_of("'\\\n\0") == std::string::npos) return text;
  }
  ADD_FAILURE() << "no text of " << least_ids << " ids";
  return {};
}

Outcome RunText(const std::string& arguments) {
  return Explorer(absl::StrCat(arguments, " --model=", Model(),
                               " --timing_seconds=0 --threads=2"));
}

Json Results(const std::string& arguments) {
  const Outcome run = RunText(absl::StrCat(arguments, " -o json"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return Json::parse(run.out, nullptr, false);
}

TEST(ExplorerTextTest, TextIsTheIdsThatHuggingFaceHas) {
  const Json text = FixtureText(12);
  const Json results = Results(absl::StrCat(
      "--plan=torch-bf16 --prompt='", text["text"].get<std::string>(), "'"));
  ASSERT_EQ(results["windows"].size(), 1u);
  EXPECT_EQ(results["windows"][0]["window_tokens"], text["ids"]);
  EXPECT_EQ(results["context"]["text"], "--prompt");
  // The same as of these ids.
  std::string ids;
  for (const Json& id : text["ids"]) {
    absl::StrAppend(&ids, id.get<int>(), ",");
  }
  const Json of_ids = Results("--plan=torch-bf16 --tokens=" + ids);
  EXPECT_EQ(results["layers"], of_ids["layers"]);
  EXPECT_EQ(results["token_summaries"], of_ids["token_summaries"]);
  EXPECT_EQ(of_ids["context"]["text"], "");
  // Every token has its text around it; a text's last token is before "[]".
  ASSERT_EQ(results["tokens"].size(), text["ids"].size());
  EXPECT_THAT(results["tokens"].back()["text"].get<std::string>(),
              testing::EndsWith("[]"));
}

TEST(ExplorerTextTest, PerplexityIsThatOfTheTokens) {
  const Json results = Results("--plan=f32 --prompt='one two three four five'");
  double sum = 0;
  size_t count = 0;
  for (const Json& token : results["tokens"]) {
    if (token["logp_nats"].is_null()) continue;
    sum += token["logp_nats"].get<double>();
    ++count;
    EXPECT_DOUBLE_EQ(token["delta_logp_nats"].get<double>(),
                     token["logp_nats"].get<double>() -
                         token["reference_logp_nats"].get<double>());
  }
  const Json& summary = results["token_summaries"][0];
  EXPECT_EQ(summary["scored_tokens"], count);
  EXPECT_EQ(count + 1, results["tokens"].size());
  EXPECT_NEAR(summary["perplexity"].get<double>(),
              std::exp(-sum / static_cast<double>(count)), 1e-10);
}

TEST(ExplorerTextTest, WithoutAPromptThereIsAText) {
  const Json sweep = Results("--sweep --axes='matmul=f32,bf16'");
  EXPECT_EQ(sweep["context"]["text"], "the built-in text");
  EXPECT_GT(sweep["windows"][0]["window_tokens"].size(), 10u);
  EXPECT_EQ(sweep["windows"][0]["window_tokens"], sweep["context"]["prompt"]);
  // Unless tokens are asked for.
  const Json drawn = Results("--plan=f32 --tokens=5");
  EXPECT_EQ(drawn["context"]["text"], "");
  EXPECT_EQ(drawn["windows"][0]["window_tokens"].size(), 5u);
  // An attribution runs it too: more than one position.
  const Outcome attributed = RunText("--attribute --plan=torch-bf16 -o json");
  ASSERT_EQ(attributed.exit_code, 0) << attributed.err;
  EXPECT_GT(Json::parse(attributed.out)["context"]["tokens"].size(), 10u);
}

TEST(ExplorerTextTest, FilesAreTextsOrAPromptALine) {
  const std::string text = WriteTestFile("text.txt", "a b c d e f g h i j k\n");
  const Json windows = Results(absl::StrCat(
      "--plan=f32 --window=4 --stride=2 --prompt-file=", text))["windows"];
  ASSERT_GT(windows.size(), 2u);
  EXPECT_EQ(windows[1]["begin"], 2);
  EXPECT_EQ(windows[1]["first_scored"], 1);
  EXPECT_EQ(windows[0]["window_tokens"].size(), 4u);
  const std::string lines =
      WriteTestFile("lines.jsonl",
                    "{\"text\": \"hello world\", \"name\": \"greeting\"}\n\n"
                    "{\"tokens\": [1, 2, 3]}\n");
  const Json two = Results(absl::StrCat("--plan=f32 --prompt-file=", lines));
  ASSERT_EQ(two["windows"].size(), 2u);
  EXPECT_EQ(two["windows"][0]["prompt_name"], "greeting");
  EXPECT_EQ(two["windows"][1]["window_tokens"], Json({1, 2, 3}));
  EXPECT_EQ(two["context"]["text"], lines);
  ASSERT_EQ(two["window_errors"].size(), 2u);
  EXPECT_TRUE(two["plans"][0]["score_standard_error"].is_number());
}

TEST(ExplorerTextTest, SeedsAreReplicates) {
  const Json results =
      Results("--sweep --axes='matmul=f32,kahan,bf16' --tokens=6 --seeds=4");
  ASSERT_EQ(results["windows"].size(), 4u);
  EXPECT_EQ(results["windows"][3]["prompt_name"], "seed 4");
  for (const Json& plan : results["plans"]) {
    EXPECT_TRUE(plan["score_standard_error"].is_number());
    EXPECT_GE(plan["rank_last_like"], plan["rank"]);
  }
}

TEST(ExplorerTextTest, ChatIsShownAndRun) {
  const Outcome run = RunText("--plan=f32 --chat --prompt=Hello -o json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("<|im_start|>user\nHello<|im_end|>"),
                             HasSubstr("<|im_start|>assistant")));
  const Json tokens = Json::parse(run.out)["windows"][0]["window_tokens"];
  EXPECT_EQ(tokens[0], 701);  // <|im_start|>
  const std::string llama = WriteTextModel("llama3");
  const Outcome other = Explorer(
      absl::StrCat("--plan=f32 --chat --prompt=Hello --model=", llama));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("--chat: "));
}

TEST(ExplorerTextTest, GeneratesTextAndIds) {
  const Outcome run = Explorer(
      absl::StrCat("--generate=6 --prompt='once upon' --model=", Model()));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<std::string> lines =
      absl::StrSplit(run.out.substr(0, run.out.size() - 1), '\n');
  ASSERT_GE(lines.size(), 2u);
  EXPECT_THAT(lines.back(), testing::MatchesRegex("[0-9]+(,[0-9]+)*"));
}

TEST(ExplorerTextTest, GreedyDivergenceIsReported) {
  const Json results =
      Results("--plan=torch-bf16 --prompt='a b c' --greedy=30 --against=f32");
  const Json& plan = results["plans"][0];
  EXPECT_GT(results["context"]["greedy_tokens"].size(), 0u);
  if (!plan["greedy_divergence"].is_null()) {
    EXPECT_GE(plan["greedy_divergence"], 1);
    EXPECT_GE(plan["greedy_margin_nats"].get<double>(), 0);
  }
  EXPECT_EQ(results["context"]["against"], "f32");
  EXPECT_TRUE(plan["oracle_kl_nats"].is_number());
  EXPECT_EQ(plan["nearer_to_oracle"], "against");
}

TEST(ExplorerTextTest, BadInputNamesWhatIsWrong) {
  const auto file = [](const char* name, const std::string& bytes) {
    return absl::StrCat("--plan=f32 --prompt-file=",
                        WriteTestFile(name, bytes));
  };
  const struct {
    std::string arguments;
    std::vector<std::string> message;
    int code = 2;
  } cases[] = {
      {"--plan=f32 --prompt=", {"--prompt: expected a text"}},
      {file("bad.txt", "ab\xff"), {"bad.txt", "2"}},
      {"--plan=f32 --prompt-file=/nowhere/t.txt", {"/nowhere/t.txt"}},
      {file("a.jsonl", "{\"text\": 3}\n"), {"a.jsonl: line 1"}},
      {file("b.jsonl", "{\"tokens\": [1]}\n{\"tokens\": [1, -2]}\n"),
       {"b.jsonl: line 2", "-2"}},
      {file("c.jsonl", "{\"tokens\": [720]}\n"),
       {"c.jsonl: line 1", "token ids from 0 to 719", "720"}},
      {file("d.jsonl", "{\"text\": \"a\", \"tokens\": [1]}\n"), {"both"}},
      {file("e.jsonl", "{\"name\": \"a\"}\n"), {"neither"}},
      {file("f.jsonl", "{\"txt\": \"a\"}\n"), {"\"txt\""}},
      {file("g.jsonl", "\n"), {"a prompt a line"}},
      {file("h.jsonl", "not json\n"), {"h.jsonl: line 1"}},
      {file("i.jsonl", "{\"tokens\": [99999999999]}\n"), {"99999999999"}},
      {"--plan=f32 --prompt=a --tokens=3", {"--tokens does nothing"}},
      {"--plan=f32 --chat", {"--chat does nothing"}},
      {"--plan=f32 --prompt=abc --window=4 --stride=5", {"--stride=5"}},
      {"--plan=f32 --window=1", {"--window=1"}},
      {"--plan=f32 --against=nonsense", {"--against=nonsense"}},
  };
  for (const auto& c : cases) {
    const Outcome run = RunText(c.arguments);
    EXPECT_EQ(run.exit_code, c.code) << c.arguments << run.err;
    EXPECT_EQ(run.out, "");
    for (const std::string& part : c.message) {
      EXPECT_THAT(run.err, HasSubstr(part)) << c.arguments;
    }
  }
  const Outcome synthetic =
      Explorer("--plan=f32 --prompt=a --model=synthetic:tiny");
  EXPECT_EQ(synthetic.exit_code, 2);
  EXPECT_THAT(synthetic.err, HasSubstr("--prompt: synthetic:tiny"));
}

TEST(ExplorerTextTest, LongerThanTheModelsPositionsWarns) {
  std::string text;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&text, i, " ");
  const Outcome run = RunText(absl::StrCat("--plan=f32 --prompt='", text, "'"));
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.err, HasSubstr("longer than the model's 64 positions"));
}

}  // namespace
}  // namespace ulpscope
