#ifndef EXPLORER_REPORT_REPORT_FILES_H_
#define EXPLORER_REPORT_REPORT_FILES_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "explorer/results/schema.h"
#include "explorer/results/text_sink.h"

namespace ulpscope {

// What a mode has found: in Markdown, and in tables.
struct Report {
  std::string text;
  Results results;
};

// How -o has it printed.
enum class OutputFormat {
  kMarkdown,
  kJson,
  kCsv,
  kJsonl,
  kSql,
  kModelExplorer,   // of a model's ops or layers
  kGoogleBenchmark  // of times
};

// Writes the text, results.json, the facts, or what another program reads.
void WritePrintedReport(const Report& report, OutputFormat format,
                        TextSink sink);

struct ReportFile {
  std::string name;
  std::function<void(TextSink)> write;
};

// The files of a report, which outlives them: report.md, report.html (not of a
// comparison), results.json and a CSV file for each table that has rows,
// "plans.csv". Of a format for another program also its: google_benchmark.json,
// or model_explorer.json and model_explorer_FIGURE.json of node data.
std::vector<ReportFile> ReportFiles(
    const Report& report, OutputFormat format = OutputFormat::kMarkdown);

// Writes all of them to the folder, or if one cannot be written none: what was
// there before stays. They take their places one after the other once all are
// on the disk; who is killed in between leaves some of the new ones, each of
// them whole.
absl::Status WriteReportFiles(const std::string& folder,
                              const std::vector<ReportFile>& files);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_FILES_H_
