#ifndef MODEL_TOKENIZER_TOKENIZER_PARTS_H_
#define MODEL_TOKENIZER_TOKENIZER_PARTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace ulpscope {

// Bounds of what a file can make us take; the largest vocabularies have 262,144
// tokens.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 21) - 1;
inline constexpr size_t kMaxTokenizerFile = size_t{1} << 27;

// What a checkpoint says of its tokenizer, whichever file says it. What refers
// to tokens is checked by Tokenizer::FromParts. Text is within `owner`'s
// memory.
struct TokenizerParts {
  std::string file;  // for messages
  PreTokenizer pre_tokenizer = PreTokenizer::kQwen2;
  bool nfc = false;            // the text is normalized first
  bool ignore_merges = false;  // a word that is a token is one whatever merges
  // By id, in the byte alphabet; those without data are no tokens.
  std::vector<absl::string_view> tokens;
  // Ids that no text becomes, such as padding of the vocabulary.
  std::vector<int32_t> unused;
  std::vector<std::pair<absl::string_view, absl::string_view>> merges;
  std::vector<AddedToken> added;
  // Put before each text by default, and the tokens that mean it.
  std::vector<int32_t> prefix;
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;
  std::optional<std::string> chat_template;
  std::shared_ptr<const void> owner;
};

// "FILE: KEY: expected ..., found ..."
absl::Status TokenizerError(absl::string_view file, absl::string_view key,
                            absl::string_view expected,
                            absl::string_view found);

// Splits "a b", an entry of a list of merges; false if it is none.
bool SplitMerge(absl::string_view line,
                std::pair<absl::string_view, absl::string_view>& merge);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_TOKENIZER_PARTS_H_
