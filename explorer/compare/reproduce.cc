#include "explorer/compare/reproduce.h"

#include <cstddef>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/results/results_csv.h"

namespace ulpscope {
namespace {

// As a word of a POSIX shell.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace

std::string CommandOf(const Results& results, absl::string_view plan) {
  const Table& context = results.tables[0];
  const auto of = [&context](absl::string_view column) {
    return context.Has(column)
               ? ValueText(context.rows[0][context.Find(column)])
               : std::string();
  };
  // A comma at the end makes a single number an id, not a count.
  const auto ids = [](absl::string_view text) {
    return absl::StrCat(absl::StrReplaceAll(text, {{" ", ","}}), ",");
  };
  std::string command = absl::StrCat("explorer --model=", Quoted(of("model")));
  const std::string against = of("against");
  if (!against.empty() && against != "oracle") {
    absl::StrAppend(&command, " --against=", Quoted(against));
  }
  const std::string tokens = of("tokens");
  if (results.mode == "attribute" || results.mode == "diagnose") {
    absl::StrAppend(&command, " --", results.mode,
                    " --plan=", Quoted(of("plan")));
    if (results.mode == "diagnose") {
      absl::StrAppend(&command, " --reference=", Quoted(of("reference")));
    } else if (!absl::StrContains(tokens, ' ')) {
      return absl::StrCat(command, " --token=", tokens);
    } else {
      command += " --on=prompt";
    }
    return absl::StrCat(command, " --tokens=", ids(tokens));
  }
  absl::StrAppend(&command, " --plan=", Quoted(plan));
  // The context's prompt is what is timed: a text's first tokens.
  const Table* const windows =
      results.Has("windows") ? &results.Find("windows") : nullptr;
  if (windows == nullptr || windows->rows.empty()) {
    return absl::StrCat(command, " --token=", of("token"),
                        " --tokens=", ids(of("prompt")));
  }
  const std::string first =
      ValueText(windows->rows[0][windows->Find("window_tokens")]);
  if (windows->rows.size() == 1) {
    return absl::StrCat(command, " --token=", of("token"),
                        " --tokens=", ids(first));
  }
  const size_t size = 1 + static_cast<size_t>(absl::c_count(first, ' '));
  const std::string text = of("text");
  return text.empty()
             ? absl::StrCat(command, " --tokens=", size, " --seed=", of("seed"),
                            " --seeds=", windows->rows.size())
             : absl::StrCat(command, " --prompt_file=", Quoted(text),
                            " --window=", size,
                            " --windows=", windows->rows.size());
}

}  // namespace ulpscope
