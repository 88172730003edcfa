#ifndef MODEL_TOKENIZER_NFC_H_
#define MODEL_TOKENIZER_NFC_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Normalization Form C (Unicode Standard Annex 15) of well-formed UTF-8, or
// nothing if the text is in it already. With the data of Hugging Face's
// tokenizers, whose normalizer is older than Unicode 10: marks of later
// versions stay where they are, as the models were trained. Takes time of
// order n log n.
std::optional<std::string> ToNfc(absl::string_view text);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_NFC_H_
