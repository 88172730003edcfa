#include "explorer/report/report_files.h"

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/report/results_csv.h"
#include "explorer/report/results_json.h"
#include "explorer/report/schema.h"

namespace ulpscope {

std::vector<ReportFile> ReportFiles(const std::string& text,
                                    const Results& results) {
  std::vector<ReportFile> files = {{"report.md", text},
                                   {"results.json", ResultsJson(results)}};
  const Table& context = results.tables[0];
  for (const Table& table : results.tables) {
    if (table.single || table.rows.empty()) continue;
    files.push_back({table.name + ".csv", ResultsCsv(context, table)});
  }
  return files;
}

std::string CsvField(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace ulpscope
