// A --prompt_file: of a prompt a line, and of a text.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/app/input_texts.h"
#include "explorer/app/prompts.h"
#include "explorer/app/settings.h"
#include "explorer/error/windows.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

struct Model {
  Model() {
    checkpoint.config.vocab_size = 700;
    Require(tokenizer.ok(), tokenizer.status().ToString());
  }

  Checkpoint checkpoint;
  absl::StatusOr<Tokenizer> tokenizer =
      Tokenizer::Load("tests/testdata/tokenizer/qwen2");
};

void Read(const std::string& path, bool chat) {
  static const auto& model = *new Model();
  Settings settings;
  settings.prompt_file = path;
  settings.chat = chat;
  const absl::Status read = ReadInputTexts(settings);
  if (!read.ok()) return RequireNames(read, path);
  const auto prompts =
      ReadPrompts(settings, model.checkpoint, 0, model.tokenizer);
  if (!prompts.ok()) return RequireNames(prompts.status(), path);
  Require(!prompts->prompts.empty(), "no prompts");
  size_t scored = 0, tokens = 0;
  for (const Prompt& prompt : prompts->prompts) {
    Require(!prompt.tokens.empty(), "a prompt of nothing");
    for (const int32_t id : prompt.tokens) {
      Require(id >= 0 && id < model.checkpoint.config.vocab_size,
              "an id that the vocabulary has not");
    }
    tokens += prompt.tokens.size();
  }
  for (const Window& window : WindowsOf(prompts->prompts, {7, 3, 0})) {
    Require(window.first_scored <= window.end_scored &&
                window.end_scored <= window.tokens.size(),
            "a window scores what it has not");
    scored += window.end_scored - window.first_scored;
  }
  Require(scored <= tokens, "more positions are scored than there are");
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& lines = *new InputFile("prompts.jsonl");
  static auto& prompt = *new InputFile("prompt.txt");
  Read(lines.With(input), false);
  Read(prompt.With(input), true);
}

}  // namespace ulpscope
