#ifndef MODEL_TOKENIZER_TOKENIZER_JSON_H_
#define MODEL_TOKENIZER_TOKENIZER_JSON_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer_parts.h"
#include "nlohmann/json_fwd.hpp"

namespace ulpscope {

// Fills in what a tokenizer.json says: the format of Hugging Face's tokenizers
// (their Tokenizer.save). Every step between text and ids must be one that is
// known here; another is Unimplemented, by name. `parts` keeps `json` alive,
// and `parts.file` is for messages.
absl::Status ReadTokenizerJson(std::shared_ptr<const nlohmann::json> json,
                               TokenizerParts& parts);

// Adds to `parts.tokens` an object of token texts and their ids.
absl::Status ReadVocabularyObject(const nlohmann::json& object,
                                  absl::string_view key, TokenizerParts& parts);

// Adds to `parts.added` a token as both tokenizer.json and the
// added_tokens_decoder of tokenizer_config.json have it. `key` is for messages.
absl::Status ReadAddedToken(const nlohmann::json& object, int64_t id,
                            absl::string_view key, TokenizerParts& parts);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_TOKENIZER_JSON_H_
