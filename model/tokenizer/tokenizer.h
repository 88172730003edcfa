#ifndef MODEL_TOKENIZER_TOKENIZER_H_
#define MODEL_TOKENIZER_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/tokenizer_parts.h"

namespace ulpscope {

struct EncodeOptions {
  // Whether the content of an added token ("<|im_end|>") in the text is that
  // token, special ones too; without, it is text like any other.
  bool added_tokens = true;
  // Whether the tokens that the checkpoint puts before a text, if any, are put
  // there (Hugging Face's add_special_tokens=True): BOS of Llama 3.
  bool add_bos = true;
};

struct Encoding {
  std::vector<int32_t> ids;
  // The checkpoint asks for NFC, and the text was not in it: decoding the ids
  // gives another text. llama.cpp has other ids then, as it does not normalize.
  bool normalized = false;
  // Bytes that are no token of the vocabulary. Hugging Face's tokenizers drop
  // them without a word (SmolLM2 has no token for some), and so do the ids.
  size_t dropped_bytes = 0;
};

// Text to token ids and back, as Hugging Face's tokenizers 0.23 have them, for
// byte-level BPE with the pre-tokenizers of Qwen2, Qwen3, Llama 3 and SmolLM2.
// Anything else is refused when it is loaded. Immutable, hence thread-safe;
// copies share their contents.
class Tokenizer {
 public:
  // The tokenizer of a checkpoint as --model names it: a Hugging Face folder
  // with tokenizer.json, or else vocab.json and merges.txt (special tokens,
  // chat template and end-of-text ids come from tokenizer_config.json,
  // chat_template.jinja, generation_config.json and config.json, where there
  // are such), or a .gguf file, any part of a model. NotFound if the checkpoint
  // has no tokenizer (synthetic:NAME never has one); Unimplemented, by name,
  // for one of another kind; InvalidArgument for a damaged one.
  static absl::StatusOr<Tokenizer> Load(absl::string_view path);

  // InvalidArgument if the parts do not fit together.
  static absl::StatusOr<Tokenizer> FromParts(const TokenizerParts& parts);

  // InvalidArgument, with the offset of the first wrong byte, if the text is
  // not UTF-8, or if it has 2^31 bytes or more. At most of order n log n.
  absl::StatusOr<Encoding> Encode(absl::string_view text,
                                  const EncodeOptions& options = {}) const;

  // The bytes that the ids stand for, one after the other, special tokens too;
  // not UTF-8 where a token ends within a character. OutOfRange for an id
  // without a token.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids) const;

  // The bytes of one token, valid as long as any copy of this object.
  absl::StatusOr<absl::string_view> TokenBytes(int32_t id) const;

  // The id of the added token with this content.
  std::optional<int32_t> FindToken(absl::string_view content) const;

  // The greatest id plus one. The model may have more rows than that.
  int32_t vocab_size() const;
  // In ascending order of their ids.
  const std::vector<AddedToken>& added_tokens() const;
  // Every id that ends a text, ascending; none if the checkpoint names none.
  const std::vector<int32_t>& eos_ids() const;
  std::optional<int32_t> bos_id() const;
  // What Encode puts before a text by default.
  const std::vector<int32_t>& prefix() const;
  // The Jinja template, if the checkpoint has one.
  const std::optional<std::string>& chat_template() const;

 private:
  struct Data;
  struct Run;  // one call of Encode

  explicit Tokenizer(std::shared_ptr<const Data> data)
      : data_(std::move(data)) {}

  std::shared_ptr<const Data> data_;
};

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_TOKENIZER_H_
