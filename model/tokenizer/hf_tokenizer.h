#ifndef MODEL_TOKENIZER_HF_TOKENIZER_H_
#define MODEL_TOKENIZER_HF_TOKENIZER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer_parts.h"

namespace ulpscope {

// The tokenizer of a Hugging Face folder: tokenizer.json, or, without it,
// vocab.json and merges.txt, whose pre-tokenizer is that of the tokenizer_class
// in tokenizer_config.json (Qwen2Tokenizer). Beside them, if they are there:
// tokenizer_config.json, chat_template.jinja (which wins over the former's),
// generation_config.json and config.json. Errors name file and key.
absl::StatusOr<TokenizerParts> ReadHfTokenizer(absl::string_view folder);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_HF_TOKENIZER_H_
