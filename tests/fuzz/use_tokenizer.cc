#include "tests/fuzz/use_tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/token_text.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

void UseTokenizer(const Tokenizer& tokenizer, absl::string_view text) {
  for (const bool added : {true, false}) {
    EncodeOptions options;
    options.added_tokens = added;
    options.add_bos = false;
    const auto encoded = tokenizer.Encode(text, options);
    if (!encoded.ok()) {
      Require(FindInvalidUtf8(text).has_value(), "a text is refused");
      return;
    }
    for (const int32_t id : encoded->ids) {
      Require(id >= 0 && id < tokenizer.vocab_size(), "an id without a token");
    }
    const auto decoded = tokenizer.Decode(encoded->ids);
    Require(decoded.ok(), "what was encoded cannot be decoded");
    Require(
        encoded->normalized || encoded->dropped_bytes > 0 || *decoded == text,
        "decoding gives another text");
    const auto shown = TokensText(tokenizer, encoded->ids);
    Require(shown.ok() && !FindInvalidUtf8(*shown).has_value() &&
                !absl::StrContains(*shown, '\n'),
            "tokens cannot be shown");
    options.add_bos = true;
    const auto with_bos = tokenizer.Encode(text, options);
    Require(
        with_bos.ok() && with_bos->ids.size() ==
                             encoded->ids.size() + tokenizer.prefix().size(),
        "the prefix is not put before the text");
  }
}

void UseTokenizer(const Tokenizer& tokenizer) {
  for (const absl::string_view text :
       {"", "Hello world's 1234  \n\n x<|im_start|>user\n<|im_end|>",
        "\xC3\xA9 e\xCC\x81 \xEA\xB0\x80\xF0\x9F\x99\x82\xE2\x80\x8B\t\r\n"}) {
    UseTokenizer(tokenizer, text);
  }
  constexpr int32_t kMostAlone = 1000;
  for (int32_t id = -1; id < tokenizer.vocab_size() && id < kMostAlone; ++id) {
    const auto bytes = tokenizer.TokenBytes(id);
    const auto decoded = tokenizer.Decode({id});
    Require(bytes.ok() == decoded.ok() && (!bytes.ok() || *bytes == *decoded),
            "a token's bytes are not what it is decoded to");
    if (bytes.ok()) ReadBytes(bytes->data(), bytes->size());
  }
  for (const AddedToken& added : tokenizer.added_tokens()) {
    tokenizer.FindToken(added.content);
  }
  const auto chat = FormatChatMl(tokenizer, "\x01user text");
  Require(!chat.ok() || absl::StrContains(*chat, "\x01user text"),
          "the chat lacks the user's text");
}

}  // namespace ulpscope
