#include "explorer/report/report_files.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "explorer/report/report_page.h"
#include "explorer/report/results_csv.h"
#include "explorer/report/results_json.h"
#include "explorer/report/schema.h"
#include "model/files/output_file.h"

namespace ulpscope {

std::vector<ReportFile> ReportFiles(const std::string& text,
                                    const Results& results) {
  std::vector<ReportFile> files = {{"report.md", text},
                                   {"report.html", ReportPage(results)},
                                   {"results.json", ResultsJson(results)}};
  const Table& context = results.tables[0];
  for (const Table& table : results.tables) {
    if (table.single || table.rows.empty()) continue;
    files.push_back({table.name + ".csv", ResultsCsv(context, table)});
  }
  return files;
}

absl::Status WriteReportFiles(const std::string& folder,
                              const std::vector<ReportFile>& files) {
  std::vector<OutputFile> outputs;
  for (const ReportFile& file : files) {
    auto output = OutputFile::Create(absl::StrCat(folder, "/", file.name));
    if (!output.ok()) return output.status();
    outputs.push_back(*std::move(output));
    absl::Status written =
        outputs.back().Write(0, file.text.data(), file.text.size());
    if (written.ok()) written = outputs.back().Sync();
    if (!written.ok()) return written;
  }
  for (OutputFile& output : outputs) {
    const absl::Status status = output.Commit();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
