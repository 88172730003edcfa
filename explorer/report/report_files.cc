#include "explorer/report/report_files.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "explorer/report/google_benchmark.h"
#include "explorer/report/model_explorer.h"
#include "explorer/report/report_page.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "model/files/output_file.h"

namespace ulpscope {

std::string PrintedReport(const Report& report, OutputFormat format) {
  switch (format) {
    case OutputFormat::kMarkdown:
      return report.text;
    case OutputFormat::kJson:
      return ResultsJson(report.results);
    case OutputFormat::kCsv:
      return FactsCsv(report.results);
    case OutputFormat::kJsonl:
      return FactsJsonl(report.results);
    case OutputFormat::kSql:
      return FactsSql(report.results);
    case OutputFormat::kModelExplorer:
      return ModelExplorerGraphs(report.results);
    case OutputFormat::kGoogleBenchmark:
      return GoogleBenchmarkJson(report.results);
  }
  return "";
}

std::vector<ReportFile> ReportFiles(const Report& report, OutputFormat format) {
  const Results& results = report.results;
  std::vector<ReportFile> files = {{"report.md", report.text},
                                   {"results.json", ResultsJson(results)}};
  if (HasPage(results)) files.push_back({"report.html", ReportPage(results)});
  const Table& context = results.tables[0];
  for (const Table& table : results.tables) {
    if (table.single || table.rows.empty()) continue;
    files.push_back({table.name + ".csv", ResultsCsv(context, table)});
  }
  if (format == OutputFormat::kModelExplorer) {
    files.push_back({"model_explorer.json", ModelExplorerGraphs(results)});
    for (NodeData& data : ModelExplorerNodeData(results)) {
      files.push_back({absl::StrCat("model_explorer_", data.figure, ".json"),
                       std::move(data.json)});
    }
  } else if (format == OutputFormat::kGoogleBenchmark) {
    files.push_back({"google_benchmark.json", GoogleBenchmarkJson(results)});
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
