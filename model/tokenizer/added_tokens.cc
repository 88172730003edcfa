#include "model/tokenizer/added_tokens.h"

namespace ulpscope {
namespace {

uint64_t EdgeKey(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

void AddedTokenFinder::Add(absl::string_view content, int32_t id) {
  uint32_t node = 0;
  begins_[static_cast<uint8_t>(content.front())] = true;
  for (const char byte : content) {
    const auto [edge, inserted] = next_.try_emplace(
        EdgeKey(node, byte), static_cast<uint32_t>(ids_.size()));
    if (inserted) ids_.push_back(kNone);
    node = edge->second;
  }
  ids_[node] = id;
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::Find(
    absl::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<uint8_t>(text[begin])]) continue;
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto edge = next_.find(EdgeKey(node, text[at]));
      if (edge == next_.end()) break;
      node = edge->second;
      if (ids_[node] != kNone) {
        longest = Match{begin, at + 1 - begin, ids_[node]};
      }
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

}  // namespace ulpscope
