#ifndef MODEL_TOKENIZER_CHAT_H_
#define MODEL_TOKENIZER_CHAT_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// What a checkpoint's chat template puts around one message of a user's, in
// ChatML (<|im_start|>ROLE\nTEXT<|im_end|>\n).
struct ChatMl {
  // Of the message that the template puts before the user's by itself.
  std::optional<std::string> system;
  // Up to the user's text; and behind it, up to where the assistant's answer
  // begins.
  std::string before;
  std::string after;

  std::string Format(absl::string_view user_text) const;
};

// Reads it from the Jinja template: the same text as transformers'
// apply_chat_template of one message of the role "user" without tools, with
// add_generation_prompt=True. Only what such a message reaches in the template
// is evaluated, and it must be conditions and expressions that are known here.
// Unimplemented, saying what is not, for any other template.
absl::StatusOr<ChatMl> ReadChatMl(absl::string_view chat_template);

// The prompt for one message; NotFound if the checkpoint has no chat template.
// Its special tokens are to be recognised: EncodeOptions::added_tokens.
absl::StatusOr<std::string> FormatChatMl(const Tokenizer& tokenizer,
                                         absl::string_view user_text);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_CHAT_H_
