#ifndef MODEL_TOKENIZER_PRE_TOKENIZER_H_
#define MODEL_TOKENIZER_PRE_TOKENIZER_H_

#include <vector>

#include "absl/strings/string_view.h"

namespace ulpscope {

// How text is split into words, across whose ends no tokens are merged.
enum class PreTokenizer {
  kQwen2,   // Qwen2, 2.5 and 3: each \p{N} on its own
  kLlama3,  // the same but for up to three \p{N} together
  kSmolLm,  // SmolLM and SmolLM2: digits alone, then GPT-2's
};

// The regular expressions as the models' tokenizer.json have them, matched one
// after the other.
inline constexpr absl::string_view kQwen2Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
inline constexpr absl::string_view kLlama3Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

// Appends the words of well-formed UTF-8, which follow each other without gaps,
// in linear time.
void Split(PreTokenizer how, absl::string_view text,
           std::vector<absl::string_view>& words);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_PRE_TOKENIZER_H_
