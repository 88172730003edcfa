#ifndef MODEL_TOKENIZER_BYTE_ALPHABET_H_
#define MODEL_TOKENIZER_BYTE_ALPHABET_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Vocabularies of byte-level BPE write each byte as a printable character:
// GPT-2's alphabet (Radford et al. 2019, bytes_to_unicode of its encoder.py).
// What is printable in Latin-1 stands for itself; the other bytes, in order,
// are U+0100 and those after it.

// The character of a byte, in UTF-8.
absl::string_view ByteText(uint8_t byte);

// Appends the bytes that a token's text stands for; the text itself if it has a
// character outside the alphabet, as Hugging Face's decoder has it.
void AppendTokenBytes(absl::string_view text, std::string& bytes);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_BYTE_ALPHABET_H_
