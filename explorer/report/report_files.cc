#include "explorer/report/report_files.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/report/google_benchmark.h"
#include "explorer/report/model_explorer.h"
#include "explorer/report/report_page.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "model/files/output_file.h"

namespace ulpscope {

namespace {

// Text into a file, in large pieces.
class FileWriter {
 public:
  explicit FileWriter(OutputFile& file) : file_(file) {}

  void Add(absl::string_view text) {
    constexpr size_t kPieceBytes = size_t{1} << 20;
    text_.append(text);
    if (text_.size() >= kPieceBytes) Flush();
  }

  absl::Status Finish() {
    Flush();
    return status_.ok() ? file_.Sync() : status_;
  }

 private:
  void Flush() {
    if (status_.ok()) status_ = file_.Write(size_, text_.data(), text_.size());
    size_ += text_.size();
    text_.clear();
  }

  OutputFile& file_;
  std::string text_;
  uint64_t size_ = 0;  // of what was written
  absl::Status status_;
};

}  // namespace

void WritePrintedReport(const Report& report, OutputFormat format,
                        TextSink sink) {
  switch (format) {
    case OutputFormat::kMarkdown:
      return sink(report.text);
    case OutputFormat::kJson:
      return WriteResultsJson(report.results, sink);
    case OutputFormat::kCsv:
      return WriteFactsCsv(report.results, sink);
    case OutputFormat::kJsonl:
      return WriteFactsJsonl(report.results, sink);
    case OutputFormat::kSql:
      return WriteFactsSql(report.results, sink);
    case OutputFormat::kModelExplorer:
      return sink(ModelExplorerGraphs(report.results));
    case OutputFormat::kGoogleBenchmark:
      return sink(GoogleBenchmarkJson(report.results));
  }
}

std::vector<ReportFile> ReportFiles(const Report& report, OutputFormat format) {
  const Results& results = report.results;
  std::vector<ReportFile> files = {
      {"report.md", [&report](TextSink sink) { sink(report.text); }},
      {"results.json",
       [&results](TextSink sink) { WriteResultsJson(results, sink); }}};
  if (HasPage(results)) {
    files.push_back({"report.html",
                     [&results](TextSink sink) { sink(ReportPage(results)); }});
  }
  for (const Table& table : results.tables) {
    if (table.single || table.rows.empty()) continue;
    files.push_back({table.name + ".csv", [&results, &table](TextSink sink) {
                       WriteResultsCsv(results.tables[0], table, sink);
                     }});
  }
  const auto add = [&files](std::string name, std::string text) {
    files.push_back({std::move(name),
                     [text = std::move(text)](TextSink sink) { sink(text); }});
  };
  if (format == OutputFormat::kModelExplorer) {
    add("model_explorer.json", ModelExplorerGraphs(results));
    for (NodeData& data : ModelExplorerNodeData(results)) {
      add(absl::StrCat("model_explorer_", data.figure, ".json"),
          std::move(data.json));
    }
  } else if (format == OutputFormat::kGoogleBenchmark) {
    add("google_benchmark.json", GoogleBenchmarkJson(results));
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
    FileWriter writer(outputs.back());
    file.write([&writer](absl::string_view text) { writer.Add(text); });
    const absl::Status written = writer.Finish();
    if (!written.ok()) return written;
  }
  for (OutputFile& output : outputs) {
    const absl::Status status = output.Commit();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
