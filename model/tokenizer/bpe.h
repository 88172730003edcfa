#ifndef MODEL_TOKENIZER_BPE_H_
#define MODEL_TOKENIZER_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// Byte pair encoding (Sennrich, Haddow and Birch 2016) of the bytes of a word:
// of all neighbours that are a known pair the one of lowest rank becomes one
// token, the leftmost first, until there is no such pair.
class Bpe {
 public:
  static constexpr int32_t kNone = -1;

  // No byte has a token, and no pair is known.
  Bpe() { byte_ids_.fill(kNone); }

  void SetByte(uint8_t byte, int32_t id) { byte_ids_[byte] = id; }
  void Reserve(size_t merges) { merges_.reserve(merges); }
  // Merges of lower rank come first. False if the pair has one already.
  bool AddMerge(int32_t first, int32_t second, uint32_t rank, int32_t merged);

  // Working memory of Append, to be used for one word after the other.
  struct Scratch;

  // Appends the ids of a word of fewer than 2^31 bytes, in time of order
  // n log n. Bytes without a token are left out, as Hugging Face's tokenizers
  // do without an unknown token; returns their number. Thread-safe with a
  // Scratch for each thread.
  size_t Append(absl::string_view word, Scratch& scratch,
                std::vector<int32_t>& ids) const;

  struct Scratch {
    struct Symbol {
      int32_t id;  // kNone once it is part of the one before it
      int32_t before;
      int32_t after;  // kNone at the end
    };
    struct Candidate {
      uint32_t rank;
      int32_t at;  // the first of the two symbols
      int32_t first;
      int32_t second;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

 private:
  struct Merge {
    uint32_t rank;
    int32_t merged;
  };

  void Propose(Scratch& scratch, int32_t at) const;

  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by both ids
};

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_BPE_H_
