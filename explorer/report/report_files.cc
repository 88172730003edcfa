#include "explorer/report/report_files.h"

#include <string>
#include <vector>

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

}  // namespace ulpscope
