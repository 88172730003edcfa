#include "model/trace/name_mapping.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/architecture/op.h"
#include "model/files/tensor.h"
#include "model/files/text_file.h"
#include "model/trace/built_in_mappings.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

constexpr size_t kMaxFileSize = 1 << 20;

absl::Status Expected(absl::string_view expected, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", NameText(found)));
}

}  // namespace

std::string NameRule::EntryName(size_t n) const {
  return absl::StrCat(before, first + n, after);
}

absl::StatusOr<NameMapping::Pattern> NameMapping::ParsePattern(
    absl::string_view text) {
  Pattern pattern;
  const size_t open = text.find('{');
  pattern.before = std::string(text.substr(0, open));
  if (open == absl::string_view::npos) {
    if (absl::StrContains(text, '}')) return Expected("{ before }", text);
    return pattern;
  }
  absl::string_view rest = text.substr(open);
  constexpr struct {
    absl::string_view text;
    char number;
    int offset;
  } kNumbers[] = {{"{i}", 'i', 0},
                  {"{i+1}", 'i', 1},
                  {"{i-1}", 'i', -1},
                  {"{n}", 'n', 0},
                  {"{n+1}", 'n', 1}};
  for (const auto& number : kNumbers) {
    if (!absl::ConsumePrefix(&rest, number.text)) continue;
    pattern.number = number.number;
    pattern.offset = number.offset;
    break;
  }
  if (pattern.number == 0) {
    return Expected("{i}, {i+1} or {i-1}, or {n} or {n+1}", rest);
  }
  if (absl::StrContains(rest, '{') || absl::StrContains(rest, '}')) {
    return Expected("one {i} in a name", text);
  }
  pattern.after = std::string(rest);
  return pattern;
}

absl::StatusOr<NameMapping::Pattern> NameMapping::ParseOurs(
    absl::string_view text, const Rule& rule, absl::string_view line) {
  auto ours = ParsePattern(text);
  if (!ours.ok()) return ours.status();
  const bool unstacks = ours->number == 'n';
  if (unstacks && rule.theirs.number != 0) {
    return Expected("{n} without {i}", line);
  }
  if (unstacks &&
      (rule.kind != NameRule::Kind::kRename || rule.has_neighbours)) {
    return Expected("one name with {n}, without ? or +", line);
  }
  if (!unstacks && (rule.theirs.number == 0) != (ours->number == 0)) {
    return Expected("{i} on both sides or on none", line);
  }
  const std::string example =
      absl::StrCat(ours->before, ours->number != 0 ? "1" : "", ours->after);
  const auto name = ParseTraceName(example);
  if (!name) {
    return Expected(
        "a name that is known on the right side, such as "
        "model.layers.{i}.self_attn.q_proj or hidden_states.{i}",
        text);
  }
  const bool has_heads =
      name->op == Op::kQProj || name->op == Op::kKProj || name->op == Op::kRope;
  if (rule.has_neighbours && !has_heads) {
    return Expected("q_proj, k_proj, q_rope or k_rope after ~", text);
  }
  const bool has_columns = name->kind != TraceName::Kind::kTokens &&
                           name->op != Op::kQk && name->op != Op::kSoftmax;
  if (!has_columns && (rule.kind == NameRule::Kind::kSplit ||
                       rule.kind == NameRule::Kind::kTerm || unstacks)) {
    return Expected("names of outputs whose rows are positions", text);
  }
  return ours;
}

absl::StatusOr<NameMapping::Rule> NameMapping::ParseRule(
    absl::string_view line) {
  const std::pair<absl::string_view, absl::string_view> sides =
      absl::StrSplit(line, absl::MaxSplits('=', 1));
  const absl::string_view left = absl::StripAsciiWhitespace(sides.first);
  absl::string_view right = absl::StripAsciiWhitespace(sides.second);
  if (left.empty() || right.empty()) {
    return Expected("THEIR NAME = OUR NAME", line);
  }
  Rule rule;
  auto theirs = ParsePattern(left);
  if (!theirs.ok()) return theirs.status();
  if (theirs->number == 'n' || theirs->offset != 0) {
    return Expected("{i} on the left side", left);
  }
  rule.theirs = *std::move(theirs);
  if (right == "-") {
    rule.kind = NameRule::Kind::kDrop;
    return rule;
  }
  if (absl::ConsumePrefix(&right, "?")) {
    rule.kind = NameRule::Kind::kFallback;
    right = absl::StripLeadingAsciiWhitespace(right);
  }
  if (absl::ConsumePrefix(&right, "~")) {
    rule.has_neighbours = true;
    right = absl::StripLeadingAsciiWhitespace(right);
  }
  if (absl::ConsumePrefix(&right, "+")) {
    if (rule.kind != NameRule::Kind::kRename || rule.has_neighbours) {
      return Expected("one of ? and +", line);
    }
    rule.kind = NameRule::Kind::kTerm;
  }
  const std::vector<absl::string_view> names = absl::StrSplit(right, ',');
  if (names.size() > 1) {
    if (rule.kind != NameRule::Kind::kRename || rule.has_neighbours) {
      return Expected("one name after ? or +", line);
    }
    rule.kind = NameRule::Kind::kSplit;
  }
  for (const absl::string_view name : names) {
    auto ours = ParseOurs(absl::StripAsciiWhitespace(name), rule, line);
    if (!ours.ok()) return ours.status();
    rule.ours.push_back(*std::move(ours));
  }
  if (rule.ours[0].number == 'n') rule.kind = NameRule::Kind::kUnstack;
  return rule;
}

absl::StatusOr<NameMapping> NameMapping::Parse(absl::string_view text,
                                               absl::string_view file) {
  NameMapping mapping;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<Rule> rule = ParseRule(line);
    if (!rule.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ":", number, ": ", rule.status().message()));
    }
    mapping.rules_.push_back(*std::move(rule));
  }
  return mapping;
}

absl::StatusOr<NameMapping> NameMapping::Load(absl::string_view path) {
  if (const absl::string_view rules = BuiltInMapping(path); !rules.empty()) {
    return Parse(rules, path);
  }
  const absl::StatusOr<std::string> text = ReadTextFile(path, kMaxFileSize);
  if (!text.ok()) return text.status();
  return Parse(*text, path);
}

std::optional<NameRule> NameMapping::Apply(absl::string_view name) const {
  for (const Rule& rule : rules_) {
    absl::string_view number = name;
    if (!absl::ConsumePrefix(&number, rule.theirs.before) ||
        !absl::ConsumeSuffix(&number, rule.theirs.after)) {
      continue;
    }
    uint32_t i = 0;
    if (rule.theirs.number == 0) {
      if (!number.empty()) continue;
    } else if (number.empty() || number.size() > 6 ||
               !absl::ascii_isdigit(number.front()) ||
               !absl::SimpleAtoi(number, &i)) {
      continue;
    }
    NameRule result;
    result.kind = rule.kind;
    result.has_neighbours = rule.has_neighbours;
    if (rule.kind == NameRule::Kind::kUnstack) {
      result.before = rule.ours[0].before;
      result.after = rule.ours[0].after;
      result.first = static_cast<size_t>(rule.ours[0].offset);
      return result;
    }
    bool is_negative = false;
    for (const Pattern& ours : rule.ours) {
      const int64_t ours_number = int64_t{i} + ours.offset;
      is_negative = is_negative || ours_number < 0;
      result.names.push_back(
          ours.number == 0
              ? ours.before
              : absl::StrCat(ours.before, ours_number, ours.after));
    }
    if (!is_negative) return result;
  }
  return std::nullopt;
}

}  // namespace ulpscope
