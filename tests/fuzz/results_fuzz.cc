// A results.json, and its comparison with others.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "explorer/report/mode_schemas.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/results_json.h"
#include "explorer/results/results_reader.h"
#include "explorer/results/schema.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/made_results.h"

namespace ulpscope {
namespace {

constexpr char kFile[] = "results.json";
constexpr char kGate[] =
    "plan=* rel_l2 <= 1.02 x base\n"
    "plan=* bits == base\n"
    "table=plans decode_tokens_per_second >= 0.9 x base\n";

}  // namespace

void ReadInput(absl::string_view text) {
  const auto results = ParseResults(text, kFile, ModeSchemas());
  if (!results.ok()) return RequireNames(results.status(), kFile);
  const std::string written = ResultsJson(*results);
  const auto again = ParseResults(written, kFile, ModeSchemas());
  Require(again.ok() && ResultsJson(*again) == written,
          "what was read cannot be read back");
  const auto ignore = [](absl::string_view) {};
  WriteFactsJsonl(*results, ignore);
  WriteFactsSql(*results, ignore);
  for (const Table& table : results->tables) {
    ResultsCsv(results->tables[0], table);
  }
  UseComparison(&*results, *again, kGate);
  UseComparison(&MadeResults(false), *results, kGate);
  UseComparison(&*results, MadeResults(false), kGate);
}

}  // namespace ulpscope
