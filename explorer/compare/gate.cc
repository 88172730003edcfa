#include "explorer/compare/gate.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "explorer/compare/comparison.h"
#include "explorer/compare/figures.h"
#include "explorer/compare/mann_whitney.h"
#include "explorer/compare/reproduce.h"
#include "explorer/results/results_csv.h"

namespace ulpscope {
namespace {

constexpr char kBits[] = "bits";

struct OpRow {
  absl::string_view text;
  GateLine::Op op;
};
constexpr OpRow kOps[] = {{"<=", GateLine::Op::kAtMost},
                          {"<", GateLine::Op::kLess},
                          {">=", GateLine::Op::kAtLeast},
                          {">", GateLine::Op::kGreater},
                          {"==", GateLine::Op::kEqual}};

bool Holds(double x, GateLine::Op op, double limit) {
  switch (op) {
    case GateLine::Op::kLess:
      return x < limit;
    case GateLine::Op::kAtMost:
      return x <= limit;
    case GateLine::Op::kGreater:
      return x > limit;
    case GateLine::Op::kAtLeast:
      return x >= limit;
    case GateLine::Op::kEqual:
      return x == limit;
  }
  return false;
}

// Whether `pattern`, in which * stands for any text, is all of `text`.
bool Matches(absl::string_view pattern, absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(pattern, '*');
  if (parts.size() == 1) return pattern == text;
  if (!absl::StartsWith(text, parts.front())) return false;
  text.remove_prefix(parts.front().size());
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    const size_t at = text.find(parts[i]);
    if (at == absl::string_view::npos) return false;
    text.remove_prefix(at + parts[i].size());
  }
  return absl::EndsWith(text, parts.back());
}

// LIMIT: "3e-3", "base" or "1.02 x base".
bool ReadLimit(const std::vector<std::string>& words, GateLine& line) {
  line.of_base = words.back() == "base";
  line.limit = 1;
  if (line.of_base && words.size() == 1) return true;
  const bool has_form =
      line.of_base ? words.size() == 3 && words[1] == "x" : words.size() == 1;
  double limit = 0;
  if (!has_form || !absl::SimpleAtod(words[0], &limit) || std::isnan(limit)) {
    return false;
  }
  line.limit = limit;
  return true;
}

absl::StatusOr<GateLine> ParseLine(absl::string_view text, size_t number,
                                   absl::string_view file) {
  GateLine line;
  line.number = number;
  line.text = std::string(text);
  const auto error = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ":", number, ": ", what, " in '", text,
        "' (a line is SELECTOR METRIC OP LIMIT, such as: plan=f32 rel_l2 <= "
        "1.02 x base)"));
  };
  const std::vector<std::string> words =
      absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  size_t w = 0;
  for (; w < words.size() && absl::StrContains(words[w], '='); ++w) {
    if (words[w] == "==" || words[w] == "<=" || words[w] == ">=") break;
    std::pair<std::string, std::string> part =
        absl::StrSplit(words[w], absl::MaxSplits('=', 1));
    if (part.first == "table") {
      line.table = part.second;
    } else {
      line.selector.push_back(std::move(part));
    }
  }
  if (w == words.size()) return error("no metric");
  line.metric = words[w++];
  if (w == words.size()) return error("expected <=, <, >=, > or ==");
  const OpRow* op = nullptr;
  for (const OpRow& row : kOps) {
    if (row.text == words[w]) op = &row;
  }
  if (op == nullptr) {
    return error(
        absl::StrCat("expected <=, <, >=, > or ==, found '", words[w], "'"));
  }
  line.op = op->op;
  const std::vector<std::string> limit(
      words.begin() + static_cast<ptrdiff_t>(w) + 1, words.end());
  if (limit.empty() || !ReadLimit(limit, line)) {
    return error(absl::StrCat("expected NUMBER, base or NUMBER x base, found '",
                              absl::StrJoin(limit, " "), "'"));
  }
  if (line.metric == kBits &&
      (line.op != GateLine::Op::kEqual || !line.of_base || limit.size() != 1)) {
    return error("bits may only be == base");
  }
  return line;
}

// What a selector's name is of a figure: a key of its row or, for all of a
// run, a column of the context. Null if neither has it.
const std::string* Named(const Figure& figure, const std::string& name) {
  for (const auto& [key, text] : figure.keys) {
    if (key == name) return &text;
  }
  return nullptr;
}

class Checker {
 public:
  Checker(const Results* base, const Results& now)
      : base_(base),
        now_(now),
        now_runs_(now),
        figures_(FiguresOf(now)),
        now_by_name_(ByName(figures_)) {
    if (base == nullptr) {
      not_comparable_ = "there is no base";
      return;
    }
    base_runs_.emplace(*base);
    base_figures_ = FiguresOf(*base);
    by_name_ = ByName(base_figures_);
    not_comparable_ = WhyNotComparable(*base, now);
    times_not_comparable_ = WhyTimesNotComparable(*base, now);
  }

  void Check(const GateLine& line, std::vector<GateCheck>& checks) const {
    const size_t before = checks.size();
    if (line.metric == kBits) {
      CheckBits(line, checks);
    } else {
      const Table* const table = TableOf(line);
      for (const Figure& figure : figures_) {
        if (figure.table == table && figure.column->name == line.metric &&
            IsSelected(line, figure)) {
          checks.push_back(CheckOf(line, figure));
        }
      }
    }
    if (line.of_base) FindMissing(line, checks);
    if (checks.size() > before) return;
    GateCheck check;
    check.line = &line;
    check.why = "it selects nothing that was measured";
    checks.push_back(check);
  }

 private:
  // The context's value of that name; empty if it has none.
  std::optional<std::string> InContext(const std::string& name) const {
    const Table& context = now_.tables[0];
    if (!context.Has(name)) return std::nullopt;
    return ValueText(context.rows[0][context.Find(name)]);
  }

  bool HasKeys(const GateLine& line, const Table& table) const {
    for (const auto& [name, pattern] : line.selector) {
      bool has = InContext(name).has_value();
      for (const size_t c : table.KeyColumns()) {
        has = has || table.columns[c].name == name;
      }
      if (!has) return false;
    }
    return true;
  }

  // Null if there is none.
  const Table* TableOf(const GateLine& line) const {
    for (size_t t = 1; t < now_.tables.size(); ++t) {
      const Table& table = now_.tables[t];
      if (!line.table.empty() && table.name != line.table) continue;
      if (table.Has(line.metric) && HasKeys(line, table)) return &table;
    }
    return nullptr;
  }

  bool IsSelected(const GateLine& line, const Figure& figure) const {
    for (const auto& [name, pattern] : line.selector) {
      const std::string* const key = Named(figure, name);
      if (key != nullptr) {
        if (!Matches(pattern, *key)) return false;
        continue;
      }
      const auto in_context = InContext(name);
      if (!in_context.has_value() || !Matches(pattern, *in_context)) {
        return false;
      }
    }
    return true;
  }

  GateCheck Start(const GateLine& line, const Figure& figure) const {
    GateCheck check;
    check.line = &line;
    check.table = figure.table->name;
    check.of = figure.of();
    check.metric = figure.column->name;
    check.now = figure.value;
    const std::string* const plan = Named(figure, "plan");
    check.command = CommandOf(now_, plan == nullptr ? "" : *plan);
    return check;
  }

  // Whether the base has it, which `check` then has; else it says why not.
  bool FindBase(const Figure& figure, GateCheck& check) const {
    check.why = not_comparable_;
    if (!check.why.empty()) return false;
    const auto found = by_name_.find(figure.name);
    if (found == by_name_.end()) {
      check.why = "the base does not have it";
      return false;
    }
    check.base = found->second->value;
    return true;
  }

  // What the base has of a line and the other run has not, has failed: else a
  // gate would pass once nothing is measured any more.
  void FindMissing(const GateLine& line, std::vector<GateCheck>& checks) const {
    if (!not_comparable_.empty()) return;
    const bool of_bits = line.metric == kBits;
    const Table* const table = of_bits ? nullptr : TableOf(line);
    if (!of_bits && table == nullptr) return;
    for (const Figure& figure : base_figures_) {
      const bool is_meant =
          of_bits ? IsOfBits(line, figure) && IsSelected(line, figure)
                  : figure.table->name == table->name &&
                        figure.column->name == line.metric &&
                        IsSelected(line, figure);
      if (!is_meant || now_by_name_.count(figure.name) > 0) continue;
      GateCheck check = Start(line, figure);
      check.base = figure.value;
      check.now = Value();
      check.outcome = GateCheck::Outcome::kFailed;
      check.why = "the base has it, and it is missing now";
      checks.push_back(std::move(check));
    }
  }

  static std::optional<double> NumberOf(const Value& value) {
    if (const double* x = std::get_if<double>(&value)) return *x;
    if (const bool* x = std::get_if<bool>(&value)) return *x ? 1.0 : 0.0;
    if (const int64_t* x = std::get_if<int64_t>(&value)) {
      return static_cast<double>(*x);
    }
    return std::nullopt;
  }

  // ": emulated", if its row says so of a time that there is none of.
  static std::string WhyNotTimed(
      const Figure& figure,
      const std::map<absl::string_view, const Figure*>& by_name) {
    if (figure.column->role() != Role::kTime) return "";
    const auto reason = by_name.find(
        absl::StrCat(figure.table->name, " ", figure.of(), " not_timed"));
    if (reason == by_name.end()) return "";
    const auto* const text = std::get_if<std::string>(&reason->second->value);
    return text == nullptr ? "" : absl::StrCat(": ", *text);
  }

  GateCheck CheckOf(const GateLine& line, const Figure& figure) const {
    GateCheck check = Start(line, figure);
    const std::optional<double> now = NumberOf(figure.value);
    if (!now.has_value()) {
      check.why = std::holds_alternative<std::monostate>(figure.value)
                      ? absl::StrCat("it was not measured",
                                     WhyNotTimed(figure, now_by_name_))
                      : "it is no number";
      return check;
    }
    check.limit = line.limit;
    if (line.of_base) {
      if (!FindBase(figure, check)) return check;
      const std::optional<double> base = NumberOf(check.base);
      if (!base.has_value()) {
        check.why = absl::StrCat("it was not measured in the base",
                                 WhyNotTimed(figure, by_name_));
        return check;
      }
      check.limit = *line.limit * *base;
      if (*base != 0 && std::isfinite(*now / *base)) {
        check.ratio = *now / *base;
      }
    }
    const bool holds = Holds(*now, line.op, *check.limit);
    if (line.of_base && figure.column->role() == Role::kTime) {
      CheckTime(figure, holds, check);
    } else {
      check.outcome =
          holds ? GateCheck::Outcome::kPassed : GateCheck::Outcome::kFailed;
    }
    return check;
  }

  // A time that does not keep its limit fails only if it has changed for sure.
  void CheckTime(const Figure& figure, bool holds, GateCheck& check) const {
    check.why = times_not_comparable_;
    if (!check.why.empty()) return;
    const std::string* const plan = Named(figure, "plan");
    const absl::string_view metric = figure.column->name;
    const char* const phase =
        absl::StartsWith(metric, "prefill") ? "prefill" : "decode";
    if (plan == nullptr || !absl::EndsWith(metric, "_tokens_per_second")) {
      check.why = "only speeds of plans can be compared with those of a base";
      return;
    }
    const std::vector<double>& before = base_runs_->Of(*plan, phase);
    const std::vector<double>& after = now_runs_.Of(*plan, phase);
    if (LeastMannWhitneyP(before.size(), after.size()) >= kClearP) {
      check.why = absl::StrCat("runs are too few for a test: ", before.size(),
                               " and ", after.size());
      return;
    }
    const Comparison::Speed speed = CompareSpeed(before, after);
    check.p = speed.p;
    check.outcome = holds || !speed.clear ? GateCheck::Outcome::kPassed
                                          : GateCheck::Outcome::kFailed;
    if (!holds && !speed.clear) check.why = "the change may be chance";
  }

  // Whether a line of bits is about the figure's table and column.
  bool IsOfBits(const GateLine& line, const Figure& figure) const {
    return (line.table.empty() || figure.table->name == line.table) &&
           IsDeterministic(figure) && !figure.table->single &&
           HasKeys(line, *figure.table);
  }

  // One check for all figures that are the same, and one for each other.
  void CheckBits(const GateLine& line, std::vector<GateCheck>& checks) const {
    size_t same = 0;
    for (const Figure& figure : figures_) {
      if (!IsOfBits(line, figure) || !IsSelected(line, figure)) continue;
      GateCheck check = Start(line, figure);
      if (FindBase(figure, check)) {
        if (SameBits(check.base, check.now)) {
          ++same;
          continue;
        }
        check.outcome = GateCheck::Outcome::kFailed;
        const auto before = NumberOf(check.base), after = NumberOf(check.now);
        if (before.value_or(0) != 0 && after.has_value()) {
          check.ratio = *after / *before;
        }
      }
      checks.push_back(std::move(check));
      if (!not_comparable_.empty()) return;
    }
    if (same == 0) return;
    GateCheck check;
    check.line = &line;
    check.metric = kBits;
    check.now = static_cast<int64_t>(same);
    check.outcome = GateCheck::Outcome::kPassed;
    check.why = absl::StrCat(same, " figures are the same, bit for bit");
    checks.push_back(std::move(check));
  }

  const Results* base_;
  const Results& now_;
  const TimedRuns now_runs_;
  std::optional<TimedRuns> base_runs_;
  std::vector<Figure> figures_, base_figures_;
  std::map<absl::string_view, const Figure*> by_name_;      // of the base
  std::map<absl::string_view, const Figure*> now_by_name_;  // of figures_
  std::string not_comparable_, times_not_comparable_;
};

}  // namespace

absl::StatusOr<std::vector<GateLine>> ParseGate(absl::string_view text,
                                                absl::string_view file) {
  std::vector<GateLine> lines;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    auto parsed = ParseLine(line, number, file);
    if (!parsed.ok()) return parsed.status();
    lines.push_back(*std::move(parsed));
  }
  if (lines.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": there is no condition in it"));
  }
  return lines;
}

std::vector<GateCheck> CheckGate(const std::vector<GateLine>& lines,
                                 const Results* base, const Results& now) {
  const Checker checker(base, now);
  std::vector<GateCheck> checks;
  for (const GateLine& line : lines) checker.Check(line, checks);
  return checks;
}

}  // namespace ulpscope
