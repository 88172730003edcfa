#ifndef MODEL_TOKENIZER_GGUF_TOKENIZER_H_
#define MODEL_TOKENIZER_GGUF_TOKENIZER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer_parts.h"

namespace ulpscope {

// The tokenizer in a GGUF file's metadata (github.com/ggml-org/ggml,
// docs/gguf.md, and llama.cpp's src/llama-vocab.cpp): tokenizer.ggml.model must
// be gpt2, and tokenizer.ggml.pre qwen2, smollm, or llama-bpe (llama3,
// llama-v3). What the metadata leaves out is as in the Hugging Face tokenizers
// that such files are converted from: NFC for qwen2; for llama-bpe, as in
// llama.cpp, BOS and words before merges.
absl::StatusOr<TokenizerParts> ReadGgufTokenizer(absl::string_view path);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_GGUF_TOKENIZER_H_
