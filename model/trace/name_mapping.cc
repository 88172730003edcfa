#include "model/trace/name_mapping.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/files/mapped_file.h"
#include "model/files/tensor.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

constexpr size_t kMaxFileSize = 1 << 20;

absl::Status Expected(absl::string_view expected, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", NameText(found)));
}

}  // namespace

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
  if (absl::ConsumePrefix(&rest, "{i}")) {
    pattern.offset = 0;
  } else if (absl::ConsumePrefix(&rest, "{i+1}")) {
    pattern.offset = 1;
  } else if (absl::ConsumePrefix(&rest, "{i-1}")) {
    pattern.offset = -1;
  } else {
    return Expected("{i}, {i+1} or {i-1}", rest);
  }
  if (absl::StrContains(rest, '{') || absl::StrContains(rest, '}')) {
    return Expected("one {i} in a name", text);
  }
  pattern.has_number = true;
  pattern.after = std::string(rest);
  return pattern;
}

absl::StatusOr<NameMapping::Rule> NameMapping::ParseRule(
    absl::string_view line) {
  const std::pair<absl::string_view, absl::string_view> sides =
      absl::StrSplit(line, absl::MaxSplits('=', 1));
  const absl::string_view left = absl::StripAsciiWhitespace(sides.first);
  const absl::string_view right = absl::StripAsciiWhitespace(sides.second);
  if (left.empty() || right.empty()) {
    return Expected("THEIR NAME = OUR NAME", line);
  }
  auto theirs = ParsePattern(left);
  if (!theirs.ok()) return theirs.status();
  if (theirs->offset != 0) return Expected("{i} on the left side", left);
  if (right == "-") return Rule{*std::move(theirs), {}};
  auto ours = ParsePattern(right);
  if (!ours.ok()) return ours.status();
  if (theirs->has_number != ours->has_number) {
    return Expected("{i} on both sides or on none", line);
  }
  const std::string example =
      absl::StrCat(ours->before, ours->has_number ? "1" : "", ours->after);
  if (!ParseTraceName(example)) {
    return Expected(
        "a name that is known on the right side, such as "
        "model.layers.{i}.self_attn.q_proj or hidden_states.{i}",
        right);
  }
  return Rule{*std::move(theirs), *std::move(ours)};
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
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::string_view text = (*file)->text();
  if (text.size() > kMaxFileSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a mapping of at most ", kMaxFileSize,
                     " bytes, found ", text.size()));
  }
  return Parse(text, path);
}

std::optional<std::string> NameMapping::Apply(absl::string_view name) const {
  for (const Rule& rule : rules_) {
    absl::string_view number = name;
    if (!absl::ConsumePrefix(&number, rule.theirs.before) ||
        !absl::ConsumeSuffix(&number, rule.theirs.after)) {
      continue;
    }
    if (!rule.theirs.has_number) {
      if (number.empty()) return rule.ours.before;
      continue;
    }
    uint32_t i = 0;
    if (number.empty() || number.size() > 6 ||
        !absl::ascii_isdigit(number.front()) || !absl::SimpleAtoi(number, &i) ||
        (rule.ours.offset < 0 && i == 0)) {
      continue;
    }
    if (!rule.ours.has_number) return "";
    return absl::StrCat(rule.ours.before, int64_t{i} + rule.ours.offset,
                        rule.ours.after);
  }
  return std::nullopt;
}

}  // namespace ulpscope
