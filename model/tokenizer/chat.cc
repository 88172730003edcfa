#include "model/tokenizer/chat.h"

#include <cstddef>
#include <map>
#include <utility>
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
    {"message.content is string", true},
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

bool HasOutput(const std::vector<JinjaNode::Branch>& branches) {
  for (const JinjaNode::Branch& branch : branches) {
    for (const JinjaNode& node : branch.nodes) {
      if (node.kind == JinjaNode::kText || node.kind == JinjaNode::kOutput ||
          HasOutput(node.branches)) {
        return true;
      }
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
          Set(node.tokens);
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
          if (IsAssignment(token)) break;
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

  // A part of a value: the user's text, or that which is here.
  struct Term {
    bool is_user_text = false;
    std::string text;
  };
  using Value = std::optional<std::vector<Term>>;  // nothing if not known

  // The value of string literals, the message's role and content, and
  // variables, with + between them; or nothing, and what is not known.
  Value Evaluate(const std::vector<JinjaToken>& tokens, size_t begin,
                 std::string& unknown) const {
    std::vector<Term> terms;
    while (begin <= tokens.size()) {
      size_t end = begin;
      while (end < tokens.size() &&
             (tokens[end].is_string || tokens[end].text != "+")) {
        ++end;
      }
      const std::string term = CanonicalText(tokens, begin, end);
      const auto variable = variables_.find(term);
      if (end == begin + 1 && tokens[begin].is_string) {
        terms.push_back({false, tokens[begin].text});
      } else if (term == "message.role") {
        terms.push_back({false, "user"});
      } else if (term == "message.content") {
        terms.push_back({true, ""});
      } else if (variable != variables_.end() && variable->second) {
        terms.insert(terms.end(), variable->second->begin(),
                     variable->second->end());
      } else {
        unknown = term;
        return std::nullopt;
      }
      // Variables may hold each other; no template needs so much.
      if (terms.size() > kMostTerms) {
        unknown = term;
        return std::nullopt;
      }
      begin = end + 1;
    }
    return terms;
  }

  // Attributes of a namespace are not known, whatever they are set to.
  void Set(const std::vector<JinjaToken>& tokens) {
    Value value;
    std::string unknown;
    const bool is_variable = tokens.size() > 1 && IsAssignment(tokens[1]);
    if (is_variable) value = Evaluate(tokens, 2, unknown);
    ForgetTargets(tokens);
    if (is_variable) variables_[tokens[0].text] = std::move(value);
  }

  static bool IsAssignment(const JinjaToken& token) {
    return !token.is_string && token.text == "=";
  }

  // Makes what the statement sets unknown.
  void ForgetTargets(const std::vector<JinjaToken>& tokens) {
    for (const JinjaToken& token : tokens) {
      if (IsAssignment(token)) break;
      variables_[token.text] = std::nullopt;
    }
  }
  void Forget(const std::vector<JinjaNode::Branch>& branches) {
    for (const JinjaNode::Branch& branch : branches) {
      for (const JinjaNode& node : branch.nodes) {
        if (node.kind == JinjaNode::kSet) ForgetTargets(node.tokens);
        Forget(node.branches);
      }
    }
  }

  absl::Status RenderOutput(const std::vector<JinjaToken>& tokens) {
    std::string unknown;
    const Value value = Evaluate(tokens, 0, unknown);
    if (!value) return Unknown("expression", unknown);
    for (const Term& term : *value) {
      user_texts_ += term.is_user_text ? 1 : 0;
      Append(term.text);
    }
    return absl::OkStatus();
  }

  absl::Status RenderIf(const JinjaNode& node) {
    for (const JinjaNode::Branch& branch : node.branches) {
      if (!branch.condition.empty()) {
        const auto holds = Condition(branch.condition).Evaluate();
        if (!holds.ok()) {
          if (HasOutput(node.branches)) return holds.status();
          Forget(node.branches);
          return absl::OkStatus();
        }
        if (!*holds) continue;
      }
      return Render(branch.nodes);
    }
    return absl::OkStatus();
  }

  // A loop without output changes nothing: what it sets is its own.
  absl::Status RenderFor(const JinjaNode& node) {
    if (!HasOutput(node.branches)) return absl::OkStatus();
    const std::string loop = CanonicalText(node.tokens, 0, node.tokens.size());
    if (loop != "message in messages") return Unknown("loop", loop);
    const auto outside = variables_;
    const absl::Status status = Render(node.branches.front().nodes);
    variables_ = outside;
    return status;
  }

  static constexpr size_t kMostTerms = 1000;

  std::map<std::string, Value> variables_;
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
