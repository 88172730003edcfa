#include "explorer/app/prompts.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/settings.h"
#include "explorer/error/windows.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/files/strict_json.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

// The same status, of what is at fault.
absl::Status In(const std::string& where, const absl::Status& status) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": ", status.message()));
}

// Texts to prompts, under the flags that say how.
class Reader {
 public:
  Reader(const Settings& settings, const Checkpoint& checkpoint,
         const absl::StatusOr<Tokenizer>& tokenizer)
      : settings_(settings),
        config_(checkpoint.config),
        tokenizer_(tokenizer) {}

  absl::Status Text(const std::string& where, const std::string& name,
                    absl::string_view text) {
    if (!tokenizer_.ok()) return In(where, tokenizer_.status());
    if (text.empty()) return Expected(where, "a text", "an empty one");
    std::string form;
    if (settings_.chat) {
      auto chat = FormatChatMl(*tokenizer_, text);
      if (!chat.ok()) return In("--chat", chat.status());
      form = *std::move(chat);
      if (prompts_.remarks.empty()) {
        prompts_.remarks.push_back(absl::StrCat(
            "--chat: the first prompt, as the model's chat template has it:\n",
            form));
      }
      text = form;
    }
    auto encoded = tokenizer_->Encode(text);
    if (!encoded.ok()) return In(where, encoded.status());
    if (encoded->normalized) {
      prompts_.remarks.push_back(
          absl::StrCat(where,
                       ": the text was brought into Unicode's form NFC, as the "
                       "model's tokenizer asks for"));
    }
    if (encoded->dropped_bytes > 0) {
      prompts_.remarks.push_back(absl::StrCat(
          where, ": ", encoded->dropped_bytes,
          " bytes have no token in the model's vocabulary and are left out, as "
          "by Hugging Face's tokenizers"));
    }
    return Ids(where, name, std::move(encoded->ids));
  }

  absl::Status Ids(const std::string& where, const std::string& name,
                   std::vector<int32_t> ids) {
    if (ids.empty()) return Expected(where, "at least one token", "none");
    for (const int32_t id : ids) {
      if (id < 0 || id >= config_.vocab_size) {
        return Expected(
            where, absl::StrCat("token ids from 0 to ", config_.vocab_size - 1),
            absl::StrCat(id));
      }
    }
    prompts_.prompts.push_back({name, std::move(ids)});
    return absl::OkStatus();
  }

  // A file of a prompt a line.
  absl::Status Lines(const std::string& where, absl::string_view text) {
    size_t number = 0;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      ++number;
      if (absl::StripAsciiWhitespace(line).empty()) continue;
      const absl::Status status = Line(absl::StrCat(where, ": line ", number),
                                       line, absl::StrCat("line ", number));
      if (!status.ok()) return status;
    }
    if (!prompts_.prompts.empty()) return absl::OkStatus();
    return Expected(where, "a prompt a line", "none");
  }

  Prompts Take(std::string source) {
    prompts_.source = std::move(source);
    return std::move(prompts_);
  }

 private:
  static absl::Status Expected(const std::string& where,
                               const std::string& what,
                               const std::string& found) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected ", what, ", found ", found));
  }

  absl::Status Line(const std::string& where, absl::string_view line,
                    std::string name) {
    const auto json = ParseJsonObject(line, where);
    if (!json.ok()) return json.status();
    for (const auto& [key, value] : json->items()) {
      if (key != "text" && key != "tokens" && key != "name") {
        return Expected(where, "the keys text or tokens, and name",
                        JsonString(key));
      }
    }
    if (json->contains("name")) {
      const Json& given = (*json)["name"];
      if (!given.is_string()) return Expected(where, "a text as name", "other");
      name = given.get<std::string>();
    }
    if (json->contains("text") == json->contains("tokens")) {
      return Expected(where, "one of text and tokens",
                      json->contains("text") ? "both" : "neither");
    }
    if (json->contains("text")) {
      const Json& text = (*json)["text"];
      if (!text.is_string()) return Expected(where, "a text as text", "other");
      return Text(where, name, text.get_ref<const std::string&>());
    }
    const Json& tokens = (*json)["tokens"];
    std::vector<int32_t> ids;
    if (!tokens.is_array()) {
      return Expected(where, "a list of token ids as tokens", "other");
    }
    for (const Json& id : tokens) {
      // What 32 bits do not hold is beyond any vocabulary.
      if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
        return Expected(where, "a list of token ids as tokens", id.dump());
      }
      ids.push_back(id.get<int32_t>());
    }
    return Ids(where, name, std::move(ids));
  }

  const Settings& settings_;
  const ModelConfig& config_;
  const absl::StatusOr<Tokenizer>& tokenizer_;
  Prompts prompts_;
};

absl::StatusOr<Prompts> FromFile(const std::string& path,
                                 absl::string_view text, Reader& reader) {
  const std::string where = absl::StrCat("--prompt_file=", path);
  const absl::Status status = absl::EndsWith(path, ".jsonl")
                                  ? reader.Lines(where, text)
                                  : reader.Text(where, "prompt", text);
  if (!status.ok()) return status;
  return reader.Take(path);
}

// Ids, or draws with neighbouring seeds.
absl::StatusOr<Prompts> FromTokens(const Settings& settings,
                                   const Checkpoint& checkpoint,
                                   int32_t first_token) {
  Prompts prompts;
  for (size_t i = 0; i < settings.seeds; ++i) {
    auto tokens = PromptTokens(settings.tokens, checkpoint.config, first_token,
                               settings.seed + i);
    if (!tokens.ok()) return tokens.status();
    prompts.prompts.push_back({settings.seeds == 1
                                   ? "prompt"
                                   : absl::StrCat("seed ", settings.seed + i),
                               *std::move(tokens)});
  }
  return prompts;
}

}  // namespace

const char kBuiltInText[] =
    "The mean of n numbers is their sum over n:\n"
    "def mean(x): return sum(x) / len(x)\n";

// Other words, another language, as long.
const char kOtherBuiltInText[] =
    "When rain fell on the harbour, nobody spoke of the ship.\n"
    "for (int i = 0; i < n; ++i) total += price[i] * count[i];\n";

absl::StatusOr<Prompts> ReadPrompts(
    const Settings& settings, const Checkpoint& checkpoint, int32_t first_token,
    const absl::StatusOr<Tokenizer>& tokenizer) {
  Reader reader(settings, checkpoint, tokenizer);
  if (settings.prompt_file_text != nullptr) {
    return FromFile(settings.prompt_file, *settings.prompt_file_text, reader);
  }
  if (settings.has_prompt) {
    const absl::Status status =
        reader.Text("--prompt", "prompt", settings.prompt);
    if (!status.ok()) return status;
    return reader.Take("--prompt");
  }
  if (!settings.has_tokens && tokenizer.ok()) {
    // A vocabulary may lack some of it; drawn tokens do as well.
    if (reader.Text("the built-in text", "built-in text", kBuiltInText).ok()) {
      return reader.Take("the built-in text");
    }
  }
  return FromTokens(settings, checkpoint, first_token);
}

absl::StatusOr<Prompts> ReadOtherPrompt(
    const Settings& settings, const Checkpoint& checkpoint, int32_t first_token,
    const absl::StatusOr<Tokenizer>& tokenizer,
    const std::vector<int32_t>& prompt, bool is_text) {
  Reader reader(settings, checkpoint, tokenizer);
  if (!settings.confirm_prompt.empty()) {
    const absl::Status status =
        reader.Text("--confirm_prompt", "other text", settings.confirm_prompt);
    if (!status.ok()) return status;
    return reader.Take("--confirm_prompt");
  }
  if (is_text && tokenizer.ok() &&
      reader.Text("the other built-in text", "other text", kOtherBuiltInText)
          .ok()) {
    return reader.Take("the other built-in text");
  }
  // One alone would be the first token again.
  const size_t count = std::max<size_t>(prompt.size(), 2);
  auto tokens = PromptTokens(absl::StrCat(count), checkpoint.config,
                             first_token, settings.seed + 1);
  if (!tokens.ok()) return tokens.status();
  if (*tokens == prompt) {
    return absl::InvalidArgumentError(
        "--tokens: expected others than those that confirm, which are drawn "
        "with the seed after --seed");
  }
  Prompts prompts;
  prompts.prompts.push_back({"drawn tokens", *std::move(tokens)});
  return prompts;
}

}  // namespace ulpscope
