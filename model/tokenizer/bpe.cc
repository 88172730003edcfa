#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <tuple>

namespace ulpscope {
namespace {

uint64_t PairKey(int32_t first, int32_t second) {
  return uint64_t{static_cast<uint32_t>(first)} << 32 |
         static_cast<uint32_t>(second);
}

// The order of a heap whose first element is merged next.
bool ComesLater(const Bpe::Scratch::Candidate& a,
                const Bpe::Scratch::Candidate& b) {
  return std::tie(a.rank, a.at) > std::tie(b.rank, b.at);
}

}  // namespace

bool Bpe::AddMerge(int32_t first, int32_t second, uint32_t rank,
                   int32_t merged) {
  return merges_.try_emplace(PairKey(first, second), Merge{rank, merged})
      .second;
}

// Puts the pair that begins at `at` into the heap, if it is known.
void Bpe::Propose(Scratch& scratch, int32_t at) const {
  const auto& symbols = scratch.symbols;
  if (at == kNone) return;
  const auto& symbol = symbols[static_cast<size_t>(at)];
  if (symbol.after == kNone) return;
  const int32_t second = symbols[static_cast<size_t>(symbol.after)].id;
  const auto merge = merges_.find(PairKey(symbol.id, second));
  if (merge == merges_.end()) return;
  scratch.heap.push_back({merge->second.rank, at, symbol.id, second});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), ComesLater);
}

size_t Bpe::Append(absl::string_view word, Scratch& scratch,
                   std::vector<int32_t>& ids) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  for (const char byte : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id == kNone) continue;
    const int32_t at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().after = at;
    symbols.push_back({id, at - 1, kNone});
  }
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    Propose(scratch, static_cast<int32_t>(i));
  }
  while (!heap.empty()) {
    const Scratch::Candidate next = heap.front();
    std::pop_heap(heap.begin(), heap.end(), ComesLater);
    heap.pop_back();
    Scratch::Symbol& first = symbols[static_cast<size_t>(next.at)];
    // One of the two may have been merged with another symbol since.
    if (first.id != next.first || first.after == kNone) continue;
    Scratch::Symbol& second = symbols[static_cast<size_t>(first.after)];
    if (second.id != next.second) continue;
    first.id = merges_.find(PairKey(next.first, next.second))->second.merged;
    second.id = kNone;
    first.after = second.after;
    if (first.after != kNone) {
      symbols[static_cast<size_t>(first.after)].before = next.at;
    }
    Propose(scratch, first.before);
    Propose(scratch, next.at);
  }
  for (const Scratch::Symbol& symbol : symbols) {
    if (symbol.id != kNone) ids.push_back(symbol.id);
  }
  return word.size() - std::count_if(word.begin(), word.end(), [&](char byte) {
           return byte_ids_[static_cast<uint8_t>(byte)] != kNone;
         });
}

}  // namespace ulpscope
