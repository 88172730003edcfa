#include "explorer/report/junit.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/results/results_csv.h"
#include "model/files/strict_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

// Text for an attribute or an element. XML has no way to write most control
// characters.
std::string Escaped(absl::string_view text) {
  // What is not UTF-8, as a line of a gate's file may be, is replaced.
  const auto valid = nlohmann::json::parse(JsonString(text)).get<std::string>();
  std::string out;
  for (const char c : valid) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' ? '?' : c;
    }
  }
  return out;
}

}  // namespace

std::string JUnitXml(const Results& comparison) {
  const Table& checks = comparison.Find("checks");
  const auto text = [&checks](const std::vector<Value>& row,
                              absl::string_view column) {
    return ValueText(row[checks.Find(column)]);
  };
  std::string cases;
  size_t failed = 0, errors = 0;
  for (const std::vector<Value>& row : checks.rows) {
    const std::string outcome = text(row, "outcome");
    absl::StrAppend(
        &cases, "  <testcase classname=\"", Escaped(text(row, "condition")),
        "\" name=\"",
        Escaped(absl::StrCat(text(row, "table"), " ", text(row, "of"), " ",
                             text(row, "metric"))),
        "\">");
    const bool is_failure = outcome == "failed";
    if (outcome != "passed") {
      ++(is_failure ? failed : errors);
      const char* const element = is_failure ? "failure" : "error";
      absl::StrAppendFormat(
          &cases,
          "\n    <%s message=\"%s\">now %s, base %s, ratio %s, limit %s\n%s\n"
          "</%s>\n  ",
          element,
          Escaped(is_failure
                      ? absl::StrCat(text(row, "metric"), " is ",
                                     text(row, "now"), " at ", text(row, "of"))
                      : text(row, "why")),
          Escaped(text(row, "now")), Escaped(text(row, "base")),
          text(row, "ratio"), text(row, "limit"), Escaped(text(row, "command")),
          element);
    }
    cases += "</testcase>\n";
  }
  return absl::StrFormat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite "
      "name=\"ulpscope\" tests=\"%d\" failures=\"%d\" errors=\"%d\">\n%s"
      "</testsuite>\n",
      checks.rows.size(), failed, errors, cases);
}

}  // namespace ulpscope
