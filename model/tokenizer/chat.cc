#include "model/tokenizer/chat.h"

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/files/tensor.h"
#include "model/tokenizer/jinja.h"

namespace ulpscope {
namespace {

constexpr absl::string_view kSystem = "<|im_start|>system\n";
constexpr absl::string_view kUser = "<|im_start|>user\n";
constexpr absl::string_view kEnd = "<|im_end|>\n";
constexpr absl::string_view kAssistant = "<|im_start|>assistant\n";

// What templates ask, of one message of a user's without tools.
constexpr struct {
  absl::string_view atom;
  bool value;
} kConditions[] = {
    {"add_generation_prompt", true},
    {"enable_thinking is defined", false},
    {"loop.first", true},
    {"message.role=='assistant'", false},
    {"message.role=='system'", false},
    {"message.role=='tool'", false},
    {"message.role=='user'", true},
    {"message.role!='system'", true},
    {"message.tool_calls", false},
    {"messages[0].role=='system'", false},
    {"messages[0].role!='system'", true},
    {"tools", false},
};

// Names that a template must not set to something else.
constexpr absl::string_view kNames[] = {
    "add_generation_prompt",
    "enable_thinking",
    "loop",
    "message",
    "messages",
    "tools",
};

absl::Status Unknown(absl::string_view what, absl::string_view found) {
  return absl::UnimplementedError(absl::StrCat(
      "chat template: expected ChatML for one message, found an unknown ", what,
      " ", NameText(found)));
}

// Evaluates `or`, `and`, `not` and parentheses over kConditions. What the value
// does not depend on need not be known, as in Python.
class Condition {
 public:
  explicit Condition(const std::vector<JinjaToken>& tokens) : tokens_(tokens) {}

  absl::StatusOr<bool> Evaluate() {
    const bool value = Or(true);
    if (!unknown_ && next_ < tokens_.size()) {
      unknown_ = CanonicalText(tokens_, next_, tokens_.size());
    }
    if (unknown_) return Unknown("condition", *unknown_);
    return value;
  }

 private:
  bool At(absl::string_view word) const {
    return next_ < tokens_.size() && !tokens_[next_].is_string &&
           tokens_[next_].text == word;
  }
  bool Take(absl::string_view word) {
    if (!At(word)) return false;
    ++next_;
    return true;
  }

  // `needed` is whether the value counts.
  bool Or(bool needed) {
    bool value = And(needed);
    while (Take("or")) value |= And(needed && !value);
    return value;
  }
  bool And(bool needed) {
    bool value = Not(needed);
    while (Take("and")) value &= Not(needed && value);
    return value;
  }
  bool Not(bool needed) {
    bool negated = false;
    while (Take("not")) negated = !negated;
    return Primary(needed) != negated;
  }

  bool Primary(bool needed) {
    if (At("(") && depth_ < kMaxJinjaDepth) {
      ++next_;
      ++depth_;
      const bool value = Or(needed);
      --depth_;
      if (!Take(")")) unknown_ = "( without )";
      return value;
    }
    // As far as the next `and`, `or` or closing parenthesis outside of those
    // that the atom opens itself.
    const size_t begin = next_;
    size_t open = 0;
    for (; next_ < tokens_.size(); ++next_) {
      if (open == 0 && (At("and") || At("or") || At(")"))) break;
      if (At("(")) ++open;
      if (At(")")) --open;
    }
    const std::string atom = CanonicalText(tokens_, begin, next_);
    for (const auto& known : kConditions) {
      if (known.atom == atom) return known.value;
    }
    if (needed && !unknown_) unknown_ = atom;
    return false;
  }

  const std::vector<JinjaToken>& tokens_;
  size_t next_ = 0;
  size_t depth_ = 0;
  std::optional<std::string> unknown_;  // the first atom that is
};

bool HasOutput(const std::vector<JinjaNode>& nodes) {
  for (const JinjaNode& node : nodes) {
    if (node.kind == JinjaNode::kText || node.kind == JinjaNode::kOutput) {
      return true;
    }
    for (const JinjaNode::Branch& branch : node.branches) {
      if (HasOutput(branch.nodes)) return true;
    }
  }
  return false;
}

// Renders a template into what is before and behind the user's text.
class Renderer {
 public:
  absl::Status Render(const std::vector<JinjaNode>& nodes) {
    for (const JinjaNode& node : nodes) {
      absl::Status status;
      switch (node.kind) {
        case JinjaNode::kText:
          Append(node.text);
          break;
        case JinjaNode::kOutput:
          status = RenderOutput(node.tokens);
          break;
        case JinjaNode::kIf:
          status = RenderIf(node);
          break;
        case JinjaNode::kFor:
          status = RenderFor(node);
          break;
        case JinjaNode::kSet:
          // What is set may be used only in what is not known anyway.
          break;
      }
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // No statement, reached or not, may change what kConditions are about.
  static absl::Status CheckNames(const std::vector<JinjaNode>& nodes) {
    for (const JinjaNode& node : nodes) {
      if (node.kind == JinjaNode::kSet) {
        for (const JinjaToken& token : node.tokens) {
          if (!token.is_string && token.text == "=") break;
          for (const absl::string_view name : kNames) {
            if (token.text == name) return Unknown("value of", name);
          }
        }
      }
      for (const JinjaNode::Branch& branch : node.branches) {
        const absl::Status status = CheckNames(branch.nodes);
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  size_t user_texts() const { return user_texts_; }
  const std::string& before() const { return before_; }
  const std::string& after() const { return after_; }

 private:
  void Append(absl::string_view text) {
    absl::StrAppend(user_texts_ == 0 ? &before_ : &after_, text);
  }

  // String literals, the message's role and its content, with + between them.
  absl::Status RenderOutput(const std::vector<JinjaToken>& tokens) {
    for (size_t begin = 0; begin <= tokens.size();) {
      size_t end = begin;
      while (end < tokens.size() &&
             (tokens[end].is_string || tokens[end].text != "+")) {
        ++end;
      }
      const std::string term = CanonicalText(tokens, begin, end);
      if (end == begin + 1 && tokens[begin].is_string) {
        Append(tokens[begin].text);
      } else if (term == "message.role") {
        Append("user");
      } else if (term == "message.content") {
        ++user_texts_;
      } else {
        return Unknown("expression", term);
      }
      begin = end + 1;
    }
    return absl::OkStatus();
  }

  absl::Status RenderIf(const JinjaNode& node) {
    bool any = false;
    for (const JinjaNode::Branch& branch : node.branches) {
      any |= HasOutput(branch.nodes);
    }
    if (!any) return absl::OkStatus();
    for (const JinjaNode::Branch& branch : node.branches) {
      if (!branch.condition.empty()) {
        const auto holds = Condition(branch.condition).Evaluate();
        if (!holds.ok()) return holds.status();
        if (!*holds) continue;
      }
      return Render(branch.nodes);
    }
    return absl::OkStatus();
  }

  absl::Status RenderFor(const JinjaNode& node) {
    const std::vector<JinjaNode>& body = node.branches.front().nodes;
    if (!HasOutput(body)) return absl::OkStatus();
    const std::string loop = CanonicalText(node.tokens, 0, node.tokens.size());
    if (loop != "message in messages") return Unknown("loop", loop);
    return Render(body);
  }

  std::string before_;
  std::string after_;
  size_t user_texts_ = 0;
};

}  // namespace

std::string ChatMl::Format(absl::string_view user_text) const {
  return absl::StrCat(before, user_text, after);
}

absl::StatusOr<ChatMl> ReadChatMl(absl::string_view chat_template) {
  const auto refusal = [](absl::string_view found) {
    return absl::UnimplementedError(absl::StrCat(
        "chat template: expected ChatML for one message, found ", found));
  };
  if (absl::StrContains(chat_template, "<|start_header_id|>")) {
    return refusal("Llama 3's headers, <|start_header_id|>");
  }
  if (!absl::StrContains(chat_template, "<|im_start|>") ||
      !absl::StrContains(chat_template, "<|im_end|>")) {
    return refusal("neither <|im_start|> nor <|im_end|>");
  }
  const absl::StatusOr<std::vector<JinjaNode>> nodes =
      ParseJinja(chat_template);
  if (!nodes.ok()) return nodes.status();
  Renderer renderer;
  absl::Status status = Renderer::CheckNames(*nodes);
  if (status.ok()) status = renderer.Render(*nodes);
  if (!status.ok()) return status;
  if (renderer.user_texts() != 1) {
    return refusal(
        absl::StrCat("the user's text ", renderer.user_texts(), " times"));
  }
  ChatMl chat;
  chat.before = renderer.before();
  chat.after = renderer.after();
  absl::string_view system = chat.before;
  if (!absl::ConsumeSuffix(&system, kUser) ||
      !absl::StartsWith(chat.after, absl::StrCat(kEnd, kAssistant))) {
    return refusal(absl::StrCat(NameText(chat.before), " and ",
                                NameText(chat.after),
                                " around the user's text"));
  }
  if (!system.empty()) {
    if (!absl::ConsumePrefix(&system, kSystem) ||
        !absl::ConsumeSuffix(&system, kEnd) ||
        absl::StrContains(system, "<|im_")) {
      return refusal(
          absl::StrCat(NameText(chat.before), " before the user's text"));
    }
    chat.system = std::string(system);
  }
  return chat;
}

absl::StatusOr<std::string> FormatChatMl(const Tokenizer& tokenizer,
                                         absl::string_view user_text) {
  if (!tokenizer.chat_template()) {
    return absl::NotFoundError("the checkpoint has no chat template");
  }
  const absl::StatusOr<ChatMl> chat = ReadChatMl(*tokenizer.chat_template());
  if (!chat.ok()) return chat.status();
  return chat->Format(user_text);
}

}  // namespace ulpscope
