// A chat template.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/jinja.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

size_t DepthOf(const std::vector<JinjaNode>& nodes) {
  size_t depth = 0;
  for (const JinjaNode& node : nodes) {
    CanonicalText(node.tokens, 0, node.tokens.size());
    for (const JinjaNode::Branch& branch : node.branches) {
      depth = std::max(depth, 1 + DepthOf(branch.nodes));
    }
  }
  return depth;
}

}  // namespace

void ReadInput(absl::string_view text) {
  const auto nodes = ParseJinja(text);
  if (nodes.ok()) {
    Require(DepthOf(*nodes) <= kMaxJinjaDepth, "a template is too deep");
  }
  const auto chat = ReadChatMl(text);
  if (!chat.ok()) return RequireNames(chat.status(), "chat template");
  constexpr absl::string_view kUser = "{{ user }}";
  Require(nodes.ok() && chat->Format(kUser) ==
                            absl::StrCat(chat->before, kUser, chat->after),
          "the user's text is not where it should be");
}

}  // namespace ulpscope
