#ifndef MODEL_TOKENIZER_ADDED_TOKENS_H_
#define MODEL_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// A token that is found in the text itself, before it is split into words:
// "<|im_end|>".
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;     // it controls the model: no text of a user's
  bool normalized = false;  // found in the normalized text, not in the user's
};

// Finds added tokens: of those that begin at the leftmost place, the longest.
class AddedTokenFinder {
 public:
  // Contents are not empty and no longer than kMaxContent, which bounds the
  // time that each byte of a text takes.
  static constexpr size_t kMaxContent = 1024;
  void Add(absl::string_view content, int32_t id);

  struct Match {
    size_t begin;
    size_t size;
    int32_t id;
  };
  // The first match at or behind `from`.
  std::optional<Match> Find(absl::string_view text, size_t from) const;

 private:
  static constexpr int32_t kNone = -1;
  // A trie: the node that follows a node by a byte. The root is 0.
  absl::flat_hash_map<uint64_t, uint32_t> next_;
  std::vector<int32_t> ids_ = {kNone};  // of the content that ends at a node
  std::array<bool, 256> begins_ = {};   // whether any begins with the byte
};

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_ADDED_TOKENS_H_
