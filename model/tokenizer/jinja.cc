#include "model/tokenizer/jinja.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

bool IsWordByte(char c) { return absl::ascii_isalnum(c) || c == '_'; }

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("chat template: ", what));
}

absl::Status Unknown(absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat("chat template: ", what));
}

// Reads the string that begins with the quote at `at`, and moves behind it.
absl::StatusOr<std::string> ReadString(absl::string_view text, size_t& at) {
  const char quote = text[at++];
  std::string value;
  while (at < text.size() && text[at] != quote) {
    if (text[at] != '\\') {
      value.push_back(text[at++]);
      continue;
    }
    if (at + 1 == text.size()) return Invalid("a string without end");
    constexpr absl::string_view kEscapes = "ntr\\'\"";
    constexpr absl::string_view kMeanings = "\n\t\r\\'\"";
    const size_t found = kEscapes.find(text[at + 1]);
    if (found == absl::string_view::npos) {
      return Unknown(absl::StrCat("an escape ", NameText(text.substr(at, 2))));
    }
    value.push_back(kMeanings[found]);
    at += 2;
  }
  if (at == text.size()) return Invalid("a string without end");
  ++at;
  return value;
}

absl::StatusOr<std::vector<JinjaToken>> Tokens(absl::string_view text) {
  std::vector<JinjaToken> tokens;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (absl::ascii_isspace(c)) {
      ++at;
    } else if (c == '\'' || c == '"') {
      absl::StatusOr<std::string> value = ReadString(text, at);
      if (!value.ok()) return value.status();
      tokens.push_back({true, *std::move(value)});
    } else {
      const size_t begin = at++;
      if (IsWordByte(c)) {
        while (at < text.size() && IsWordByte(text[at])) ++at;
      } else if (at < text.size() && text[at] == '=' &&
                 absl::StrContains("=!<>", c)) {
        ++at;
      }
      tokens.push_back({false, std::string(text.substr(begin, at - begin))});
    }
  }
  return tokens;
}

bool Is(const JinjaToken& token, absl::string_view word) {
  return !token.is_string && token.text == word;
}

// A text, or the inside of a tag.
struct Piece {
  char kind;  // 't', or the second character of the tag: '{', '%', '#'
  std::string text;
};

// Where the tag that begins at `at` has its end, "}}" or "%}"; npos if it has
// none. Strings in it may contain the same.
size_t FindTagEnd(absl::string_view text, size_t at, char kind) {
  const std::string close = {kind == '{' ? '}' : kind, '}'};
  if (kind == '#') return text.find(close, at);
  char quote = '\0';
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quote != '\0') {
      if (c == '\\') {
        ++at;
      } else if (c == quote) {
        quote = '\0';
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (absl::StartsWith(text.substr(at), close)) {
      return at;
    }
  }
  return absl::string_view::npos;
}

size_t FindTag(absl::string_view text, size_t at) {
  for (; at + 1 < text.size(); ++at) {
    if (text[at] == '{' && absl::StrContains("{%#", text[at + 1])) return at;
  }
  return absl::string_view::npos;
}

// lstrip_blocks: the spaces between the beginning of the line and a block.
void StripLineBegin(std::string& text, bool at_line_begin) {
  size_t end = text.size();
  while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
  if (end == 0 ? at_line_begin : text[end - 1] == '\n') text.resize(end);
}

absl::StatusOr<std::vector<Piece>> Pieces(absl::string_view text) {
  std::vector<Piece> pieces;
  if (absl::EndsWith(text, "\n")) text.remove_suffix(1);
  size_t at = 0;
  bool strip = false;  // the tag before ends with "-"
  bool trim = false;   // trim_blocks: a newline behind a block
  while (at < text.size()) {
    const size_t tag = FindTag(text, at);
    const bool has_tag = tag != absl::string_view::npos;
    std::string between(text.substr(at, has_tag ? tag - at : tag));
    bool at_line_begin = at == 0;
    if (strip) {
      between.erase(0, between.find_first_not_of(" \t\r\n"));
    } else if (trim && absl::StartsWith(between, "\n")) {
      between.erase(0, 1);
      at_line_begin = true;
    }
    if (!has_tag) {
      pieces.push_back({'t', std::move(between)});
      break;
    }
    const char kind = text[tag + 1];
    size_t begin = tag + 2;
    const size_t end = FindTagEnd(text, begin, kind);
    if (end == absl::string_view::npos) return Invalid("a tag without end");
    if (text[begin] == '+' || (end > begin && text[end - 1] == '+')) {
      return Unknown("a tag with +");
    }
    if (begin < end && text[begin] == '-') {
      ++begin;
      between.erase(between.find_last_not_of(" \t\r\n") + 1);
    } else if (kind != '{') {
      StripLineBegin(between, at_line_begin);
    }
    strip = end > begin && text[end - 1] == '-';
    trim = kind != '{';
    if (!between.empty()) pieces.push_back({'t', std::move(between)});
    if (kind != '#') {
      pieces.push_back({kind, std::string(text.substr(
                                  begin, end - begin - (strip ? 1 : 0)))});
    }
    at = end + 2;
  }
  return pieces;
}

class Parser {
 public:
  explicit Parser(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {}

  absl::StatusOr<std::vector<JinjaNode>> Parse() {
    std::vector<JinjaNode> nodes;
    const absl::Status status = ParseNodes(0, nodes);
    if (!status.ok()) return status;
    if (!end_.empty()) return Invalid("an end without a beginning");
    return nodes;
  }

 private:
  // Reads nodes until a statement that ends or divides a block, which end_ is
  // then, or until the end, where it is empty.
  absl::Status ParseNodes(size_t depth, std::vector<JinjaNode>& nodes) {
    if (depth == kMaxJinjaDepth) {
      return Unknown(absl::StrCat("more than ", kMaxJinjaDepth, " levels"));
    }
    end_.clear();
    while (next_ < pieces_.size()) {
      Piece& piece = pieces_[next_++];
      JinjaNode node;
      if (piece.kind == 't') {
        node.text = std::move(piece.text);
        nodes.push_back(std::move(node));
        continue;
      }
      absl::StatusOr<std::vector<JinjaToken>> tokens = Tokens(piece.text);
      if (!tokens.ok()) return tokens.status();
      if (piece.kind == '{') {
        node.kind = JinjaNode::kOutput;
        node.tokens = *std::move(tokens);
      } else {
        if (tokens->empty()) return Invalid("an empty statement");
        const std::string word = tokens->front().text;
        tokens->erase(tokens->begin());
        if (word == "elif" || word == "else" || word == "endif" ||
            word == "endfor") {
          if ((word == "elif") == tokens->empty()) {
            return Invalid(absl::StrCat("no condition, or one, of ", word));
          }
          end_ = word;
          condition_ = *std::move(tokens);
          return absl::OkStatus();
        }
        const absl::Status status =
            ParseStatement(word, *std::move(tokens), depth, node);
        if (!status.ok()) return status;
      }
      nodes.push_back(std::move(node));
    }
    return absl::OkStatus();
  }

  absl::Status ParseStatement(const std::string& word,
                              std::vector<JinjaToken> tokens, size_t depth,
                              JinjaNode& node) {
    if (word == "set") {
      node.kind = JinjaNode::kSet;
      bool assigns = false;
      for (const JinjaToken& token : tokens) assigns |= Is(token, "=");
      if (!assigns) return Unknown("a block of set");
      node.tokens = std::move(tokens);
      return absl::OkStatus();
    }
    if (word != "if" && word != "for") {
      return Unknown(absl::StrCat("a statement ", NameText(word)));
    }
    if (tokens.empty()) return Invalid(absl::StrCat("nothing behind ", word));
    node.kind = word == "if" ? JinjaNode::kIf : JinjaNode::kFor;
    if (node.kind == JinjaNode::kFor) node.tokens = std::exchange(tokens, {});
    condition_ = std::move(tokens);
    bool last = false;
    do {
      JinjaNode::Branch branch;
      branch.condition = std::move(condition_);
      const absl::Status status = ParseNodes(depth + 1, branch.nodes);
      if (!status.ok()) return status;
      node.branches.push_back(std::move(branch));
      if (end_ == "end" + word) break;
      if (word == "for" || last || (end_ != "elif" && end_ != "else")) {
        return Invalid(absl::StrCat("no end", word));
      }
      last = end_ == "else";
    } while (true);
    end_.clear();
    return absl::OkStatus();
  }

  std::vector<Piece> pieces_;
  size_t next_ = 0;
  std::string end_;                    // the statement that ended a block
  std::vector<JinjaToken> condition_;  // what follows it
};

}  // namespace

absl::StatusOr<std::vector<JinjaNode>> ParseJinja(absl::string_view text) {
  absl::StatusOr<std::vector<Piece>> pieces = Pieces(text);
  if (!pieces.ok()) return pieces.status();
  return Parser(*std::move(pieces)).Parse();
}

std::string CanonicalText(const std::vector<JinjaToken>& tokens, size_t begin,
                          size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) {
    const JinjaToken& token = tokens[i];
    if (i > begin && i + 2 < end && Is(token, "[") && tokens[i + 1].is_string &&
        Is(tokens[i + 2], "]")) {
      absl::StrAppend(&text, ".", tokens[i + 1].text);
      i += 2;
    } else if (token.is_string) {
      absl::StrAppend(&text, "'", token.text, "'");
    } else {
      const bool two_words = !text.empty() && IsWordByte(text.back()) &&
                             IsWordByte(token.text.front());
      absl::StrAppend(&text, two_words ? " " : "", token.text);
    }
  }
  return text;
}

}  // namespace ulpscope
