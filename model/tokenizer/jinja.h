#ifndef MODEL_TOKENIZER_JINJA_H_
#define MODEL_TOKENIZER_JINJA_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// A token of an expression: 'x' is a string whatever quotes it has, and a word
// anything else.
struct JinjaToken {
  bool is_string = false;
  std::string text;  // of a string, without quotes and escapes
};

// A part of a template; those of kFor and of a branch of kIf are within it.
struct JinjaNode {
  enum Kind { kText, kOutput, kIf, kFor, kSet };
  struct Branch {
    std::vector<JinjaToken> condition;  // none for `else`, and for kFor
    std::vector<JinjaNode> nodes;
  };

  Kind kind = kText;
  std::string text;                // kText
  std::vector<JinjaToken> tokens;  // of kOutput, kFor and kSet
  std::vector<Branch> branches;    // kIf: the first true one; kFor: one
};

inline constexpr size_t kMaxJinjaDepth = 32;

// The parts of a Jinja template (jinja.palletsprojects.com, "Template Designer
// Documentation") as transformers reads chat templates: trim_blocks and
// lstrip_blocks are on, and a newline at the end does not count. Expressions
// are only cut into tokens. Unimplemented for other statements than if, for and
// set; InvalidArgument for what is no template.
absl::StatusOr<std::vector<JinjaNode>> ParseJinja(absl::string_view text);

// The tokens in one spelling: without spaces but between two words, ['x'] as
// .x, and strings in single quotes.
std::string CanonicalText(const std::vector<JinjaToken>& tokens, size_t begin,
                          size_t end);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_JINJA_H_
